//! Strategy `name` (priority 50, confidence 75): active staff with the host's full name.

use super::directory::{Directory, normal_name};
use super::strategy::{Candidate, Confidence, Evidence, Origin, Proposal, Strategy};
use super::values::MappingSource;
use crate::event::{CompanyId, Host};

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
