//! Strategy `manual` (priority 200): the active mapping that a person made.

use super::directory::Directory;
use super::existing::propose_mapping;
use super::strategy::{Proposal, Strategy};
use crate::event::{CompanyId, Host};

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
