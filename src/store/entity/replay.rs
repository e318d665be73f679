//! `hostmatch_replays`: replays of dead letters.

use sea_orm::entity::prelude::*;

use crate::matching::Stored;
use crate::store::ReplayState;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_replays")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Names the plan, so that recording it twice leaves one row.
    pub token: String,
    /// How far it is.
    pub state: Stored<ReplayState>,
    /// How the letters were chosen, as JSON.
    pub chosen: String,
    /// Who made it.
    pub made_by: String,
    /// Why.
    pub why: Option<String>,
    /// How many letters.
    pub total: i32,
    /// How many letters in how long.
    pub rate: Option<String>,
    /// How many letters go first.
    pub canary: Option<i32>,
    /// At how many failures in a hundred it stops.
    pub stop_percent: Option<i32>,
    /// Why it ended.
    pub ended_because: Option<String>,
    /// Who carries it out.
    pub lease: Option<String>,
    /// Until when, in ms since 1970, unless renewed.
    pub lease_until_ms: Option<i64>,
    /// When it was planned, in ms since 1970.
    pub created_ms: i64,
    /// Until when the plan may begin, in ms since 1970.
    pub expires_ms: i64,
    /// When it began, in ms since 1970.
    pub started_ms: Option<i64>,
    /// When it ended, in ms since 1970.
    pub ended_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
