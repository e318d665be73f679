//! `hostmatch_repairs`: repairs: after a person has mapped a host, the appointments that waited for it are
//! assigned.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Actor, Stored};
use crate::store::{RepairScope, RepairState};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_repairs")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Identifies the repair, so that starting it twice leaves one row.
    pub token: TextUuid,
    pub company_id: CompanyId,
    pub host_id: HostId,
    /// The member of staff who gets the appointments.
    pub staff_id: StaffId,
    pub scope: Stored<RepairScope>,
    pub state: Stored<RepairState>,
    pub total: i32,
    pub made_by: Actor,
    pub why: Option<String>,
    pub created_ms: i64,
    pub ended_ms: Option<i64>,
    pub undone_by: Option<Actor>,
    pub undone_why: Option<String>,
    pub undone_ms: Option<i64>,
}
