//! Ways of looking a host up in the directory and proposing members of staff. A new one is a variant of
//! [`Strategy`], and the function by which it proposes.

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::directory::{Directory, HostKey, normal_name};
use super::values::{MappingSource, words};
use crate::event::{CompanyId, Host, StaffId};

words!(Strategy);

/// One way of finding the member of staff for a host. They are asked in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Strategy {
    /// The active mapping that a person made.
    Manual,
    /// The active mapping that an earlier match made.
    Existing,
    /// Active staff with the host's address: confidence 95.
    Email,
    /// Active staff with the host's full name: confidence 75.
    Name,
}

impl Strategy {
    /// The names of all, in their order.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::VARIANTS.iter().copied().map(Self::as_str)
    }

    /// Higher is asked first.
    pub fn priority(self) -> u16 {
        match self {
            Self::Manual => 200,
            Self::Existing => 150,
            Self::Email => 100,
            Self::Name => 50,
        }
    }

    /// What it would look for, in words, or `None` when this host gives it nothing to look for.
    pub(super) fn looks_for(self, host: &Host) -> Option<String> {
        match self {
            Self::Manual => host.id.map(|id| format!("a mapping of host {id} made by a person")),
            Self::Existing => host.id.map(|id| format!("a mapping of host {id} made by an earlier match")),
            Self::Email => Some(host.emails().join(" or ")).filter(|emails| !emails.is_empty()),
            Self::Name => full_name(host),
        }
    }

    /// Whom it proposes in this company. Pure; never looks beyond the company.
    pub(super) fn propose(self, host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
        match self {
            Self::Manual => by_mapping(host, company, directory, true),
            Self::Existing => by_mapping(host, company, directory, false),
            Self::Email => by_email(host, company, directory),
            Self::Name => by_name(host, company, directory),
        }
    }
}

/// What a strategy found. More than one candidate means that it cannot tell them apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proposal {
    /// Members of staff, without repeats.
    pub candidates: Vec<Candidate>,
    /// Those whose mapping it found and who do not count ([`REFUSED`]), for explaining.
    pub rejected: Vec<StaffId>,
}

/// Why the member of staff of a mapping does not count.
pub(super) const REFUSED: &str = "the member of staff is inactive, deleted, or in another company";

/// One member of staff that a strategy proposes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Candidate {
    pub(crate) staff: StaffId,
    pub(crate) confidence: Confidence,
    #[serde(skip)]
    pub(crate) evidence: Evidence,
    /// Whether this is a decision already taken, or a new match that the threshold judges.
    #[serde(skip)]
    pub(crate) origin: Origin,
}

/// Where a proposal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An active, valid mapping: in force whatever confidence it was made with.
    Mapping(super::MappingRef),
    /// A new match; accepted, it becomes a mapping with this `mapping_source`.
    Match(MappingSource),
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

/// The active mapping of the host, if it is a person's (or, else, a match's). It counts only while
/// its member of staff is active, not deleted, and in the company; it is then used whatever
/// confidence it was made with. Several for different people cannot be told apart.
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
