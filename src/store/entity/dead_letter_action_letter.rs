//! `hostmatch_dead_letter_action_letters`: the letters of an action.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_dead_letter_action_letters")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub action_id: i64,
    #[sea_orm(primary_key)]
    pub letter_id: i64,
}
