//! HTTP for every part of the program: the server with its limits, the health routes, problem
//! documents, bearer tokens, and the client.

pub mod server;
pub mod health;
pub mod problem;
pub mod tokens;
pub mod client;
