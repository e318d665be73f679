//! The worker: takes batches of booking events, decides them, and settles them.
//!
//! Three verbs make its loop (`pipeline.rs`): gather a batch, process it (`processor.rs`: decode,
//! load, plan, commit), settle it (`answer.rs`: acknowledge, retry, dead-letter). While the
//! database is away nothing is counted (`hold.rs`); nor when somebody else has locked what a
//! transaction needs (`parts.rs`). The recorder moves dead letters into their
//! table, and back (`letters.rs`); a rehearsal (`rehearsal.rs`) says what deciding would do;
//! what is shown of it in traces is in `traced.rs`;
//! housekeeping keeps retention times and finishes what one transaction was too small for.

mod answer;
mod health;
mod hold;
mod letters;
mod metrics;
mod sampler;
mod waiting;
mod switch;
mod housekeeping;
mod pipeline;
mod presence;
mod reading;
mod parts;
mod processor;
mod slot;
mod stage;
mod rehearsal;
mod recorder;
mod run;
mod tally;
mod traced;

use crate::telemetry::metrics::Series;

/// The metrics that a worker tells: those that it counts, and those that it looks at.
pub const SERIES: [&[Series]; 2] = [&metrics::SERIES, &sampler::SERIES];

pub use answer::{Answer, Attempt};
pub use health::WorkerHealth;
pub use letters::{KeptProperties, revived};
pub use processor::Processor;
pub use rehearsal::{Foretold, Rehearsal};
pub use run::{Worker, WorkerError};
pub use tally::Tally;
