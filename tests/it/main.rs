//! Integration tests: one binary, its modules in the order of the layers.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers may panic too; clippy.toml covers #[test] functions only"
)]

#[macro_use]
mod support;

mod config;
mod http;
mod event;
mod telemetry;
mod contract;
mod store;
mod queue;
mod decide;
mod app;
mod install;
mod worker;
mod edge;
mod cli;
mod migration;
mod reliability;
mod documents;
