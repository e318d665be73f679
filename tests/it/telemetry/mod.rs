//! Tests logs, metrics, traces, and the alerts that are based on them.

mod alerting;
mod logging;
mod metrics;
mod traces;
