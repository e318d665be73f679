//! What the program tells of itself while it runs: logs.

mod logs;

pub use logs::{TelemetryError, init};
