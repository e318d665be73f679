//! `hostmatch doctor`: is this installation set up so that it works, loses nothing and exposes
//! nothing? Configuration, files, database, broker, topology and, if asked, an edge elsewhere.
//!
//! It changes nothing: what it asks of the database in a transaction it rolls back, and what it asks
//! of the broker is nothing that a queue gets to see. What cannot be known is told as not checked,
//! with the reason, and never as being right.

mod report;
mod places;
mod configuration;
mod files;
mod database;
mod broker;
mod edge;

use std::collections::BTreeSet;

use super::finding::Only;
use crate::config::{ConfigError, Effective};

pub use super::finding::{Area, Code, Finding, Level, NotChecked};
pub use report::Report;

/// What runs here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
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
pub struct Target {
    /// What runs here.
    pub role: Role,
    /// The address of an edge that runs somewhere else, such as `https://hooks.example`.
    pub edge: Option<String>,
    /// Findings that are known and meant.
    pub accepted: Vec<Code>,
}

/// Examines an installation with this configuration.
pub async fn examine(effective: &Effective, target: &Target) -> Report {
    let config = &effective.config;
    let role = target.role;
    let mut report = Report::default();
    configuration::check(effective, role, &mut report);
    files::check(effective, role, &mut report);
    let [mut of_database, mut of_broker, mut of_edge] = <[Report; 3]>::default();
    let database = async {
        if role.has_worker() {
            database::check(config, &mut of_database).await;
        }
    };
    let edge = async {
        if let Some(url) = &target.edge {
            edge::check(url, &mut of_edge).await;
        }
    };
    // On the heap: together they are large.
    let broker = Box::pin(broker::check(config, role, &mut of_broker));
    tokio::join!(Box::pin(database), broker, edge);
    for part in [of_database, of_broker, of_edge] {
        report.add(part);
    }
    report.finish(&scope(config.queue.is_embedded(), target), &target.accepted)
}

/// The report on a configuration that is refused.
pub fn refused(error: &ConfigError) -> Report {
    let mut report = Report::default();
    for problem in &error.0 {
        let (subject, place) = match problem.key.as_str() {
            "" => (&problem.origin, problem.origin.to_string()),
            key => (&problem.key, format!("{key} in {}", problem.origin)),
        };
        let remedy = format!("correct {place}; hostmatch config validate checks again");
        report.found_with(Code::ConfigInvalid, subject.clone(), problem.message.clone(), remedy);
    }
    report.finish(&BTreeSet::from([Code::ConfigInvalid]), &[])
}

/// The codes that say something about such an installation.
fn scope(is_embedded: bool, target: &Target) -> BTreeSet<Code> {
    let (edge, worker) = (target.role.has_edge(), target.role.has_worker());
    let is_meant = |code: &Code| {
        let in_area = match code.area() {
            Area::Database => worker,
            Area::Edge => target.edge.is_some(),
            Area::Broker => (*code == Code::QueueFileUnusable) == is_embedded,
            Area::Topology => !is_embedded,
            Area::Configuration | Area::Files => true,
            Area::Gateway => false,
        };
        in_area
            && code.only().iter().all(|only| match only {
                Only::Edge => edge,
                Only::Worker => worker,
                Only::Rabbit => !is_embedded,
            })
    };
    Code::ALL.iter().copied().filter(is_meant).collect()
}
