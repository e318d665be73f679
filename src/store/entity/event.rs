//! `hostmatch_events`: one slim row for each event.

use sea_orm::entity::prelude::*;

use crate::event::{AppointmentId, CompanyId};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_events")]
pub struct Model {
    /// The event, as it stands there: a record is shown as it was written.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: String,
    /// What it says has happened.
    pub event_type: String,
    /// In which shape it came.
    pub shape: String,
    /// Who published it.
    pub publisher: Option<String>,
    /// The booking's reference.
    pub booking_ref: Option<String>,
    /// The appointment's company.
    pub company_id: Option<CompanyId>,
    /// The appointment.
    pub appointment_id: Option<AppointmentId>,
    /// What became of it.
    pub outcome: String,
    /// Why.
    pub reason: Option<String>,
    /// When it first came, in ms since 1970.
    pub received_ms: i64,
    /// When it was last decided, in ms since 1970.
    pub decided_ms: i64,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
