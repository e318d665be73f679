//! hostmatch finds the member of staff for every Cal.com booking.
//!
//! The modules, from the bottom up. A module uses only modules of lower layers, never a sibling;
//! `tests/it/documents/tidy.rs` checks this.
//!
//! | layer | modules | what |
//! |---|---|---|
//! | 0 | [`config`], [`runtime`] | plain data · clock, backoff, shutdown, crash points |
//! | 1 | [`http`] | server, health, problem documents, bearer tokens, client |
//! | 2 | [`event`], [`telemetry`] | pure: what is a booking event? · logs, metrics, traces |
//! | 3 | [`matching`], [`contract`] | pure: who is this host? · the contracts as documents for tools |
//! | 4 | [`store`], [`queue`] | the outside world: the gateway's database, the broker |
//! | 5 | [`decide`] | the heart: the result of a delivery |
//! | 6 | [`app`] | the use cases, one per file |
//! | 7 | [`install`] | is the installation set up right? |
//! | 8 | [`worker`], [`edge`] | the long-running roles; neither uses the other |
//! | 9 | [`cli`] | uses every layer; only `main.rs` uses it |

pub mod config;
pub mod runtime;

pub mod http;

pub mod event;
pub mod telemetry;

pub mod matching;
pub mod contract;

pub mod store;
pub mod queue;

pub mod decide;

pub mod app;

pub mod install;

pub mod worker;
pub mod edge;

pub mod cli;
