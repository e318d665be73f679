//! `hostmatch_assignments`: what was decided for each appointment.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{ExprTrait as _, IntoCondition as _};

use crate::event::{AppointmentId, BookingRef, CompanyId, EventId, HostId, StaffId};
use crate::matching::Confidence;
use crate::store::DbId;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_assignments")]
pub struct Model {
    /// The appointment.
    #[sea_orm(primary_key, auto_increment = false)]
    pub appointment_id: AppointmentId,
    /// Its company.
    pub company_id: CompanyId,
    /// Whom we wrote.
    pub staff_id: Option<StaffId>,
    /// Whom the decision found.
    pub found_staff_id: Option<StaffId>,
    /// What was only observed, and is still to be written.
    pub observed: Option<String>,
    /// The mapping by which somebody was found.
    pub mapping_id: Option<DbId>,
    /// The strategy that found somebody.
    pub strategy: Option<String>,
    /// How sure it was.
    pub confidence: Option<Confidence>,
    /// What it found, as JSON.
    pub evidence: Option<String>,
    /// The newest event that named a host.
    pub event_id: Option<EventId>,
    /// That event's time, in ms since 1970.
    pub event_time_ms: Option<i64>,
    /// That time is only when the event was published.
    pub event_stamped: bool,
    /// The host that it named.
    pub host_id: Option<HostId>,
    /// The address of a host without an id.
    pub host_email: Option<String>,
    /// Where in the event the host stood.
    pub host_source: Option<String>,
    /// What became of the newest event.
    pub outcome: String,
    /// Why somebody has to look at it.
    pub reason: Option<String>,
    /// The booking's reference.
    pub booking_ref: Option<BookingRef>,
    /// When the booking starts, in ms since 1970.
    pub starts_ms: Option<i64>,
    /// The booking, while it is kept.
    pub payload: Option<String>,
    /// When it was decided, in ms since 1970.
    pub decided_ms: i64,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The appointment.
    #[sea_orm(
        belongs_to = "super::appointment::Entity",
        from = "Column::AppointmentId",
        to = "super::appointment::Column::Id"
    )]
    Appointment,
    /// The mapping.
    #[sea_orm(
        belongs_to = "super::mapping::Entity",
        from = "Column::MappingId",
        to = "super::mapping::Column::Id"
    )]
    Mapping,
}

impl Related<super::appointment::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Appointment.def()
    }
}

impl Related<super::mapping::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Mapping.def()
    }
}

/// The appointment, while it is in the company of the assignment: one that has moved to another is no longer what
/// was decided on.
pub fn appointment_in_company() -> RelationDef {
    Relation::Appointment.def().on_condition(|assignment, appointment| {
        let company = Expr::col((appointment, super::appointment::Column::CompanyId));
        company.equals((assignment, Column::CompanyId)).into_condition()
    })
}

impl ActiveModelBehavior for ActiveModel {}
