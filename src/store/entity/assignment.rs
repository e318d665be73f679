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
    /// Whom we wrote.
    pub staff_id: Option<StaffId>,
    /// Whom the decision found.
    pub found_staff_id: Option<StaffId>,
    /// What was only observed, and is still to be written.
    pub observed: Option<String>,
    /// The mapping by which somebody was found.
    pub mapping_id: Option<DbId>,
    pub strategy: Option<String>,
    pub confidence: Option<Confidence>,
    /// What it found, as JSON.
    pub evidence: Option<String>,
    /// The newest event that named a host.
    pub event_id: Option<EventId>,
    pub event_time_ms: Option<i64>,
    /// That time is only when the event was published.
    pub event_stamped: bool,
    pub host_id: Option<HostId>,
    /// The address of a host without an id.
    pub host_email: Option<String>,
    /// Where in the event the host stood.
    pub host_source: Option<String>,
    /// What became of the newest event.
    pub outcome: String,
    /// Why somebody has to look at it.
    pub reason: Option<String>,
    pub booking_ref: Option<BookingRef>,
    pub starts_ms: Option<i64>,
    /// The booking, while it is kept.
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

/// The appointment, while it is in the company of the assignment: one that has moved to another is no longer what
/// was decided on.
pub fn appointment_in_company() -> RelationDef {
    Relation::Appointment.def().on_condition(|assignment, appointment| {
        let company = Expr::col((appointment, super::appointment::Column::CompanyId));
        company.equals((assignment, Column::CompanyId)).into_condition()
    })
}

related!(appointment by Appointment, mapping by Mapping);
