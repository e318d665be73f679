//! Maps the table `messages`: the work messages and dead letters in the queue file.

use sea_orm::entity::prelude::*;

/// A row: a message and its state. Times are in ms since 1970.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub(super) struct Model {
    #[sea_orm(primary_key)]
    pub(super) id: i64,
    /// The queue that contains the message.
    pub(super) queue: String,
    pub(super) body: Vec<u8>,
    /// The headers, as JSON.
    pub(super) headers: String,
    pub(super) routing_key: String,
    pub(super) message_type: Option<String>,
    pub(super) message_id: Option<String>,
    pub(super) correlation_id: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) timestamp_ms: Option<i64>,
    /// When the message arrived.
    pub(super) enqueued_ms: i64,
    /// The sort key: when the message arrived, or when its wait ended.
    pub(super) rank_ms: i64,
    /// When the wait of the message ends.
    pub(super) due_ms: i64,
    /// The number of deliveries.
    pub(super) deliveries: i64,
    /// Whether the message was delivered before.
    pub(super) redelivered: bool,
    /// The lease under which the message is delivered.
    pub(super) lease: Option<String>,
    /// When the lease ends, unless it is renewed.
    pub(super) leased_until_ms: Option<i64>,
}

/// The relations of the table: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(super) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
