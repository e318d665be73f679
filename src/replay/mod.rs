//! Replaying dead letters: freeze a plan (`planner.rs`) that foretells what would become of each
//! letter, carry it out (`runner.rs`) at a given rate, and compare (`report.rs`).
//!
//! A replay ends in outcomes, not in "sent": the worker ends each letter in the transaction of its
//! effect, the recorder in the one that records it again. Here copies are published, and results
//! are looked at. Whoever replays holds a lease, so that one process does, and another may go on
//! when it has died.

mod rate;
mod planner;
mod picker;
mod runner;
mod control;
mod report;

pub use control::{cancel, cancel_and_give_up, pause, stuck};
pub use planner::{Frozen, plan};
pub use rate::Rate;
pub use report::{Difference, Report};
pub use runner::{Ended, Progress, ReplayError, Runner, Start};
