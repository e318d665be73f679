//! `companies`, the gateway's: the tenants.

use sea_orm::entity::prelude::*;

use crate::event::CompanyId;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "companies")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key)]
    pub id: CompanyId,
    /// What it is called.
    pub name: Option<String>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
