//! `hostmatch_hand_overs`: hosts and appointments that went from one member of staff to another.

use sea_orm::entity::prelude::*;

use crate::event::{CompanyId, StaffId};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_hand_overs")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Names the act of its decisions.
    pub token: TextUuid,
    /// The company.
    pub company_id: CompanyId,
    /// From whom.
    pub from_staff_id: StaffId,
    /// To whom.
    pub to_staff_id: StaffId,
    /// From which start on appointments were given, in ms since 1970.
    pub from_ms: i64,
    /// What was given, as JSON.
    pub appointments: String,
    /// Who made it.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// When, in ms since 1970.
    pub at_ms: i64,
    /// Who took it back.
    pub undone_by: Option<String>,
    /// Why that was.
    pub undone_why: Option<String>,
    /// When that was, in ms since 1970.
    pub undone_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
