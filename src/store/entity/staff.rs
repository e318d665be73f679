//! `staff`, the gateway's. Its key is an integer, a text or a UUID; a name is one column or two.

use sea_orm::entity::prelude::*;

use super::OpaqueId;
use crate::event::{CompanyId, StaffId};
use crate::store::Moment;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "staff")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: StaffId,
    /// The company.
    pub company_id: Option<CompanyId>,
    /// The branch.
    pub branch_id: Option<OpaqueId>,
    /// The whole name.
    pub name: Option<String>,
    /// The first name, where the name is two columns.
    pub first_name: Option<String>,
    /// The last name, likewise.
    pub last_name: Option<String>,
    /// The e-mail address.
    pub email: Option<String>,
    /// The flag that says who is active.
    pub is_active: Option<bool>,
    /// The same flag under its other name.
    pub active: Option<bool>,
    /// When it was deleted, where rows stay.
    pub deleted_at: Option<Moment>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The company.
    #[sea_orm(
        belongs_to = "super::company::Entity",
        from = "Column::CompanyId",
        to = "super::company::Column::Id"
    )]
    Company,
    /// The appointments of the member of staff.
    #[sea_orm(has_many = "super::appointment::Entity")]
    Appointments,
    /// The hosts that are this member of staff.
    #[sea_orm(has_many = "super::mapping::Entity")]
    Mappings,
}

impl Related<super::company::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Company.def()
    }
}

impl Related<super::appointment::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Appointments.def()
    }
}

impl Related<super::mapping::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Mappings.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
