//! The HTTP edge: takes events from the gateway, Retell and Cal.com, and puts them into the queue.
//!
//! A request goes through four steps, each a file: who may post (`auth`, with `signature`), the bytes (`body`), what they are and the message that is made of them
//! (`intake`), and the answer, which is given only once the message is durably accepted: by
//! the queue or, while that is away, by the spool (`sink`, `forward`). Whatever is refused is told as a problem document (`problem`).
//!
//! A webhook with a right signature is never refused for its content: nobody would send it again.
//! What cannot be read is queued all the same, and becomes a dead letter with a reason.
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
mod routes;
mod layers;
mod trace;
mod metrics;
mod server;

pub use metrics::SERIES;
pub use server::{EdgeError, router, serve};
