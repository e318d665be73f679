//! The heart of the worker: decodes, loads, plans and commits a batch, and decides which deliveries are
//! retried or dead-lettered. It can also do a dry run, which writes nothing.
//!
//! An `InFlight` is one delivery from receipt to settlement. The [`Processor`] decides many of them in one
//! transaction; a `RetrySet` holds the deliveries that are retried because another session has locked their
//! rows. A [`DryRun`] predicts what deciding would do.

mod redecide;
mod delivery_result;
mod dry_run;
mod in_flight;
mod metrics;
mod processor;
mod retry_set;
mod trace;

pub(crate) use delivery_result::properties_of_cut;
pub use delivery_result::{Attempt, CUT_BODY, DeliveryResult, is_cut, message_for_replay, stored_properties};
pub use dry_run::{DryRun, EventPrediction, Prediction, Trial};
pub use metrics::SERIES;
pub(crate) use processor::LOST_CONNECTIONS;
pub use processor::Processor;
pub use redecide::{redecide_waiting, write_observed};

pub(crate) use delivery_result::history;
pub(crate) use in_flight::{InFlight, Settlement, read, replayed};
pub(crate) use metrics::Stage;
pub(crate) use trace::{begin as begin_trace, begin_recording};
