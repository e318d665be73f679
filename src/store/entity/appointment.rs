//! `appointments`, the gateway's. We write `staff_id`, `calcom_host_id` and `updated_at`.

use sea_orm::entity::prelude::*;

use super::OpaqueId;
use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::store::Moment;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "appointments")]
pub struct Model {
    /// Its key.
    #[sea_orm(primary_key)]
    pub id: AppointmentId,
    /// The company: the tenant.
    pub company_id: Option<CompanyId>,
    /// The branch.
    pub branch_id: Option<OpaqueId>,
    /// The service.
    pub service_id: Option<OpaqueId>,
    /// The customer.
    pub customer_id: Option<OpaqueId>,
    /// The member of staff.
    pub staff_id: Option<StaffId>,
    /// The host of its booking.
    pub calcom_host_id: Option<HostId>,
    /// The booking's reference.
    pub calcom_v2_booking_id: Option<OpaqueId>,
    /// The same, by its `uid`.
    pub calcom_v2_booking_uid: Option<OpaqueId>,
    /// The same, in older installations.
    pub calcom_booking_id: Option<OpaqueId>,
    /// When it starts.
    pub starts_at: Option<Moment>,
    /// When it ends.
    pub ends_at: Option<Moment>,
    /// The gateway's own status.
    pub status: Option<String>,
    /// When it was last changed.
    pub updated_at: Option<Moment>,
    /// When it was deleted, where rows stay.
    pub deleted_at: Option<Moment>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The member of staff.
    #[sea_orm(belongs_to = "super::staff::Entity", from = "Column::StaffId", to = "super::staff::Column::Id")]
    Staff,
    /// The mapping that is in force for its company and host.
    #[sea_orm(
        belongs_to = "super::mapping::Entity",
        from = "(Column::CompanyId, Column::CalcomHostId)",
        to = "(super::mapping::Column::CompanyId, super::mapping::Column::CalcomHostId)",
        on_condition = "super::mapping::Column::IsActive.eq(true)"
    )]
    Mapping,
    /// What was decided for it.
    #[sea_orm(has_one = "super::assignment::Entity")]
    Assignment,
    /// The company.
    #[sea_orm(
        belongs_to = "super::company::Entity",
        from = "Column::CompanyId",
        to = "super::company::Column::Id"
    )]
    Company,
    /// The service.
    #[sea_orm(
        belongs_to = "super::service::Entity",
        from = "Column::ServiceId",
        to = "super::service::Column::Id"
    )]
    Service,
    /// The branch.
    #[sea_orm(
        belongs_to = "super::branch::Entity",
        from = "Column::BranchId",
        to = "super::branch::Column::Id"
    )]
    Branch,
    /// The customer.
    #[sea_orm(
        belongs_to = "super::customer::Entity",
        from = "Column::CustomerId",
        to = "super::customer::Column::Id"
    )]
    Customer,
}

impl Related<super::staff::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Staff.def()
    }
}

impl Related<super::mapping::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Mapping.def()
    }
}

impl Related<super::assignment::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Assignment.def()
    }
}

impl Related<super::company::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Company.def()
    }
}

impl Related<super::service::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Service.def()
    }
}

impl Related<super::branch::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Branch.def()
    }
}

impl Related<super::customer::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Customer.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
