//! Tests the shared HTTP code.

mod client;
