//! The gateway's `staff`. Its key is an integer, a string or a UUID; a name has one column or two.

use sea_orm::entity::prelude::*;

use crate::event::{CompanyId, StaffId};
use crate::store::Moment;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "staff")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: StaffId,
    pub company_id: Option<CompanyId>,
    pub name: Option<String>,
    /// The first name, if the name has two columns.
    pub first_name: Option<String>,
    pub last_name: Option<String>,
    pub email: Option<String>,
    pub is_active: Option<bool>,
    /// The same flag under its other name.
    pub active: Option<bool>,
    /// When it was deleted, if the gateway uses soft deletes.
    pub deleted_at: Option<Moment>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::company::Entity",
        from = "Column::CompanyId",
        to = "super::company::Column::Id"
    )]
    Company,
    #[sea_orm(has_many = "super::appointment::Entity")]
    Appointments,
    #[sea_orm(has_many = "super::mapping::Entity")]
    Mappings,
}

related!(company by Company, appointment by Appointments, mapping by Mappings);
