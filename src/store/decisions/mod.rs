//! What people decide about mappings: reading all that such a decision depends on, under the lock of
//! its host, and writing it, many at once, with one audit row for each change of a row.
//!
//! Rows are never deleted. Their values stand in the audit rows field by field, so that these tell how
//! the table came to be as it is, and any change can be taken back by another one.

mod staff;
mod facts;
mod write;
mod audits;
mod list;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::event::{CompanyId, Host, HostId, StaffId};
use crate::matching::{AuditAction, Confidence, HostKey, InboxRow, MappingSource, Stored};

pub(crate) use audits::audits_since;
pub(super) use audits::key_value;
pub use audits::{AuditFilter, AuditRow, Change, audits, change_of, changes_of_act};
pub use facts::facts;
pub(crate) use facts::{begin_deciding, companies};
pub use list::{MappingFilter, list_mappings};
pub use staff::StaffFact;
pub(crate) use staff::staff_facts;
pub(crate) use write::write_changes;

/// What may change about a mapping, as columns and as fields of an audit row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingState {
    /// None in a row that a gateway wrote without one.
    #[serde(rename = "company_id")]
    pub company: Option<CompanyId>,
    /// It is switched on.
    pub is_active: bool,
    /// How it came to be.
    #[serde(rename = "mapping_source")]
    pub source: Stored<MappingSource>,
    /// How sure that is.
    #[serde(rename = "confidence_score")]
    pub confidence: Confidence,
}

impl MappingState {
    /// As the fields of an audit row.
    pub fn fields(&self) -> Map<String, Value> {
        if let Value::Object(fields) = json!(self) { fields } else { Map::new() }
    }

    /// The fields in which the other one differs: before and after.
    pub fn difference(&self, after: &Self) -> (Map<String, Value>, Map<String, Value>) {
        let (mut old, mut new) = (self.fields(), after.fields());
        new.retain(|name, value| old.get(name) != Some(value));
        old.retain(|name, _| new.contains_key(name));
        (old, new)
    }

    /// With the fields of an audit row in place of its own; of others nothing is kept here. `None`: a
    /// value is not what it must be.
    #[must_use]
    pub fn with(&self, fields: &Map<String, Value>) -> Option<Self> {
        let mut all = self.fields();
        all.extend(fields.clone());
        serde_json::from_value(all.into()).ok()
    }

    /// Whether a person made the mapping, or a match did.
    pub fn is_by_person(&self) -> bool {
        self.source.is_by_person()
    }
}

/// A row of `calcom_host_mappings`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "most fields are columns")]
pub struct MappingRow {
    pub id: i64,
    pub host: HostId,
    pub staff: StaffFact,
    pub name: String,
    pub email: String,
    pub username: Option<String>,
    pub time_zone: Option<String>,
    /// What may change.
    pub state: MappingState,
    /// Its newest audit row, 0 without one.
    pub last_audit: i64,
    /// When a booking of its host was decided last, ms since 1970; only lists say it.
    pub last_used_ms: Option<i64>,
}

impl MappingRow {
    /// The company for which it counts: its own, or that of its member of staff.
    pub fn company(&self) -> Option<CompanyId> {
        self.state.company.or(self.staff.company)
    }

    /// It is in force for this company, whether or not its member of staff counts.
    pub fn is_active_in(&self, company: CompanyId) -> bool {
        self.state.is_active && self.company() == Some(company)
    }

    /// Its member of staff is active, not deleted, and in its company.
    pub fn has_valid_staff(&self) -> bool {
        self.company().is_some_and(|company| self.staff.is_valid_in(company))
    }
}

/// Everything that a decision about one host depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFacts {
    /// Company and host.
    pub key: HostKey,
    /// All mappings of the host, by id; those of other companies too: a member of staff may have
    /// moved from there, and host and staff together are unique.
    pub mappings: Vec<MappingRow>,
    /// The newest audit row of the host, 0 without one: tells whether anything was changed since.
    pub last_audit: i64,
    /// A booking, or a mapping, has named this host in this company.
    pub is_known: bool,
    /// Its row among the hosts that need a person.
    pub inbox: Option<InboxRow>,
}

/// A change of one row, with what its audit row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowChange {
    /// The row, or what one is made of.
    pub(crate) row: RowTarget,
    pub(crate) staff: StaffId,
    /// Before; none of a row that is made.
    pub(crate) from: Option<MappingState>,
    /// After.
    pub(crate) to: MappingState,
    pub(crate) action: AuditAction,
}

/// What is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowTarget {
    /// `calcom_host_mappings.id`
    Row(i64),
    /// A new row with this host, cut to its columns.
    New(Box<Host>),
}

/// All that one decision changes: either all of it is written, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostChange {
    /// Company and host.
    pub(crate) key: HostKey,
    /// Its number within the act, from 0: it names the audit rows, so that the same act written twice
    /// leaves them once.
    pub(crate) number: u32,
    /// The rows, those that are switched off first.
    pub(crate) rows: Vec<RowChange>,
    /// Whether the host still needs a person.
    pub(crate) needs_person: bool,
    /// It takes another change back.
    pub(crate) is_revert: bool,
    /// Why, in the person's words.
    pub(crate) reason: Option<String>,
}
