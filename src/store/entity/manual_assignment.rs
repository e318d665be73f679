//! `hostmatch_manual_assignments`: appointments whose member of staff a person chose.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{AppointmentId, CompanyId, StaffId};
use crate::matching::Actor;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_manual_assignments")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Identifies the command: appointments that were assigned together share it.
    pub batch: TextUuid,
    pub company_id: CompanyId,
    pub appointment_id: AppointmentId,
    /// The appointment's member of staff before.
    pub from_staff_id: Option<StaffId>,
    pub to_staff_id: StaffId,
    pub made_by: Actor,
    pub why: Option<String>,
    pub at_ms: i64,
    pub undone_by: Option<Actor>,
    pub undone_why: Option<String>,
    pub undone_ms: Option<i64>,
}
