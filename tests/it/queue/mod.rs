//! The queues: one conformance suite for RabbitMQ and the embedded queue, and faults that only one of them
//! can have.

mod fixture;
mod conformance;
mod faults;
mod reconnecting;
mod foreign_headers;
mod topology;
mod watchdog;
mod file;
