//! The heart of the worker: decodes, loads, plans and commits a batch, and decides what is retried and what
//! is dead-lettered; also as a dry run that writes nothing.
//!
//! An `InFlight` is one delivery from receipt to settlement. The [`Processor`] decides many of them in one
//! transaction; a `RetrySet` holds what is retried because another session has locked its rows. A
//! [`DryRun`] predicts what deciding would do.

mod again;
mod delivery_result;
mod dry_run;
mod in_flight;
mod metrics;
mod processor;
mod retry_set;
mod trace;

pub use again::{redecide_waiting, write_observed};
pub use delivery_result::{Attempt, DeliveryResult, kept, revived};
pub use dry_run::{DryRun, EventPrediction, Prediction, Trial};
pub use metrics::SERIES;
pub use processor::Processor;

pub(crate) use delivery_result::history;
pub(crate) use in_flight::{Ending, InFlight, read, replayed};
pub(crate) use metrics::Stage;
pub(crate) use trace::{begin as begin_trace, recording};
