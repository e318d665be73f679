//! `messages`: what waits in the file, work and dead letters.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub(super) struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub(super) id: i64,
    /// In which of the two queues it is.
    pub(super) queue: String,
    /// Its body.
    pub(super) body: Vec<u8>,
    /// Its headers, as JSON.
    pub(super) headers: String,
    /// Under which key it was published.
    pub(super) routing_key: String,
    /// What it says it is.
    pub(super) message_type: Option<String>,
    /// Its publisher's name for it.
    pub(super) message_id: Option<String>,
    /// What it belongs to.
    pub(super) correlation_id: Option<String>,
    /// As what its body is to be read.
    pub(super) content_type: Option<String>,
    /// When it was published, in ms since 1970.
    pub(super) timestamp_ms: Option<i64>,
    /// When it came, in ms since 1970.
    pub(super) enqueued_ms: i64,
    /// Its place in the order: when it came, or its wait ended.
    pub(super) rank_ms: i64,
    /// When its wait ends, in ms since 1970.
    pub(super) due_ms: i64,
    /// How often it was handed out.
    pub(super) deliveries: i64,
    /// It was handed out before.
    pub(super) redelivered: bool,
    /// Who has it in hand.
    pub(super) lease: Option<String>,
    /// Until when, in ms since 1970, unless renewed.
    pub(super) leased_until_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(super) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
