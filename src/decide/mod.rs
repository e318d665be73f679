//! The heart: what becomes of a delivery. Decode, load, plan and commit a batch; what is tried again, and what
//! is a dead letter; and the same without writing.
//!
//! An [`InFlight`] is one delivery from receipt to settlement. The [`Processor`] decides many of them in one
//! transaction; a [`RetrySet`](retry_set) holds what is tried again, because somebody else has locked what it
//! needs. A [`DryRun`] says what deciding would do.

mod delivery_result;
mod dry_run;
mod in_flight;
mod letters;
mod metrics;
mod processor;
mod reading;
mod retry_set;
mod stage;
mod switch;
mod trace;
mod waiting;

pub use delivery_result::{Attempt, DeliveryResult};
pub use dry_run::{DryRun, Prediction};
pub use letters::{KeptProperties, revived};
pub use metrics::SERIES;
pub use processor::Processor;

pub(crate) use delivery_result::history;
pub(crate) use in_flight::InFlight;
pub(crate) use letters::replayed;
pub(crate) use metrics::{Meters, Named};
pub(crate) use reading::read;
pub(crate) use stage::Stage;
pub(crate) use trace::{BatchTrace, recording};
