//! `hostmatch_dead_letter_action_letters`: the letters of an act.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_dead_letter_action_letters")]
pub struct Model {
    /// The act.
    #[sea_orm(primary_key)]
    pub action_id: i64,
    /// The letter.
    #[sea_orm(primary_key)]
    pub letter_id: i64,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
