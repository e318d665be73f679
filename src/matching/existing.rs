//! Strategy `existing` (priority 150): the active mapping that an earlier match made.

use super::directory::{Directory, HostKey};
use super::strategy::{Candidate, Evidence, Origin, Proposal, Rejected, Strategy};
use crate::event::{CompanyId, Host};

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
