//! `hostmatch_host_locks`: rows that stand for hosts, to be locked.

use sea_orm::entity::prelude::*;

use crate::event::{CompanyId, HostId};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_host_locks")]
pub struct Model {
    /// The company.
    #[sea_orm(primary_key)]
    pub company_id: CompanyId,
    /// The host.
    #[sea_orm(primary_key)]
    pub host_id: HostId,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
