//! Audit rows as they are shown: what changed from what to what, by whom and why.

use serde::Serialize;
use serde_json::{Map, Value};

use super::told::dash;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Actor, AuditAction, Stored};
use crate::store::AuditRow;

/// An audit row. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    id: i64,
    at: String,
    mapping: Option<i64>,
    company: Option<CompanyId>,
    host: Option<HostId>,
    staff: Option<StaffId>,
    action: Stored<AuditAction>,
    actor: Option<Actor>,
    reason: Option<String>,
    old: Option<Map<String, Value>>,
    new: Option<Map<String, Value>>,
}

impl From<AuditRow> for Line {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id,
            at: output::moment(row.at_ms),
            mapping: row.mapping,
            company: row.company,
            host: row.host,
            staff: row.staff,
            action: row.action,
            actor: row.actor,
            reason: row.reason,
            old: row.old,
            new: row.new,
        }
    }
}

impl Line {
    /// `is_active true → false`, for each field; of a row that was made only what it says of the mapping.
    fn changes(&self) -> String {
        let Some(new) = &self.new else { return "-".to_owned() };
        let told = |value: Option<&Value>| match value {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let changes = new.iter().filter_map(|(name, after)| match &self.old {
            Some(old) => {
                let before = old.get(name);
                (before != Some(after)).then(|| format!("{name} {} → {}", told(before), told(Some(after))))
            }
            None => MADE.contains(&name.as_str()).then(|| format!("{name} {}", told(Some(after)))),
        });
        changes.collect::<Vec<_>>().join(", ")
    }
}

/// What is told of a mapping that was made: the rest is the host's snapshot.
const MADE: [&str; 4] = ["staff_id", "mapping_source", "confidence_score", "is_active"];

/// Writes a table of audit rows.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn table(lines: &[Line]) -> Result<(), Failure> {
    let head = ["AUDIT", "AT", "COMPANY", "HOST", "STAFF", "ACTION", "BY", "CHANGED", "WHY"];
    output::table(
        &head,
        lines.iter().map(|line| {
            [
                line.id.to_string(),
                line.at.clone(),
                dash(line.company),
                dash(line.host),
                dash(line.staff.as_ref()),
                line.action.to_string(),
                dash(line.actor.as_ref()),
                line.changes(),
                dash(line.reason.as_deref()).replace('\n', " "),
            ]
        }),
    )
}
