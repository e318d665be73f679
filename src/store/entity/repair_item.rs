//! `hostmatch_repair_items`: the appointments of a repair.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::AppointmentId;
use crate::matching::Stored;
use crate::store::ItemState;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_repair_items")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub repair_id: i64,
    #[sea_orm(primary_key)]
    pub appointment_id: AppointmentId,
    pub starts_ms: Option<i64>,
    pub state: Stored<ItemState>,
    /// Why it was not assigned or not restored.
    pub reason: Option<String>,
    /// Our row before, as JSON.
    pub prior: Option<String>,
    pub decided_ms: Option<i64>,
}
