//! The shared HTTP code.

mod client;
