//! The use cases, one a file: what the command line, the web UI and the roles can be asked for.
//!
//! A use case takes an [`AppContext`] and typed input, and gives a view (its JSON is that of `--output json`)
//! or an [`AppError`]. It knows no command line, no stdout and no HTTP: what may be done next is a
//! [`NextAction`], which each front end words in its own way. The context's scope stands in the WHERE clause of
//! each query.

mod context;
mod error;
mod next_action;

pub use context::{Access, AppContext};
pub use error::{AppError, ErrorCode};
pub use next_action::NextAction;
