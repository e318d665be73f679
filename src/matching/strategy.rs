//! Strategies that look up a host in the directory and propose members of staff for it. To add one, add a
//! variant of [`Strategy`] and a function that proposes candidates.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::directory::{Directory, HostKey, normal_name};
use super::values::{MappingSource, string_values};
use crate::event::{CompanyId, Host, StaffId};

string_values!(Strategy);

/// One way of finding the member of staff for a host. The strategies are tried in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Strategy {
    /// The active mapping that a person created.
    Manual,
    /// The active mapping that an earlier match created.
    Existing,
    /// Active staff with the host's address: confidence 95.
    Email,
    /// Active staff with the host's full name: confidence 75.
    Name,
}

impl Strategy {
    /// Returns the names of all strategies in their order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::VARIANTS.iter().copied().map(Self::as_str)
    }

    /// Returns the priority: the highest is tried first.
    pub fn priority(self) -> u16 {
        match self {
            Self::Manual => 200,
            Self::Existing => 150,
            Self::Email => 100,
            Self::Name => 50,
        }
    }

    /// Describes what this strategy would search for. `None` if the host has no such data.
    pub(super) fn search_term(self, host: &Host) -> Option<String> {
        match self {
            Self::Manual => host.id.map(|id| format!("a mapping of host {id} made by a person")),
            Self::Existing => host.id.map(|id| format!("a mapping of host {id} made by an earlier match")),
            Self::Email => Some(host.emails().join(" or ")).filter(|emails| !emails.is_empty()),
            Self::Name => full_name(host),
        }
    }

    /// Proposes members of staff of this company. It does no I/O, and never uses another company's data.
    pub(super) fn propose(self, host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
        match self {
            Self::Manual => by_mapping(host, company, directory, true),
            Self::Existing => by_mapping(host, company, directory, false),
            Self::Email => by_email(host, company, directory),
            Self::Name => by_name(host, company, directory),
        }
    }
}

/// The result of a strategy. More than one candidate means that the strategy cannot choose between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// Members of staff, without duplicates.
    pub candidates: Vec<Candidate>,
    /// Members of staff whose mapping was found but is not valid (`INVALID_STAFF`); shown in the explanation
    /// of a match.
    pub rejected: Vec<StaffId>,
}

/// The reason why the member of staff of a mapping is not valid.
pub(super) const INVALID_STAFF: &str = "the member of staff is inactive, deleted, or in another company";

/// One member of staff that a strategy proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    pub(crate) staff: StaffId,
    pub(crate) confidence: Confidence,
    #[serde(skip)]
    pub(crate) evidence: Evidence,
    /// Whether this is an existing mapping, or a new match to which the threshold applies.
    #[serde(skip)]
    pub(crate) origin: Origin,
}

/// The origin of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An active, valid mapping: it applies regardless of its confidence.
    Mapping(super::MappingRef),
    /// A new match; if accepted, it becomes a mapping with this `mapping_source`.
    Match(MappingSource),
}

/// A confidence from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Confidence(pub u8);

/// The evidence for a candidate: the field that agrees, and its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `mapping`, `email`, `name`.
    pub field: String,
    /// The value that the host and the member of staff share; for a mapping, its source.
    pub value: String,
}

impl Evidence {
    pub(super) fn new(field: &str, value: impl Into<String>) -> Self {
        Self { field: field.to_owned(), value: value.into() }
    }
}

/// Proposes the active mapping of the host that a person (or, with `by_person` false, a match) created. It is
/// valid only while its member of staff is active, not deleted, and in the company; then it is used
/// regardless of its confidence. Mappings to several members of staff are ambiguous.
fn by_mapping(host: &Host, company: CompanyId, directory: &Directory, by_person: bool) -> Proposal {
    let mut proposal = Proposal::default();
    let Some(id) = host.id else { return proposal };
    for mapping in directory.active_mappings(HostKey::new(company, id), by_person) {
        let staff = mapping.staff.clone();
        if !mapping.staff_is_valid {
            proposal.rejected.push(staff);
        } else if !proposal.candidates.iter().any(|candidate| candidate.staff == staff) {
            proposal.candidates.push(Candidate {
                staff,
                confidence: mapping.confidence,
                evidence: Evidence::new("mapping", mapping.source.as_ref()),
                origin: Origin::Mapping(mapping.row),
            });
        }
    }
    proposal
}

fn by_email(host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
    let mut proposal = Proposal::default();
    let Some(roster) = directory.roster(company) else { return proposal };
    for email in host.emails() {
        for member in roster.with_email(&email) {
            if proposal.candidates.iter().all(|known| known.staff != member.id) {
                proposal.candidates.push(Candidate {
                    staff: member.id.clone(),
                    confidence: Confidence(95),
                    evidence: Evidence::new("email", email.as_str()),
                    origin: Origin::Match(MappingSource::AutoEmail),
                });
            }
        }
    }
    proposal
}

fn by_name(host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
    let name = full_name(host);
    let Some((roster, name)) = directory.roster(company).zip(name) else { return Proposal::default() };
    let candidates = roster.with_name(&name).map(|member| Candidate {
        staff: member.id.clone(),
        confidence: Confidence(75),
        evidence: Evidence::new("name", name.as_str()),
        origin: Origin::Match(MappingSource::AutoName),
    });
    Proposal { candidates: candidates.collect(), rejected: Vec::new() }
}

fn full_name(host: &Host) -> Option<String> {
    host.name.as_deref().map(normal_name).filter(|name| !name.is_empty())
}
