//! `hostmatch_hand_overs`: hosts and appointments handed over from one member of staff to another.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{CompanyId, StaffId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_hand_overs")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Identifies the action in the audit rows of its decisions.
    pub token: TextUuid,
    pub company_id: CompanyId,
    pub from_staff_id: StaffId,
    pub to_staff_id: StaffId,
    /// The earliest start of the appointments handed over.
    pub from_ms: i64,
    /// The appointments handed over, as JSON.
    pub appointments: String,
    pub made_by: String,
    pub why: Option<String>,
    pub at_ms: i64,
    pub undone_by: Option<String>,
    pub undone_why: Option<String>,
    pub undone_ms: Option<i64>,
}
