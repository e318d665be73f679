//! Reads the decisions in the lines of a file, without the database.

use std::collections::BTreeMap;

use super::sheet::{Row, Sheet};
use super::{COLUMNS, MORE_COLUMNS};
use crate::app::{Command, Decision};
use crate::event::{CompanyId, Host, HostId};
use crate::matching::HostKey;
use crate::store::Scope;

/// The result of one line: `None` when no member of staff is filled in or the mapping is switched off; an
/// error when the line cannot be imported.
pub(super) type LineResult<T> = Result<Option<T>, String>;

/// A file and the decision of each row.
#[derive(Debug)]
pub(crate) struct ImportFile {
    pub(super) sheet: Sheet,
    pub(super) lines: Vec<LineResult<Decision>>,
}

impl ImportFile {
    /// Reads a file. `scope` contains the companies to import; if it contains only one, rows without a company
    /// belong to that company. `known_only` refuses hosts that no booking has named yet. The error describes a
    /// problem with the whole file.
    pub(crate) fn read(bytes: &[u8], scope: &Scope, known_only: bool) -> Result<Self, String> {
        let known = [&COLUMNS[..], &MORE_COLUMNS].concat();
        let mut required = vec!["calcom_host_id", "staff_id"];
        if scope.only().is_none() {
            required.push("company_id");
        }
        let sheet = Sheet::read(bytes, &known, &required)?;
        let decision = |row| {
            let decision = decision(&sheet, row, scope)?;
            Ok(decision.map(|it| Decision { allow_unseen_host: !known_only, ..it }))
        };
        let mut lines = sheet.rows.iter().map(decision).collect::<Vec<_>>();
        refuse_repeats(&sheet.rows, &mut lines);
        Ok(Self { sheet, lines })
    }
}

fn decision(sheet: &Sheet, row: &Row, scope: &Scope) -> LineResult<Decision> {
    if let Some(why) = sheet.problem_of(row) {
        return Err(why);
    }
    let cell = |column: &str| sheet.cell(row, column);
    let number = |column: &str| {
        cell(column)
            .map(|text| text.parse::<i64>().map_err(|_| format!("{column} is not a whole number")))
            .transpose()
    };
    let company =
        number("company_id")?.map(CompanyId).or_else(|| scope.only()).ok_or("company_id is empty")?;
    match scope.only() {
        Some(only) if only != company => {
            return Err(format!("belongs to company {company}, but only company {only} is imported"));
        }
        _ if !scope.contains(company) => {
            return Err(format!("belongs to company {company}, which you may not change"));
        }
        _ => {}
    }
    let host = number("calcom_host_id")?.ok_or("calcom_host_id is empty")?;
    let host = HostId::new(host).ok_or("calcom_host_id is not the id of a Cal.com user")?;
    let is_active = match cell("is_active").unwrap_or("true").to_lowercase().as_str() {
        "true" | "1" | "yes" | "ja" | "wahr" => true,
        "false" | "0" | "no" | "nein" | "falsch" => false,
        _ => return Err("is_active must be true or false".into()),
    };
    let Some(staff) = cell("staff_id").filter(|_| is_active) else { return Ok(None) };
    let mut decision = Decision::new(company, host, Command::Set(staff.into()));
    let text = |column| cell(column).map(str::to_owned);
    decision.reason = text("reason");
    let (name, email) = (text("calcom_name"), text("calcom_email"));
    if name.is_some() || email.is_some() {
        decision.snapshot = Some(Host { name, email, ..Host::default() });
    }
    Ok(Some(decision))
}

/// Refuses lines that repeat a host: the second of two equal lines, and both of two different lines.
fn refuse_repeats(rows: &[Row], lines: &mut [LineResult<Decision>]) {
    let mut first: BTreeMap<HostKey, usize> = BTreeMap::new();
    let mut refused: Vec<(usize, String)> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Ok(Some(decision)) = line else { continue };
        let Some(earlier) = first.get(&decision.key).copied() else {
            first.insert(decision.key, index);
            continue;
        };
        let (line, earlier_line) = (rows[index].line, rows[earlier].line);
        let Ok(Some(other)) = &lines[earlier] else { continue };
        if other.command == decision.command {
            refused.push((index, format!("repeats line {earlier_line}")));
        } else {
            let host = decision.key.host;
            refused.push((index, format!("host {host} has another member of staff in line {earlier_line}")));
            refused.push((earlier, format!("host {host} has another member of staff in line {line}")));
        }
    }
    for (index, why) in refused {
        lines[index] = Err(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_has_its_own_result() {
        let text = "company_id;calcom_host_id;staff_id;is_active;reason\n15;7;31;;moved\n15;8;;;\n15;x;31;;\n\
                    16;9;31;;\n;9;31;;\n15;10;31;false;\n15;11;1;;\n15;11;1;;\n15;12;1;;\n15;12;2;;\n15;13;1;maybe;\n";
        let read = ImportFile::read(text.as_bytes(), &Scope::of(Some(CompanyId(15))), false).unwrap();
        let described: Vec<String> = read
            .lines
            .iter()
            .map(|line| match line {
                Ok(None) => "skipped".to_owned(),
                Err(why) => why.clone(),
                Ok(Some(decision)) => format!("{} {:?}", decision.key.host, decision.reason),
            })
            .collect();
        assert_eq!(
            described,
            [
                "7 Some(\"moved\")",
                "skipped",
                "calcom_host_id is not a whole number",
                "belongs to company 16, but only company 15 is imported",
                "9 None",
                "skipped",
                "11 None",
                "repeats line 8",
                "host 12 has another member of staff in line 11",
                "host 12 has another member of staff in line 10",
                "is_active must be true or false",
            ]
        );
        let without = ImportFile::read(b"calcom_host_id,staff_id\n7,1\n", &Scope::All, false).unwrap_err();
        assert!(without.contains("no column company_id"), "{without}");
    }
}
