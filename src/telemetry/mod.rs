//! What the program tells of itself to those who run it: logs (`logs.rs`), metrics for Prometheus
//! (`metrics.rs`, with the process's own figures in `process.rs`), and traces (`traces.rs`, sent by
//! `collector.rs`).

mod logs;
pub mod metrics;
pub mod process;
pub mod traces;
mod collector;

pub use collector::{Collecting, collect};
pub use logs::{TelemetryError, init};

/// The longest id that is shown.
const MAX_ID: usize = 80;

/// An id, if it may stand in a log or a trace: it is its sender's text, and is shown only in the shape that ids
/// have. No address or sentence has that; a sender that made an id of a name would show the name.
pub fn shown_id(id: &str) -> Option<&str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    (id.len() <= MAX_ID && id.bytes().all(is_part)).then_some(id)
}
