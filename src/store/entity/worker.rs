//! `hostmatch_workers`: the workers that run, each with its heartbeat.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_workers")]
pub struct Model {
    /// Names the process.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The machine.
    pub host: String,
    /// The process there.
    pub pid: i64,
    /// What it does.
    pub role: String,
    /// The program's version.
    pub version: String,
    /// Its revision.
    pub revision: Option<String>,
    /// Whether it assigns, or only observes.
    pub mode: String,
    /// How many batches it decides at once.
    pub pipelines: i32,
    /// When it started, in ms since 1970.
    pub started_ms: i64,
    /// When it last said that it runs, in ms since 1970.
    pub seen_ms: i64,
    /// When it last settled a delivery, in ms since 1970.
    pub settled_ms: Option<i64>,
    /// Deliveries that it finished.
    pub finished: i64,
    /// Deliveries that are tried again.
    pub retried: i64,
    /// Deliveries that it gave up.
    pub failed: i64,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
