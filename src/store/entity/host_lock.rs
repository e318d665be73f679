//! `hostmatch_host_locks`: rows that represent hosts and exist only to be locked.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{CompanyId, HostId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_host_locks")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub company_id: CompanyId,
    #[sea_orm(primary_key)]
    pub host_id: HostId,
}
