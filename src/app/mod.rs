//! The use cases of the command line, the web UI and the roles, one in each file.
//!
//! A use case takes an [`AppContext`] and typed input, and returns a view (serialized, it is the output of
//! `--output json`) or an [`AppError`]. It does not know the command line, stdout or HTTP: a next step is a
//! [`NextAction`], which each front end renders. The context's scope is part of each WHERE clause.
//!
//! Pure code (`ruling.rs`) determines what a [`Decision`] about a host changes. It uses facts that were read
//! under the host's lock, which workers take too. So when two people decide about one host at the same time,
//! the second decision sees the result of the first; with [`Decision::expected_audit`] the second is refused,
//! because it was made for another state. Each change of a mapping's row writes one audit row, and another
//! decision can revert the change.

mod carry_out;
mod context;
mod decision;
pub(crate) mod decisions;
mod error;
pub mod explain;
pub(crate) mod formulas;
mod hand_over;
mod pluralize;
pub mod inbox;
pub mod mapping_files;
pub(crate) mod mappings;
pub(crate) mod people;
pub mod repair;
pub(crate) mod report;
mod ruling;
pub mod simulate;
pub(crate) mod status;
pub(crate) mod redaction;
pub mod bookings;
pub(crate) mod events;
pub(crate) mod dead_letters;
pub(crate) mod replay;
pub(crate) mod publish;

pub use carry_out::{DecisionBatch, DecisionResults, decide, decide_now, predict};
pub use context::{Access, AppContext};
pub use decision::{Author, Command, Decided, Decision, Effect, PreviousMapping, Refusal};
pub use error::{AppError, ErrorCode, NextAction};
pub use hand_over::{
    HandOver, HandOverView, UndoneHandOver, UnrestoredHost, hand_over, preview_hand_over, undo_hand_over,
};
pub(crate) use pluralize::pluralize;

pub use crate::store::{
    AuditFilter, AuditRow, BookingFilter, Compare, InboxFilter, InboxKind, MappingFilter, Period,
    RecordedHostAction, RepairFilter, RepairRow, RepairScope, RepairState, Scope, Waiting, WorkerRow,
};

/// A callback that a use case calls with the number of steps done and the number of all steps.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);
