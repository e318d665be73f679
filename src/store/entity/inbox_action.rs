//! `hostmatch_inbox_actions`: what people did with rows of the inbox.

use sea_orm::entity::prelude::*;

use crate::event::{CompanyId, HostId};
use crate::matching::{Actor, Stored};
use crate::store::HostAction;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_inbox_actions")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The company.
    pub company_id: CompanyId,
    /// The host.
    pub host_id: HostId,
    /// What was done.
    pub action: Stored<HostAction>,
    /// Who did it.
    pub made_by: Actor,
    /// When, in ms since 1970.
    pub at_ms: i64,
    /// Why.
    pub why: Option<String>,
    /// Until when the host is ignored, in ms since 1970.
    pub until_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
