//! `hostmatch_dead_letter_actions`: what people did with dead letters.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::matching::Stored;
use crate::store::LetterAction;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_dead_letter_actions")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Identifies the action, so that performing it twice leaves one row.
    pub token: String,
    pub action: Stored<LetterAction>,
    pub made_by: String,
    pub at_ms: i64,
    pub why: Option<String>,
    /// How the letters were chosen, as JSON.
    pub chosen: Option<String>,
    pub replay_id: Option<i64>,
    /// The group of letters that it concerns.
    pub fingerprint: Option<String>,
    pub letters: i32,
}
