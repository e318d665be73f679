//! Strategy `email` (priority 100, confidence 95): active staff with the host's address.

use super::directory::Directory;
use super::strategy::{Candidate, Confidence, Evidence, Origin, Proposal, Strategy};
use super::values::MappingSource;
use crate::event::{CompanyId, Host};

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
