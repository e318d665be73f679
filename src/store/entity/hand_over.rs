//! `hostmatch_hand_overs`: hosts and appointments that went from one member of staff to another.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{CompanyId, StaffId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_hand_overs")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Names the act of its decisions.
    pub token: TextUuid,
    pub company_id: CompanyId,
    pub from_staff_id: StaffId,
    pub to_staff_id: StaffId,
    /// From which start on appointments were given.
    pub from_ms: i64,
    /// What was given, as JSON.
    pub appointments: String,
    pub made_by: String,
    pub why: Option<String>,
    pub at_ms: i64,
    pub undone_by: Option<String>,
    pub undone_why: Option<String>,
    pub undone_ms: Option<i64>,
}
