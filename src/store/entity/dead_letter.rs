//! `hostmatch_dead_letters`: deliveries that could not be processed, with everything needed to replay them.

use sea_orm::entity::prelude::*;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::NoRelation as Relation;
use crate::event::CompanyId;
use crate::matching::Stored;
use crate::store::LetterState;

/// Its JSON is one line of an export: `docs/commands.md` describes it.
#[derive(
    Clone, Debug, PartialEq, Eq, Serialize, Deserialize, DeriveEntityModel, DeriveActiveModelBehavior,
)]
#[sea_orm(table_name = "hostmatch_dead_letters")]
#[serde(deny_unknown_fields)]
pub struct Model {
    #[sea_orm(primary_key)]
    #[serde(skip)]
    pub id: i64,
    /// Identifies the delivery, so that recording it twice leaves one row.
    pub dead_id: String,
    /// The event's id, as the sender wrote it, even if it is invalid.
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    #[serde(rename = "booking")]
    pub booking_ref: Option<String>,
    #[serde(rename = "company")]
    pub company_id: Option<CompanyId>,
    #[serde(rename = "host")]
    pub host_id: Option<i64>,
    pub starts_ms: Option<i64>,
    pub reason: String,
    pub error: String,
    /// Letters with the same fingerprint have the same cause.
    #[serde(rename = "group")]
    pub fingerprint: String,
    pub attempts: i32,
    /// The attempts, as JSON.
    pub history: String,
    pub routing_key: String,
    /// Its headers, as JSON.
    #[serde(rename = "properties")]
    pub headers: String,
    #[serde(serialize_with = "as_hex", deserialize_with = "from_hex")]
    pub body: Vec<u8>,
    /// When it was first received.
    pub first_seen_ms: i64,
    pub last_failed_ms: i64,
    pub recorded_ms: i64,
    pub state: Stored<LetterState>,
    #[serde(skip)]
    pub replays: i32,
    /// When it was closed.
    #[serde(skip)]
    pub closed_ms: Option<i64>,
}

/// Encodes bytes as hex: a body may contain any bytes.
fn as_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
}
