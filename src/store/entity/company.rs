//! The gateway's `companies`: the tenants.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::CompanyId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "companies")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: CompanyId,
    pub name: Option<String>,
}
