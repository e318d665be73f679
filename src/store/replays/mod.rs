//! Plans and replays of dead letters: one row each, with their letters frozen in items.
//!
//! A letter is `pending` until its copy is claimed, `claimed` until the copy is surely in the queue,
//! `sent` until the worker has committed its effect or the recorder has recorded it again: then it
//! has `ended`, with a result. `outstanding` is unique: no letter is on the way twice.

mod lease;
mod claim;
mod end;
mod read;

use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use crate::matching::words;

pub(super) use claim::lock_letters;
pub use claim::{claim, sent};
pub(super) use end::end_replayed;
pub use end::{Replayed, end_decided, give_up, refuse};
pub use lease::{
    Beginning, NewItem, NewReplay, ReplayTerms, Turn, begin_replay, hold_lease, insert_replay, set_state,
};
pub use read::{ItemRow, Shares, item_counts, on_the_way_since, replay, replay_items, replays, shares};

words!(ReplayState, ReplayItemState);

/// Where a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ReplayState {
    /// Only a plan yet.
    Planned,
    /// A process works on it, or has died doing so.
    Running,
    /// To be resumed.
    Paused,
    /// Every letter has its result.
    Done,
    /// A person ended it before.
    Cancelled,
    /// It ended itself: too many failed.
    Stopped,
}

impl ReplayState {
    /// A process works on it, or is to.
    pub(in crate::store) const LIVE: [Self; 2] = [Self::Running, Self::Paused];
}

/// Where one letter of a replay stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ReplayItemState {
    /// To be taken.
    Pending,
    /// Taken; its copy is perhaps in the queue.
    Claimed,
    /// Its copy is surely in the queue.
    Sent,
    /// It has a result.
    Ended,
}

impl ReplayItemState {
    /// Its copy is in the queue, or perhaps.
    pub const ON_THE_WAY: [Self; 2] = [Self::Claimed, Self::Sent];
}

/// The result of a letter whose copy became a dead letter again, and the prediction of it.
pub const FAILED: &str = "failed";

/// The result of a letter that was not what had been planned any more, or that no queue takes.
pub const REFUSED: &str = "refused";

/// The result of a letter that was never taken: it stays as it is.
pub const LEFT: &str = "left";

/// The result of a letter whose copy a person has given up.
pub const LOST: &str = "lost";
