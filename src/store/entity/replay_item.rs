//! `hostmatch_replay_items`: the letters of a replay.

use sea_orm::entity::prelude::*;

use crate::matching::Stored;
use crate::store::ReplayItemState;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_replay_items")]
pub struct Model {
    /// The replay.
    #[sea_orm(primary_key)]
    pub replay_id: i64,
    /// The letter.
    #[sea_orm(primary_key)]
    pub letter_id: i64,
    /// The hash of what was planned to be sent.
    pub digest: String,
    /// When the letter had last failed as it was planned, in ms since 1970.
    pub seen_ms: i64,
    /// Letters of one lane are not on the way together.
    pub lane: Option<i64>,
    /// How far it is.
    pub state: Stored<ReplayItemState>,
    /// The outcome that was foreseen.
    pub predicted: String,
    /// Its reason.
    pub predicted_reason: Option<String>,
    /// The strategy that was foreseen.
    pub strategy: Option<String>,
    /// The outcome.
    pub result: Option<String>,
    /// Its reason.
    pub result_reason: Option<String>,
    /// The letter while it is on the way: unique.
    pub outstanding: Option<i64>,
    /// When it was published, in ms since 1970.
    pub sent_ms: Option<i64>,
    /// When it ended, in ms since 1970.
    pub ended_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
