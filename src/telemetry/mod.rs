//! Telemetry for operators: logs (`logs.rs`), metrics for Prometheus (`metrics.rs`, with the process's own
//! figures in `process.rs`), and traces (`traces.rs`, sent by `collector.rs`).

mod logs;
pub mod metrics;
pub mod process;
pub mod traces;
mod collector;

pub use collector::{Collecting, collect};
pub use logs::{TelemetryError, init};

/// The longest id that is shown.
const MAX_ID: usize = 80;

/// Returns an id if it may appear in a log or a trace. An id is the sender's text, so it is shown only if it
/// has the form of an id, which an address or a sentence does not have. If a sender uses a name as an id, the
/// name is shown.
pub fn shown_id(id: &str) -> Option<&str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    (id.len() <= MAX_ID && id.bytes().all(is_part)).then_some(id)
}
