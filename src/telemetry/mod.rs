//! What the program tells of itself to those who run it: logs (`logs.rs`), and metrics for Prometheus
//! (`metrics.rs`, with the process's own figures in `process.rs`).

mod logs;
pub mod metrics;
pub mod process;

pub use logs::{TelemetryError, init};
