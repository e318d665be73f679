//! `hostmatch_workers`: the running workers, each with its last heartbeat.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_workers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub host: String,
    pub pid: i64,
    pub role: String,
    pub version: String,
    pub revision: Option<String>,
    /// Whether it assigns, or only observes.
    pub mode: String,
    /// The number of batches that it processes at once.
    pub pipelines: i32,
    pub started_ms: i64,
    pub seen_ms: i64,
    pub settled_ms: Option<i64>,
    pub finished: i64,
    pub retried: i64,
    /// The number of deliveries that became dead letters.
    pub failed: i64,
}
