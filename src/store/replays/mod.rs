//! Plans and replays of dead letters: one row each, with an item for each of the chosen letters.
//!
//! A letter is `pending` until its copy is claimed, `claimed` until the copy is confirmed in the queue, and
//! `sent` until the worker has committed its effect or the recorder has recorded it again. Then it has
//! `ended`, with a result. `outstanding` is unique, so a letter has at most one copy in flight.

mod lease;
mod claim;
mod end;
mod read;

use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use crate::matching::string_values;

pub(super) use claim::lock_letters;
pub use claim::{claim, mark_sent};
pub(super) use end::end_replayed;
pub use end::{Replayed, end_decided, give_up, refuse};
pub use lease::{
    NewItem, NewReplay, ReplayStart, ReplayTerms, StateChange, begin_replay, insert_replay, renew_lease,
    set_replay_state,
};
pub use read::{
    ItemGroup, ItemRow, item_counts, item_groups, oldest_in_flight_ms, replay, replay_items, replays,
};

string_values!(ReplayState, ReplayItemState);

/// The state of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ReplayState {
    /// Planned, and not started.
    Planned,
    /// A process works on it, or died doing so.
    Running,
    /// It can be resumed.
    Paused,
    /// Every letter has its result.
    Done,
    /// An operator ended it early.
    Cancelled,
    /// It stopped early, because too many letters failed.
    Stopped,
}

impl ReplayState {
    /// The states in which a process works on it, or may resume it.
    pub(in crate::store) const LIVE: [Self; 2] = [Self::Running, Self::Paused];
}

/// The state of one letter of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ReplayItemState {
    /// To be claimed.
    Pending,
    /// Claimed; its copy may be in the queue.
    Claimed,
    /// Its copy is confirmed in the queue.
    Sent,
    /// It has a result.
    Ended,
}

impl ReplayItemState {
    /// The states in which its copy is, or may be, in the queue.
    pub const IN_FLIGHT: [Self; 2] = [Self::Claimed, Self::Sent];
}

/// The result of a letter whose copy became a dead letter again; also used as a prediction.
pub const FAILED: &str = "failed";

/// The result of a letter that no longer matched the plan, or whose copy could not be published.
pub const REFUSED: &str = "refused";

/// The result of a letter that was never claimed: it stays as it is.
pub const LEFT: &str = "left";

/// The result of a letter whose copy an operator gave up.
pub const LOST: &str = "lost";
