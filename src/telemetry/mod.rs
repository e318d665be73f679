//! Telemetry for operators: logs (`logs.rs`), metrics for Prometheus (`metrics.rs`, with those of the
//! process itself in `process.rs`), and traces (`traces.rs`, sent by `collector.rs`).

mod logs;
pub mod metrics;
pub mod process;
pub mod traces;
mod collector;

pub use collector::{TraceExport, start_export};
pub use logs::{TelemetryError, init};

/// The maximum length of an id in a log or a trace.
const MAX_ID: usize = 80;

/// Returns an id if it may appear in a log or a trace. The sender chooses the id, so it may appear only if it has
/// the form of an id. An address or a sentence does not have this form, but a name that is used as an id does.
pub fn loggable_id(id: &str) -> Option<&str> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    (id.len() <= MAX_ID && id.bytes().all(is_part)).then_some(id)
}
