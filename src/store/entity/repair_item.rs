//! `hostmatch_repair_items`: the appointments of a repair.

use sea_orm::entity::prelude::*;

use crate::event::AppointmentId;
use crate::matching::Stored;
use crate::store::ItemState;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_repair_items")]
pub struct Model {
    /// The repair.
    #[sea_orm(primary_key)]
    pub repair_id: i64,
    /// The appointment.
    #[sea_orm(primary_key)]
    pub appointment_id: AppointmentId,
    /// When the booking starts, in ms since 1970.
    pub starts_ms: Option<i64>,
    /// How far it is.
    pub state: Stored<ItemState>,
    /// Why it was left out.
    pub reason: Option<String>,
    /// What there was before, as JSON.
    pub prior: Option<String>,
    /// When it was decided, in ms since 1970.
    pub decided_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The repair.
    #[sea_orm(
        belongs_to = "super::repair::Entity",
        from = "Column::RepairId",
        to = "super::repair::Column::Id"
    )]
    Repair,
}

impl Related<super::repair::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Repair.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
