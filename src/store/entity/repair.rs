//! `hostmatch_repairs`: repairs of the appointments that waited for a host.

use sea_orm::entity::prelude::*;

use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Actor, Stored};
use crate::store::{RepairScope, RepairState};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_repairs")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Names the repair, so that beginning it twice leaves one row.
    pub token: TextUuid,
    /// The company.
    pub company_id: CompanyId,
    /// The host.
    pub host_id: HostId,
    /// The member of staff whom the appointments get.
    pub staff_id: StaffId,
    /// Which appointments.
    pub scope: Stored<RepairScope>,
    /// How far it is.
    pub state: Stored<RepairState>,
    /// How many appointments.
    pub total: i32,
    /// Who made it.
    pub made_by: Actor,
    /// Why.
    pub why: Option<String>,
    /// When it began, in ms since 1970.
    pub created_ms: i64,
    /// When it ended, in ms since 1970.
    pub ended_ms: Option<i64>,
    /// Who took it back.
    pub undone_by: Option<Actor>,
    /// Why that was.
    pub undone_why: Option<String>,
    /// When that was, in ms since 1970.
    pub undone_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Its appointments.
    #[sea_orm(has_many = "super::repair_item::Entity")]
    Items,
}

impl Related<super::repair_item::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Items.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
