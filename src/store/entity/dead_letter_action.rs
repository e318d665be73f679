//! `hostmatch_dead_letter_actions`: what people did with dead letters.

use sea_orm::entity::prelude::*;

use crate::matching::Stored;
use crate::store::LetterAction;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_dead_letter_actions")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Names the act, so that doing it twice leaves one row.
    pub token: String,
    /// What was done.
    pub action: Stored<LetterAction>,
    /// Who did it.
    pub made_by: String,
    /// When, in ms since 1970.
    pub at_ms: i64,
    /// Why.
    pub why: Option<String>,
    /// How the letters were chosen, as JSON.
    pub chosen: Option<String>,
    /// The replay that it belongs to.
    pub replay_id: Option<i64>,
    /// The group of letters that it is about.
    pub fingerprint: Option<String>,
    /// How many letters.
    pub letters: i32,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
