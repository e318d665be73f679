//! The one open set of this program: a strategy looks a host up in the directory and proposes
//! members of staff. Adding one is one new file and one line in `resolver.rs`.

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::values::MappingSource;
use crate::event::{CompanyId, Host, StaffId};

/// One way of finding the member of staff for a host.
pub trait Strategy: Send + Sync {
    /// Its name, as stored with assignments and shown to people.
    fn name(&self) -> &'static str;

    /// Higher is asked first (manual 200, existing 150, e-mail 100, name 50).
    fn priority(&self) -> u16;

    /// What it would look for, in words, or `None` when this host gives it nothing to look for.
    fn looks_for(&self, host: &Host) -> Option<String>;

    /// Whom it proposes in this company. Pure; never looks beyond the company.
    fn propose(&self, host: &Host, company: CompanyId, directory: &Directory) -> Proposal;
}

/// What a strategy found. More than one candidate means that it cannot tell them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// Members of staff, without repeats.
    pub candidates: Vec<Candidate>,
    /// Those that it found and had to refuse, for explaining.
    pub rejected: Vec<Rejected>,
}

/// One member of staff that a strategy proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub staff: StaffId,
    /// How sure the strategy is.
    pub confidence: Confidence,
    /// Why.
    pub evidence: Evidence,
    /// Whether this is a decision already taken, or a new match that the threshold judges.
    pub origin: Origin,
}

/// Where a proposal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An active, valid mapping: in force whatever confidence it was made with.
    Mapping(super::MappingRef),
    /// A new match; accepted, it becomes a mapping with this `mapping_source`.
    Match(MappingSource),
}

/// Whom a strategy found and why that one does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Who.
    pub staff: StaffId,
    /// Why not, in words.
    pub why: &'static str,
}

/// From 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidence(pub u8);

/// What speaks for a candidate: which field agreed, and on what value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `mapping`, `email`, `name`.
    pub field: String,
    /// The value on which host and staff agree; for a mapping its source.
    pub value: String,
}

impl Evidence {
    pub(super) fn new(field: &str, value: impl Into<String>) -> Self {
        Self { field: field.to_owned(), value: value.into() }
    }
}
