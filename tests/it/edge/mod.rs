//! The HTTP edge over real HTTP, with a real queue behind it: what is accepted is in the queue,
//! what is refused is not, and every refusal says why.

pub(crate) mod site;

mod gateway;
mod webhooks;
mod vendors;
mod batches;
mod cloudevents;
mod limits;
mod tokens;
mod logs;
mod spool;
mod spool_alarms;
mod spool_crashes;
mod spool_hangs;
