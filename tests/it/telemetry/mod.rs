//! What the program says of itself: logs, metrics, traces, and the alerts made of them.

mod alerting;
mod logging;
mod metrics;
mod traces;
