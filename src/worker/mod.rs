//! The worker: takes batches of booking events, lets them be decided, and settles them.
//!
//! Three verbs make its loop (`pipeline.rs`): gather a batch, process it ([`crate::decide`]), settle it:
//! acknowledge, retry, dead-letter. While the database is away nothing is counted (`hold.rs`). The recorder moves
//! dead letters into their table; housekeeping keeps retention times and finishes what one transaction was too
//! small for.

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

/// The metrics that a worker tells: those that it counts, and those that it looks at.
pub const SERIES: [&[Series]; 2] = [&decide::SERIES, &sampler::SERIES];

pub use health::WorkerHealth;
pub use run::{Worker, WorkerError};
pub use tally::Tally;
