//! Plans and replays of dead letters: one row each, with their letters frozen in items.
//!
//! A letter is `pending` until its copy is claimed, `claimed` until the copy is surely in the queue,
//! `sent` until the worker has committed its effect or the recorder has recorded it again: then it
//! has `ended`, with a result. `outstanding` is unique: no letter is on the way twice.

mod plan;
mod claim;
mod end;
mod lease;
mod read;
mod purge;

use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use crate::matching::words;

pub(super) use claim::lock_letters;
pub use claim::{claim, sent, unsent};
pub(super) use end::end_replayed;
pub use end::{Replayed, end_decided, give_up, refuse};
pub use lease::{Beginning, ReplayTerms, Turn, begin_replay, hold_lease, set_state};
pub use plan::{NewItem, NewReplay, insert_replay};
pub use purge::purge_replays;
pub use read::{
    ItemRow, ReplayRow, Shares, in_flight, items, on_the_way_since, pending, replay, replays, shares,
    standings,
};

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
    const LIVE: [Self; 2] = [Self::Running, Self::Paused];
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
    const ON_THE_WAY: [Self; 2] = [Self::Claimed, Self::Sent];
}

/// The result of a letter whose copy became a dead letter again, and the prediction of it.
pub const FAILED: &str = "failed";

/// The result of a letter that was not what had been planned any more, or that no queue takes.
pub const REFUSED: &str = "refused";

/// The result of a letter that was never taken: it stays as it is.
pub const LEFT: &str = "left";

/// The result of a letter whose copy a person has given up.
pub const LOST: &str = "lost";
