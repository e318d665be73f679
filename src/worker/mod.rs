//! The worker: consumes batches of booking events, has them decided, and settles them.
//!
//! Its loop (`pipeline.rs`) has three steps: gather a batch, process it ([`crate::decide`]), settle it
//! (acknowledge, retry, dead-letter). While the database is unavailable no attempt is counted (`hold.rs`).
//! The recorder moves dead letters into their table; housekeeping enforces retention times and finishes
//! decisions that did not fit into one transaction.

mod health;
mod hold;
mod sampler;
mod housekeeping;
mod pipeline;
mod heartbeat;
mod recorder;
mod run;
mod tally;

use crate::decide;
use crate::telemetry::metrics::Series;

/// The metrics of a worker: the recorded ones and the sampled ones.
pub const SERIES: [&[Series]; 2] = [&decide::SERIES, &sampler::SERIES];

pub use health::WorkerHealth;
pub use run::{Worker, WorkerError};
pub use tally::Tally;
