//! `users`, the gateway's: who works with it.

use sea_orm::entity::prelude::*;

use super::OpaqueId;
use crate::event::CompanyId;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "users")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: OpaqueId,
    /// The company.
    pub company_id: Option<CompanyId>,
    /// What it is called.
    pub name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
