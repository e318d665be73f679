//! The queues: one conformance suite on RabbitMQ and on the embedded queue, and what only a
//! broker can do to us.

mod rig;
mod conformance;
mod faults;
mod topology;
mod watchdog;
mod file;
