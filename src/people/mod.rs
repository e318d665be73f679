//! What people decide, because the machine cannot: whose host it is, which host nobody has to look at,
//! what of the past is put right.
//!
//! A [`Decision`] about a host is ruled on by pure code (`ruling.rs`) over facts that were read under
//! the host's lock, the one that workers take too. So of two that decide on one host at once the second
//! sees what the first did; with [`Decision::seen`] it is refused then, since it was about another state.
//! Each change of a mapping's row leaves one audit row, and can be taken back by another decision.

mod decision;
mod ruling;
mod decide;
mod hand_over;
mod inbox;
mod offer;
mod repair;

pub use decide::{Act, Answers, decide, decide_now, rehearse};
pub use decision::{Author, Before, Decided, Decision, Did, Refusal, Wish};
pub use hand_over::{HandOver, HandOverError, Handed, TakenBack, take_back};
pub use inbox::{InboxError, accepted, ignore, inbox_entry, reopen};
pub use offer::{Counts, Offer, RepairError, Tally};
pub use repair::Repairer;
