//! The gateway's `appointments`. We write only `staff_id`, `calcom_host_id` and `updated_at`.

use sea_orm::entity::prelude::*;

use super::OpaqueId;
use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::store::Moment;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "appointments")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: AppointmentId,
    pub company_id: Option<CompanyId>,
    pub branch_id: Option<OpaqueId>,
    pub service_id: Option<OpaqueId>,
    pub customer_id: Option<OpaqueId>,
    pub staff_id: Option<StaffId>,
    pub calcom_host_id: Option<HostId>,
    pub calcom_v2_booking_id: Option<OpaqueId>,
    pub calcom_v2_booking_uid: Option<OpaqueId>,
    /// The booking's reference in older installations.
    pub calcom_booking_id: Option<OpaqueId>,
    pub starts_at: Option<Moment>,
    pub ends_at: Option<Moment>,
    pub status: Option<String>,
    pub updated_at: Option<Moment>,
    /// When it was deleted, if the gateway uses soft deletes.
    pub deleted_at: Option<Moment>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "super::staff::Entity", from = "Column::StaffId", to = "super::staff::Column::Id")]
    Staff,
    /// The active mapping for its company and host.
    #[sea_orm(
        belongs_to = "super::mapping::Entity",
        from = "(Column::CompanyId, Column::CalcomHostId)",
        to = "(super::mapping::Column::CompanyId, super::mapping::Column::CalcomHostId)",
        on_condition = "super::mapping::Column::IsActive.eq(true)"
    )]
    Mapping,
    #[sea_orm(has_one = "super::assignment::Entity")]
    Assignment,
    #[sea_orm(
        belongs_to = "super::company::Entity",
        from = "Column::CompanyId",
        to = "super::company::Column::Id"
    )]
    Company,
    #[sea_orm(
        belongs_to = "super::service::Entity",
        from = "Column::ServiceId",
        to = "super::service::Column::Id"
    )]
    Service,
    #[sea_orm(
        belongs_to = "super::branch::Entity",
        from = "Column::BranchId",
        to = "super::branch::Column::Id"
    )]
    Branch,
    #[sea_orm(
        belongs_to = "super::customer::Entity",
        from = "Column::CustomerId",
        to = "super::customer::Column::Id"
    )]
    Customer,
}

related!(staff by Staff, mapping by Mapping, assignment by Assignment, company by Company);
related!(service by Service, branch by Branch, customer by Customer);
