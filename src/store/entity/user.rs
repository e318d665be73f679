//! The gateway's `users`: the people who use it.

use sea_orm::entity::prelude::*;

use super::{NoRelation as Relation, OpaqueId};
use crate::event::CompanyId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "users")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: OpaqueId,
    pub company_id: Option<CompanyId>,
    pub name: Option<String>,
    pub email: Option<String>,
}
