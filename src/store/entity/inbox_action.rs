//! `hostmatch_inbox_actions`: what people did with rows of the inbox.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{CompanyId, HostId};
use crate::matching::{Actor, Stored};
use crate::store::HostAction;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_inbox_actions")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub company_id: CompanyId,
    pub host_id: HostId,
    pub action: Stored<HostAction>,
    pub made_by: Actor,
    pub at_ms: i64,
    pub why: Option<String>,
    /// Until when the host is ignored.
    pub until_ms: Option<i64>,
}
