//! Tests the edge over real HTTP, with a real queue: accepted events are in the queue, refused
//! events are not, and every refusal states its reason.

pub(crate) mod site;

mod gateway;
mod webhooks;
mod vendors;
mod batches;
mod cloudevents;
mod limits;
mod slow_clients;
mod tokens;
mod logs;
mod spool;
mod spool_alarms;
mod spool_crashes;
mod spool_hangs;
