//! Reads everything that a person's decision about mappings depends on, under the lock of its host, and
//! writes decisions: many at once, with one audit row for each changed row.
//!
//! Mappings are never deleted. The audit rows contain the changed values field by field, so they show how the
//! table got its content, and any change can be undone by another one.

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
pub use audits::{AuditFilter, AuditRow, Change, audits, change_of, changes_of_batch};
pub use facts::facts;
pub(crate) use facts::{companies, existing_companies, lock_hosts_for_decision};
pub use list::{MappingFilter, list_mappings};
pub use staff::StaffFact;
pub(crate) use staff::{staff_facts, staff_of};
pub(crate) use write::write_changes;

/// The columns of a mapping that may change, as fields of an audit row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappingState {
    /// `None` in a row that a gateway wrote without a company.
    #[serde(rename = "company_id")]
    pub company: Option<CompanyId>,
    /// Whether it is active.
    pub is_active: bool,
    /// How it was created.
    #[serde(rename = "mapping_source")]
    pub source: Stored<MappingSource>,
    /// The confidence with which it was created.
    #[serde(rename = "confidence_score")]
    pub confidence: Confidence,
}

impl MappingState {
    /// Returns the state as the fields of an audit row.
    pub fn fields(&self) -> Map<String, Value> {
        if let Value::Object(fields) = json!(self) { fields } else { Map::new() }
    }

    /// Returns the fields in which `after` differs: their values before, and those after.
    pub fn difference(&self, after: &Self) -> (Map<String, Value>, Map<String, Value>) {
        let (mut old, mut new) = (self.fields(), after.fields());
        new.retain(|name, value| old.get(name) != Some(value));
        old.retain(|name, _| new.contains_key(name));
        (old, new)
    }

    /// Replaces values of the state with those of an audit row; other fields are ignored. `None` if a value
    /// is invalid.
    #[must_use]
    pub fn with(&self, fields: &Map<String, Value>) -> Option<Self> {
        let mut all = self.fields();
        all.extend(fields.clone());
        serde_json::from_value(all.into()).ok()
    }

    /// Returns whether a person created the mapping, not a match.
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
    /// The columns that may change.
    pub state: MappingState,
    /// Its newest audit row, 0 if there is none.
    pub last_audit: i64,
    /// When a booking of its host was last decided, in ms since 1970; set only in lists.
    pub last_used_ms: Option<i64>,
}

impl MappingRow {
    /// Returns the company that the mapping belongs to: its own, or that of its member of staff.
    pub fn company(&self) -> Option<CompanyId> {
        self.state.company.or(self.staff.company)
    }

    /// Returns whether it is active for this company, even if its member of staff is not valid.
    pub fn is_active_in(&self, company: CompanyId) -> bool {
        self.state.is_active && self.company() == Some(company)
    }

    /// Returns whether its member of staff is active, not deleted, and in its company.
    pub fn has_valid_staff(&self) -> bool {
        self.company().is_some_and(|company| self.staff.is_valid_in(company))
    }
}

/// Everything that a decision about one host depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct HostFacts {
    /// Company and host.
    pub key: HostKey,
    /// All mappings of the host, by id, including those of other companies: a member of staff may have moved
    /// from there, and host and staff together are unique.
    pub mappings: Vec<MappingRow>,
    /// The newest audit row of the host, 0 if there is none. It shows whether anything has changed since the
    /// facts were read.
    pub last_audit: i64,
    /// Whether the host has occurred in a booking or a mapping of this company.
    pub is_known: bool,
    /// Its row in the inbox.
    pub inbox: Option<InboxRow>,
}

/// A change of one mapping, with the content of its audit row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowChange {
    /// The row to change, or the host of a new one.
    pub(crate) row: RowTarget,
    pub(crate) staff: StaffId,
    /// The state before; none for a new row.
    pub(crate) from: Option<MappingState>,
    /// The state after.
    pub(crate) to: MappingState,
    pub(crate) action: AuditAction,
}

/// The row that is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowTarget {
    /// `calcom_host_mappings.id`
    Row(i64),
    /// A new row for this host, with values cut to its columns.
    New(Box<Host>),
}

/// Everything that one decision changes: all of it is written, or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostChange {
    /// Company and host.
    pub(crate) key: HostKey,
    /// Its number within the action, from 0. It is part of the keys of its audit rows, so that writing the
    /// same action twice leaves one row for each change.
    pub(crate) number: u32,
    /// The rows, deactivated ones first.
    pub(crate) rows: Vec<RowChange>,
    /// Whether the host still needs a person.
    pub(crate) needs_person: bool,
    /// Whether it undoes another change.
    pub(crate) is_revert: bool,
    /// The reason, in the person's own words.
    pub(crate) reason: Option<String>,
}
