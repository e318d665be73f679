//! `messages`: what waits in the file, work and dead letters.

use sea_orm::entity::prelude::*;

/// A row: a message, and where it is. Moments are in ms since 1970.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub(super) struct Model {
    #[sea_orm(primary_key)]
    pub(super) id: i64,
    /// In which of the two queues it is.
    pub(super) queue: String,
    pub(super) body: Vec<u8>,
    /// As JSON.
    pub(super) headers: String,
    pub(super) routing_key: String,
    pub(super) message_type: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) timestamp_ms: Option<i64>,
    /// When it came.
    pub(super) enqueued_ms: i64,
    /// Its place in the order: when it came, or its wait ended.
    pub(super) rank_ms: i64,
    /// When its wait ends.
    pub(super) due_ms: i64,
    /// How often it was handed out.
    pub(super) deliveries: i64,
    /// It was handed out before.
    pub(super) redelivered: bool,
    /// Who has it in hand.
    pub(super) lease: Option<String>,
    /// Until when, unless renewed.
    pub(super) leased_until_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(super) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
