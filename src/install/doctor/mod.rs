//! `hostmatch doctor`: is this installation set up so that it works, loses nothing and exposes
//! nothing? Configuration, files, database, broker, topology and, if asked, an edge elsewhere.
//!
//! It changes nothing: what it asks of the database in a transaction it rolls back, and what it asks
//! of the broker is nothing that a queue gets to see. What cannot be known is told as not checked,
//! with the reason, and never as being right.

mod code;
mod report;
mod places;
mod configuration;
mod files;
mod database;
mod broker;
mod rules;
mod edge;

use std::collections::BTreeSet;

use crate::config::{ConfigError, Effective};

pub use code::{Area, Code, Level};
pub use report::{Finding, NotChecked, Report};

/// What runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// An edge.
    Edge,
    /// A worker.
    Worker,
    /// Both.
    All,
}

impl Role {
    fn has_edge(self) -> bool {
        self != Self::Worker
    }

    fn has_worker(self) -> bool {
        self != Self::Edge
    }
}

/// What is to be examined.
#[derive(Clone, Debug)]
pub struct Patient {
    /// What runs here.
    pub role: Role,
    /// The address of an edge that runs somewhere else, such as `https://hooks.example`.
    pub edge: Option<String>,
    /// Findings that are known and meant.
    pub accepted: Vec<Code>,
}

/// Examines an installation with this configuration.
pub async fn examine(effective: &Effective, patient: &Patient) -> Report {
    let config = &effective.config;
    let role = patient.role;
    let mut report = Report::default();
    configuration::look(effective, role, &mut report);
    files::look(effective, role, &mut report);
    let databases = async {
        let mut report = Report::default();
        if role.has_worker() {
            database::look(config, &mut report).await;
        }
        report
    };
    let brokers = async {
        let mut report = Report::default();
        broker::look(config, role, &mut report).await;
        report
    };
    let edges = async {
        let mut report = Report::default();
        if let Some(url) = &patient.edge {
            edge::look(url, &mut report).await;
        }
        report
    };
    // On the heap: together they are large.
    let (databases, brokers, edges) = tokio::join!(Box::pin(databases), Box::pin(brokers), edges);
    report.add(databases);
    report.add(brokers);
    report.add(edges);
    report.finish(&scope(config.queue.is_embedded(), patient), &patient.accepted)
}

/// The report on a configuration that is refused.
pub fn refused(error: &ConfigError) -> Report {
    let mut report = Report::default();
    for problem in &error.0 {
        let subject = if problem.key.is_empty() { &problem.origin } else { &problem.key };
        let remedy = if problem.key.is_empty() {
            format!("correct {}; hostmatch config validate checks again", problem.origin)
        } else {
            format!("correct {} in {}; hostmatch config validate checks again", problem.key, problem.origin)
        };
        report.found_with(Code::ConfigInvalid, subject.clone(), problem.message.clone(), remedy);
    }
    report.finish(&BTreeSet::from([Code::ConfigInvalid]), &[])
}

/// Of an edge alone, or of a worker alone, these say nothing.
const WORKER: [Code; 7] = [
    Code::HoldTooLong,
    Code::ShutdownTooShort,
    Code::PrefetchTooSmall,
    Code::PoolTooSmall,
    Code::RetentionTooShort,
    Code::OverwriteAlways,
    Code::ThresholdLow,
];
const EDGE: [Code; 7] = [
    Code::EdgeUnsigned,
    Code::EdgeRefusesAll,
    Code::SecretWeak,
    Code::SpoolOff,
    Code::FileUnreadable,
    Code::TokenLineLeftOut,
    Code::TokensExpired,
];
const ONLY_BROKER: [Code; 4] =
    [Code::BrokerUnencrypted, Code::BrokerGuest, Code::PrefetchTooSmall, Code::SpoolOff];

/// The codes that say something about such an installation.
fn scope(is_embedded: bool, patient: &Patient) -> BTreeSet<Code> {
    let is_meant = |code: &Code| {
        let (edge, worker) = (patient.role.has_edge(), patient.role.has_worker());
        let by_role = match code.area() {
            Area::Database => worker,
            Area::Edge => patient.edge.is_some(),
            _ => {
                (worker || !WORKER.contains(code) && *code != Code::DatabaseUnencrypted)
                    && (edge || !EDGE.contains(code))
            }
        };
        let by_queue = match (code.area(), is_embedded) {
            (Area::Broker, _) => (*code == Code::QueueFileUnusable) == is_embedded,
            (Area::Topology, embedded) => !embedded,
            (_, true) => !ONLY_BROKER.contains(code),
            (_, false) => true,
        };
        by_role && by_queue
    };
    Code::ALL.iter().copied().filter(is_meant).collect()
}
