//! Mappings as they are shown.

use serde::Serialize;

use super::told::dash;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{MappingSource, Stored};
use crate::store::{MappingEntry, MappingRow};

/// A mapping. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    id: i64,
    company: Option<CompanyId>,
    host: HostId,
    host_name: Option<String>,
    host_email: Option<String>,
    staff: StaffId,
    staff_name: String,
    source: Stored<MappingSource>,
    confidence: u8,
    active: bool,
    /// The member of staff is active, not deleted, and in this company.
    staff_valid: bool,
    last_used: Option<String>,
    last_audit: Option<i64>,
}

impl Line {
    pub(super) fn of(row: &MappingRow, last_used_ms: Option<i64>) -> Self {
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let company = row.company();
        Self {
            id: row.id,
            company,
            host: row.host,
            host_name: text(&row.name),
            host_email: text(&row.email),
            staff: row.staff.id.clone(),
            staff_name: row.staff.name.clone(),
            source: row.state.source.clone(),
            confidence: row.state.confidence.0,
            active: row.state.is_active,
            staff_valid: company.is_some_and(|company| row.staff.is_valid_in(company)),
            last_used: last_used_ms.map(output::moment),
            last_audit: Some(row.last_audit).filter(|id| *id > 0),
        }
    }

    /// Where it stands, in words.
    fn standing(&self) -> &'static str {
        match (self.active, self.staff_valid) {
            (true, true) => "in force",
            (true, false) => "does not count: staff inactive",
            (false, _) => "switched off",
        }
    }

    /// What there is to say about it, line by line.
    pub(super) fn lines(&self) -> Vec<[String; 2]> {
        let host = format!("{} {}", self.host, self.host_name.as_deref().unwrap_or_default());
        let rows = [
            ("company", dash(self.company)),
            ("host", host.trim_end().to_owned()),
            ("host's address", dash(self.host_email.as_deref())),
            ("staff", format!("{} {}", self.staff, self.staff_name)),
            ("source", format!("{} ({})", self.source, self.confidence)),
            ("last used", dash(self.last_used.as_deref())),
        ];
        rows.map(|(name, value)| [format!("  {name}"), value]).into()
    }

    /// `Mapping 12 (in force)`
    pub(super) fn title(&self) -> String {
        format!("Mapping {} ({})", self.id, self.standing())
    }
}

impl From<&MappingEntry> for Line {
    fn from(entry: &MappingEntry) -> Self {
        Self { staff_valid: entry.staff_is_valid, ..Self::of(&entry.row, entry.last_used_ms) }
    }
}

/// Writes a table of mappings.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn table(lines: &[Line]) -> Result<(), Failure> {
    let head =
        ["ID", "COMPANY", "HOST", "NAME", "STAFF", "STAFF NAME", "SOURCE", "CONF", "STATE", "LAST USED"];
    output::table(
        &head,
        lines.iter().map(|line| {
            [
                line.id.to_string(),
                dash(line.company),
                line.host.to_string(),
                dash(line.host_name.as_deref()),
                line.staff.to_string(),
                line.staff_name.clone(),
                line.source.to_string(),
                format!("{:>4}", line.confidence),
                line.standing().to_owned(),
                dash(line.last_used.as_deref()),
            ]
        }),
    )
}
