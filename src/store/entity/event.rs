//! `hostmatch_events`: one slim row per event.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{AppointmentId, CompanyId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_events")]
pub struct Model {
    /// The event's id, as the sender wrote it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub event_id: String,
    pub event_type: String,
    pub shape: String,
    pub publisher: Option<String>,
    pub booking_ref: Option<String>,
    pub company_id: Option<CompanyId>,
    pub appointment_id: Option<AppointmentId>,
    pub outcome: String,
    pub reason: Option<String>,
    /// How it was read, as JSON; NULL if that is not known.
    pub reading: Option<String>,
    /// When it was first received.
    pub received_ms: i64,
    /// When it was last decided.
    pub decided_ms: i64,
}
