//! Dead letters: the table in which they are kept, listed and read, and what operators do
//! with them.

mod filter;
mod record;
mod list;
mod groups;
mod acts;
mod purge;

use sea_orm::DerivePartialModel;
use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::replays::Replayed;
use crate::matching::{Stored, words};

pub(super) use acts::record_act;
pub use acts::{Act, Acted, NewAct, acts, discard, note, record_taken, restore};
pub use filter::{Compare, DeadLetterFilter};
pub use groups::{Group, groups};
pub use list::{dead_letter, dead_letter_ids, dead_letter_summaries, dead_letters, dead_letters_of};
pub use purge::purge_closed_letters;
pub use record::insert_dead_letters;

words!(LetterState);

/// Where a dead letter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LetterState {
    /// It waits for a person.
    Open,
    /// Its copy is on the way.
    Replaying,
    /// It was decided after a replay.
    Resolved,
    /// It was replayed when there was nothing left to do.
    Skipped,
    /// A person put it away.
    Discarded,
}

/// A dead letter to be recorded.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "super::entity::dead_letter::Entity")]
pub struct NewDeadLetter {
    /// Its own id, by which recording it twice makes one row.
    pub dead_id: String,
    /// The event's id, where it could be read.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The shape that it came in, as far as it could be told.
    #[sea_orm(skip)]
    pub shape: Option<String>,
    /// Who published it, as far as is known.
    #[sea_orm(skip)]
    pub publisher: Option<String>,
    /// The booking's reference.
    pub booking_ref: Option<String>,
    /// The tenant.
    pub company_id: Option<i64>,
    /// The Cal.com user that the booking is with.
    pub host_id: Option<i64>,
    /// When the booked meeting starts, in ms since 1970 (UTC).
    pub starts_ms: Option<i64>,
    /// The reason code.
    pub reason: String,
    /// What went wrong, in words without personal data.
    pub error: String,
    /// What groups dead letters of one cause.
    pub fingerprint: String,
    /// Attempts, the last one included.
    pub attempts: i32,
    /// What went wrong on earlier attempts: a JSON array of {at_ms, reason, error}.
    pub history: String,
    /// The routing key under which it was published.
    pub routing_key: String,
    /// All text headers and AMQP properties: a JSON object.
    pub headers: String,
    /// The original bytes.
    pub body: Vec<u8>,
    /// When it was first received, in ms since 1970 (UTC).
    pub first_seen_ms: i64,
    /// When it failed last, in ms since 1970 (UTC).
    pub last_failed_ms: i64,
    /// When it is recorded, in ms since 1970 (UTC).
    pub recorded_ms: i64,
    /// It is the copy of a replay that failed again. (Not kept here, but with the replay.)
    #[sea_orm(skip)]
    pub replayed: Option<Replayed>,
}

/// A dead letter as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "super::entity::dead_letter::Entity")]
pub struct DeadLetterRow {
    /// The row's id, growing.
    pub id: i64,
    /// Where it stands.
    pub state: Stored<LetterState>,
    /// How often it was replayed.
    pub replays: i32,
    /// Since when it has been resolved, skipped or discarded, in ms since 1970 (UTC).
    pub closed_ms: Option<i64>,
    /// What was recorded. (`shape` and `publisher` are not kept.)
    #[sea_orm(nested)]
    pub letter: NewDeadLetter,
}

/// A dead letter in a list: without its body, headers and history, which may be large.
#[derive(Clone, Debug, PartialEq, Eq, DerivePartialModel)]
#[sea_orm(entity = "super::entity::dead_letter::Entity")]
pub struct DeadLetterSummary {
    /// The row's id, growing.
    pub id: i64,
    /// Where it stands.
    pub state: Stored<LetterState>,
    /// How often it was replayed.
    pub replays: i32,
    /// What groups dead letters of one cause.
    pub fingerprint: String,
    /// The event's id, where it could be read.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking_ref: Option<String>,
    /// The tenant.
    pub company_id: Option<i64>,
    /// The Cal.com user that the booking is with.
    pub host_id: Option<i64>,
    /// When the booked meeting starts, in ms since 1970 (UTC).
    pub starts_ms: Option<i64>,
    /// The reason code.
    pub reason: String,
    /// What went wrong, in words without personal data.
    pub error: String,
    /// Attempts, the last one included.
    pub attempts: i32,
    /// When it was first received, in ms since 1970 (UTC).
    pub first_seen_ms: i64,
    /// When it failed last, in ms since 1970 (UTC).
    pub last_failed_ms: i64,
}
