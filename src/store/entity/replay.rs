//! `hostmatch_replays`: replays of dead letters.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::matching::Stored;
use crate::store::ReplayState;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_replays")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Identifies the plan, so that recording it twice leaves one row.
    pub token: String,
    pub state: Stored<ReplayState>,
    /// How the letters were chosen, as JSON.
    pub chosen: String,
    pub made_by: String,
    pub why: Option<String>,
    pub total: i32,
    /// The rate, in letters per unit of time.
    pub rate: Option<String>,
    /// The number of letters that are replayed first.
    pub canary: Option<i32>,
    /// The replay stops when more than this percentage of letters has failed.
    pub stop_percent: Option<i32>,
    pub ended_because: Option<String>,
    /// The process that publishes its letters.
    pub lease: Option<String>,
    /// When the lease expires, unless renewed.
    pub lease_until_ms: Option<i64>,
    pub created_ms: i64,
    /// Until when the plan may be started.
    pub expires_ms: i64,
    pub started_ms: Option<i64>,
    pub ended_ms: Option<i64>,
}
