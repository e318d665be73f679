//! The HTTP edge: accepts events from the gateway, Retell and Cal.com, and puts them into the queue.
//!
//! A request first gets a permit (`permits`). Then it goes through three steps: authentication (`auth`, with `signature`), reading the events and
//! building their messages (`intake`), and the response, which is sent only once the messages are durably
//! accepted: by the queue or, while the queue is unreachable, by the spool (`sink`, `forward`). A refusal is
//! a problem document (`problem`).
//!
//! A webhook with a valid signature is never refused for its content, because its sender would not send it
//! again: an event that cannot be read is still queued, and becomes a dead letter with a reason.
//!
//! The edge never opens the gateway's database.

mod problem;
mod signature;
mod sink;
mod forward;
mod state;
mod auth;
mod cloudevents;
mod intake;
mod content_encoding;
mod routes;
mod permits;
mod layers;
mod trace;
mod metrics;
mod server;

pub use metrics::SERIES;
pub use server::{EdgeError, router, serve};
