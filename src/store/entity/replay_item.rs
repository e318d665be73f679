//! `hostmatch_replay_items`: the letters of a replay.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::matching::Stored;
use crate::store::ReplayItemState;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_replay_items")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub replay_id: i64,
    #[sea_orm(primary_key)]
    pub letter_id: i64,
    /// The hash of the message that was planned.
    pub digest: String,
    /// The time at which the letter had last failed when it was planned.
    pub seen_ms: i64,
    /// The appointment: two letters of one appointment are never in flight at the same time.
    pub lane: Option<i64>,
    pub state: Stored<ReplayItemState>,
    /// The predicted outcome.
    pub predicted: String,
    pub predicted_reason: Option<String>,
    pub strategy: Option<String>,
    pub result: Option<String>,
    pub result_reason: Option<String>,
    /// The letter's id while it is in flight; unique.
    pub outstanding: Option<i64>,
    pub sent_ms: Option<i64>,
    pub ended_ms: Option<i64>,
}
