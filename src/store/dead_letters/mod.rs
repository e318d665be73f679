//! Records, lists and reads dead letters, and records what operators do with them.

mod actions;
mod find;
mod purge;
mod record;

use sea_orm::DerivePartialModel;
use serde::Serialize;
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::replays::Replayed;
use crate::matching::{Stored, string_values};
use crate::runtime::clock::as_rfc3339;

pub use super::entity::dead_letter::Model as DeadLetter;
pub(super) use actions::insert_action;
pub use actions::{
    ActionResult, LetterAction, NewLetterAction, RecordedLetterAction, RefusedLetter, letter_actions,
    perform_letter_action, record_note,
};
pub use find::{
    Compare, DeadLetterFilter, Group, LetterOfEvent, dead_letter, dead_letter_ids, dead_letter_summaries,
    dead_letters, dead_letters_of, groups, letters_of_event,
};
pub use purge::{purge_closed_letters, purge_replays};
pub use record::insert_dead_letters;

string_values!(LetterState, LetterAction);

/// The state of a dead letter.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum LetterState {
    /// It waits for an operator.
    Open,
    /// Its copy is in flight.
    Replaying,
    /// Its replayed copy was decided.
    Resolved,
    /// Its replayed copy was decided, and nothing was left to do.
    Skipped,
    /// An operator discarded it.
    Discarded,
}

/// A dead letter to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// The row to store. Its id, its state and its later results are ignored.
    pub letter: DeadLetter,
    /// The message's shape, if it was recognised.
    pub shape: Option<String>,
    /// Who published it, if known.
    pub publisher: Option<String>,
    /// Set if the letter is a replayed copy that failed again. (Stored with the replay, not with the letter.)
    pub replayed: Option<Replayed>,
}

/// A dead letter in a list: without its body, headers and history, which may be large. `docs/commands.md`
/// describes its JSON, which is a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "super::entity::dead_letter::Entity")]
#[expect(missing_docs, reason = "the fields are columns of the entity")]
pub struct DeadLetterSummary {
    pub id: i64,
    pub state: Stored<LetterState>,
    pub reason: String,
    pub error: String,
    pub event_id: Option<String>,
    pub event_type: Option<String>,
    #[serde(rename = "booking")]
    pub booking_ref: Option<String>,
    #[serde(rename = "company")]
    pub company_id: Option<i64>,
    #[serde(rename = "host")]
    pub host_id: Option<i64>,
    #[serde(rename = "starts", serialize_with = "as_rfc3339")]
    pub starts_ms: Option<i64>,
    pub attempts: i32,
    pub replays: i32,
    #[serde(rename = "group")]
    pub fingerprint: String,
    #[serde(rename = "first_seen", serialize_with = "as_rfc3339")]
    pub first_seen_ms: i64,
    #[serde(rename = "last_failed", serialize_with = "as_rfc3339")]
    pub last_failed_ms: i64,
}
