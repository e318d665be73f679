//! What the lines of a file ask for, as far as it can be said without looking into the database.

use std::collections::BTreeMap;

use super::sheet::{Row, Sheet};
use super::{COLUMNS, MORE};
use crate::app::{Command, Decision};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::HostKey;
use crate::store::Snapshot;

/// What becomes of one line.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Line {
    /// Nobody is filled in, or the mapping is switched off: there is nothing to import.
    Skipped,
    /// It cannot be imported.
    Bad(String),
    /// It asks for this.
    Wish(Box<Decision>),
}

/// A file and what each of its rows asks for.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) sheet: Sheet,
    pub(super) lines: Vec<Line>,
}

impl Lines {
    /// Reads a file. `company`: the only one that is imported, and that of rows that name none.
    ///
    /// # Errors
    /// What is wrong with the whole file.
    pub(super) fn read(bytes: &[u8], company: Option<CompanyId>, known_only: bool) -> Result<Self, String> {
        let known: Vec<&str> = COLUMNS.into_iter().chain(MORE).collect();
        let mut required = vec!["calcom_host_id", "staff_id"];
        if company.is_none() {
            required.push("company_id");
        }
        let sheet = Sheet::read(bytes, &known, &required).map_err(|why| match company {
            None if why.contains("no column company_id") => format!("{why}; or say which with --company N"),
            _ => why,
        })?;
        let mut lines: Vec<Line> =
            sheet.rows.iter().map(|row| line(&sheet, row, company, known_only)).collect();
        refuse_repeats(&sheet.rows, &mut lines);
        Ok(Self { sheet, lines })
    }
}

fn line(sheet: &Sheet, row: &Row, company: Option<CompanyId>, known_only: bool) -> Line {
    match command(sheet, row, company) {
        Ok(None) => Line::Skipped,
        Ok(Some(decision)) => Line::Wish(Box::new(Decision { may_be_new: !known_only, ..decision })),
        Err(why) => Line::Bad(why),
    }
}

fn command(sheet: &Sheet, row: &Row, company: Option<CompanyId>) -> Result<Option<Decision>, String> {
    if let Some(why) = sheet.misfit(row) {
        return Err(why);
    }
    let cell = |column: &str| sheet.cell(row, column);
    let number = |column: &str| {
        cell(column).map(|text| text.parse::<i64>().map_err(|_| format!("{column} is no number"))).transpose()
    };
    let named = number("company_id")?.map(CompanyId);
    let company = match (named, company) {
        (Some(named), Some(company)) if named != company => {
            return Err(format!("is of company {named}, and only {company} is imported"));
        }
        (Some(company), _) | (None, Some(company)) => company,
        (None, None) => return Err("company_id is empty".into()),
    };
    let host = number("calcom_host_id")?.ok_or("calcom_host_id is empty")?;
    let host = HostId::new(host).ok_or("calcom_host_id is no id of a Cal.com user")?;
    let is_active = match cell("is_active").unwrap_or("true").to_lowercase().as_str() {
        "true" | "1" | "yes" | "ja" | "wahr" => true,
        "false" | "0" | "no" | "nein" | "falsch" => false,
        _ => return Err("is_active is neither true nor false".into()),
    };
    let Some(staff) = cell("staff_id").filter(|_| is_active) else { return Ok(None) };
    let staff = staff.parse().map_or_else(|_| StaffId::Text(staff.to_owned()), StaffId::Integer);
    let mut decision = Decision::new(company, host, Command::Set(staff));
    decision.reason = cell("reason").map(str::to_owned);
    let text = |column| cell(column).map(str::to_owned);
    let (name, email) = (text("calcom_name"), text("calcom_email"));
    if name.is_some() || email.is_some() {
        decision.snapshot = Some(Snapshot { name, email, ..Snapshot::default() });
    }
    Ok(Some(decision))
}

/// One host twice: the same again is one too many; of two that differ neither is taken.
fn refuse_repeats(rows: &[Row], lines: &mut [Line]) {
    let mut first: BTreeMap<HostKey, usize> = BTreeMap::new();
    let mut bad: Vec<(usize, String)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Line::Wish(decision) = line else { continue };
        let Some(earlier) = first.get(&decision.key).copied() else {
            first.insert(decision.key, index);
            continue;
        };
        let (here, there) = (rows[index].line, rows[earlier].line);
        let Line::Wish(other) = &lines[earlier] else { continue };
        if other.command == decision.command {
            bad.push((index, format!("says the same as line {there}")));
        } else {
            let host = decision.key.host;
            bad.push((index, format!("host {host} has another member of staff in line {there}")));
            bad.push((earlier, format!("host {host} has another member of staff in line {here}")));
        }
    }
    for (index, why) in bad {
        lines[index] = Line::Bad(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_told_by_itself() {
        let text = "company_id;calcom_host_id;staff_id;is_active;reason\n15;7;31;;moved\n15;8;;;\n15;x;31;;\n\
                    16;9;31;;\n;9;31;;\n15;10;31;false;\n15;11;1;;\n15;11;1;;\n15;12;1;;\n15;12;2;;\n15;13;1;maybe;\n";
        let read = Lines::read(text.as_bytes(), Some(CompanyId(15)), false).unwrap();
        let told: Vec<String> = read
            .lines
            .iter()
            .map(|line| match line {
                Line::Skipped => "skipped".to_owned(),
                Line::Bad(why) => why.clone(),
                Line::Wish(decision) => format!("{} {:?}", decision.key.host, decision.reason),
            })
            .collect();
        assert_eq!(
            told,
            [
                "7 Some(\"moved\")",
                "skipped",
                "calcom_host_id is no number",
                "is of company 16, and only 15 is imported",
                "9 None",
                "skipped",
                "11 None",
                "says the same as line 8",
                "host 12 has another member of staff in line 11",
                "host 12 has another member of staff in line 10",
                "is_active is neither true nor false",
            ]
        );
        let without = Lines::read(b"calcom_host_id,staff_id\n7,1\n", None, false).unwrap_err();
        assert!(without.contains("company_id") && without.contains("--company"), "{without}");
    }
}
