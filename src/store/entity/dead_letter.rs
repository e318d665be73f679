//! `hostmatch_dead_letters`: deliveries that were given up, with everything that is needed to replay them.

use sea_orm::entity::prelude::*;

use crate::event::CompanyId;
use crate::matching::Stored;
use crate::store::LetterState;

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_dead_letters")]
pub struct Model {
    /// Its number.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Names the delivery, so that recording it twice leaves one row.
    pub dead_id: String,
    /// The event's id, whatever whoever sent it took for one.
    pub event_id: Option<String>,
    /// What it says has happened.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking_ref: Option<String>,
    /// The company.
    pub company_id: Option<CompanyId>,
    /// The host, as the event has it.
    pub host_id: Option<i64>,
    /// When the booking starts, in ms since 1970.
    pub starts_ms: Option<i64>,
    /// Why it was given up.
    pub reason: String,
    /// The error's text.
    pub error: String,
    /// Letters with the same one have the same cause.
    pub fingerprint: String,
    /// How often it was tried.
    pub attempts: i32,
    /// The attempts, as JSON.
    pub history: String,
    /// Under which key it was published.
    pub routing_key: String,
    /// Its headers, as JSON.
    pub headers: String,
    /// Its body.
    pub body: Vec<u8>,
    /// When it first came, in ms since 1970.
    pub first_seen_ms: i64,
    /// When it last failed, in ms since 1970.
    pub last_failed_ms: i64,
    /// When it was recorded, in ms since 1970.
    pub recorded_ms: i64,
    /// What has become of it.
    pub state: Stored<LetterState>,
    /// How often it was replayed.
    pub replays: i32,
    /// Since when it is closed, in ms since 1970.
    pub closed_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
