//! What is shared by everything that speaks HTTP.

mod client;
