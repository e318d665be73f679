//! What is decided and written, on every engine and every shape of gateway.

mod dry_run;
mod beside_gateway;
mod observing;

mod rules;
mod active_staff;
mod values_as_sent;
mod chains;
mod faults;
mod sharing;
pub(crate) mod invariants;
pub(crate) mod reading;
