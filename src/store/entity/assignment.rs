//! `hostmatch_assignments`: what was decided for each appointment.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, IntoCondition as _};

use crate::event::{AppointmentId, BookingRef, CompanyId, EventId, HostId, StaffId};
use crate::matching::Confidence;
use crate::store::DbId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_assignments")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub appointment_id: AppointmentId,
    pub company_id: CompanyId,
    /// The member of staff whom we assigned.
    pub staff_id: Option<StaffId>,
    /// The member of staff that the decision found.
    pub found_staff_id: Option<StaffId>,
    /// Set if the decision was only observed, and is still to be written.
    pub observed: Option<String>,
    /// The mapping that the match used.
    pub mapping_id: Option<DbId>,
    pub strategy: Option<String>,
    pub confidence: Option<Confidence>,
    /// The evidence of the match, as JSON.
    pub evidence: Option<String>,
    /// The newest event that contains a host.
    pub event_id: Option<EventId>,
    pub event_time_ms: Option<i64>,
    /// Whether `event_time_ms` is only the time of publishing.
    pub event_stamped: bool,
    pub host_id: Option<HostId>,
    /// The address of a host without an id.
    pub host_email: Option<String>,
    /// Where in the event the host was found.
    pub host_source: Option<String>,
    /// The outcome of the newest event.
    pub outcome: String,
    /// Why a person is needed.
    pub reason: Option<String>,
    pub booking_ref: Option<BookingRef>,
    pub starts_ms: Option<i64>,
    /// The booking, as long as it is kept.
    pub payload: Option<String>,
    pub decided_ms: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::appointment::Entity",
        from = "Column::AppointmentId",
        to = "super::appointment::Column::Id"
    )]
    Appointment,
    #[sea_orm(
        belongs_to = "super::mapping::Entity",
        from = "Column::MappingId",
        to = "super::mapping::Column::Id"
    )]
    Mapping,
}

/// Joins the appointment only while it is in the assignment's company: once the appointment has moved, the
/// decision no longer applies.
pub fn appointment_in_company() -> RelationDef {
    Relation::Appointment.def().on_condition(|assignment, appointment| {
        let company = Expr::col((appointment, super::appointment::Column::CompanyId));
        company.equals((assignment, Column::CompanyId)).into_condition()
    })
}

related!(appointment by Appointment, mapping by Mapping);
