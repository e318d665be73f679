//! The one open set of this program: a strategy looks a host up in the directory and proposes
//! members of staff. Adding one is one `impl` here and one line in `resolver.rs`.
//!
//! `manual` (priority 200): the active mapping that a person made. `existing` (150): the one that an earlier match
//! made. `email` (100, confidence 95): active staff with the host's address. `name` (50, confidence 75): with the
//! host's full name.

use serde::{Deserialize, Serialize};

use super::directory::{Directory, HostKey, normal_name};
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

pub(super) struct Manual;

impl Strategy for Manual {
    fn name(&self) -> &'static str {
        "manual"
    }

    fn priority(&self) -> u16 {
        200
    }

    fn looks_for(&self, host: &Host) -> Option<String> {
        host.id.map(|id| format!("a mapping of host {id} made by a person"))
    }

    fn propose(&self, host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
        propose_mapping(host, company, directory, true)
    }
}

pub(super) struct Existing;

impl Strategy for Existing {
    fn name(&self) -> &'static str {
        "existing"
    }

    fn priority(&self) -> u16 {
        150
    }

    fn looks_for(&self, host: &Host) -> Option<String> {
        host.id.map(|id| format!("a mapping of host {id} made by an earlier match"))
    }

    fn propose(&self, host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
        propose_mapping(host, company, directory, false)
    }
}

/// The active mapping of the host, if it is a person's (or, else, a match's). It counts only while
/// its member of staff is active, not deleted, and in the company; it is then used whatever
/// confidence it was made with. Several for different people cannot be told apart.
pub(super) fn propose_mapping(
    host: &Host,
    company: CompanyId,
    directory: &Directory,
    by_person: bool,
) -> Proposal {
    let mut proposal = Proposal::default();
    let Some(id) = host.id else { return proposal };
    for mapping in directory.active_mappings(HostKey::new(company, id), by_person) {
        let staff = mapping.staff.clone();
        if !mapping.staff_is_valid {
            let why = "the member of staff is inactive, deleted, or in another company";
            proposal.rejected.push(Rejected { staff, why });
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

pub(super) struct Email;

impl Strategy for Email {
    fn name(&self) -> &'static str {
        "email"
    }

    fn priority(&self) -> u16 {
        100
    }

    fn looks_for(&self, host: &Host) -> Option<String> {
        let emails = host.emails();
        (!emails.is_empty()).then(|| emails.join(" or "))
    }

    fn propose(&self, host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
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
}

pub(super) struct Name;

impl Strategy for Name {
    fn name(&self) -> &'static str {
        "name"
    }

    fn priority(&self) -> u16 {
        50
    }

    fn looks_for(&self, host: &Host) -> Option<String> {
        host.name.as_deref().map(normal_name).filter(|name| !name.is_empty())
    }

    fn propose(&self, host: &Host, company: CompanyId, directory: &Directory) -> Proposal {
        let name = self.looks_for(host);
        let Some((roster, name)) = directory.roster(company).zip(name) else { return Proposal::default() };
        let candidates = roster.with_name(&name).map(|member| Candidate {
            staff: member.id.clone(),
            confidence: Confidence(75),
            evidence: Evidence::new("name", name.as_str()),
            origin: Origin::Match(MappingSource::AutoName),
        });
        Proposal { candidates: candidates.collect(), rejected: Vec::new() }
    }
}
