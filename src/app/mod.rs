//! The use cases, one a file: what the command line, the web UI and the roles can be asked for.
//!
//! A use case takes an [`AppContext`] and typed input, and gives a view (its JSON is that of `--output json`)
//! or an [`AppError`]. It knows no command line, no stdout and no HTTP: what may be done next is a
//! [`NextAction`], which each front end words in its own way. The context's scope stands in the WHERE clause of
//! each query.
//!
//! A [`Decision`] about a host is ruled on by pure code (`ruling.rs`) over facts that were read under
//! the host's lock, the one that workers take too. So of two that decide on one host at once the second
//! sees what the first did; with [`Decision::seen`] it is refused then, since it was about another state.
//! Each change of a mapping's row leaves one audit row, and can be taken back by another decision.

mod carry_out;
mod context;
mod decision;
pub(crate) mod decisions;
mod error;
pub mod explain;
mod hand_over;
pub mod inbox;
pub mod mapping_files;
pub(crate) mod mappings;
pub mod repair;
pub(crate) mod report;
mod ruling;
pub mod simulate;
pub(crate) mod status;
pub(crate) mod redaction;
pub(crate) mod bookings;
pub(crate) mod dead_letters;
pub(crate) mod replay;
pub(crate) mod publish;

pub use carry_out::{Act, Answers, decide, decide_now, predict};
pub use context::{Access, AppContext};
pub use decision::{Author, Before, Command, Decided, Decision, Effect, Refusal};
pub use error::{AppError, ErrorCode, NextAction};
pub use hand_over::{
    HandOver, HandOverView, HostLeft, UndoneHandOver, hand_over, preview_hand_over, undo_hand_over,
};

pub use crate::store::{
    AuditFilter, AuditRow, Compare, HostAct, InboxFilter, InboxKind, MappingFilter, Period, RepairFilter,
    RepairRow, RepairScope, RepairState, Scope, Waiting, WorkerRow,
};

/// Told how much of how much is done, again and again while a use case works.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Sync);
