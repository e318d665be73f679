//! `hostmatch doctor`: is this installation set up so that it works, loses nothing and exposes
//! nothing? Configuration, files, database, broker, topology and, if asked, an edge elsewhere.
//!
//! It changes nothing: what it asks of the database in a transaction it rolls back, and what it asks
//! of the broker is nothing that a queue gets to see. What cannot be known is told as not checked,
//! with the reason, and never as being right.

mod places;
mod configuration;
mod files;
mod database;
mod broker;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::finding::Only;
use super::health::ask;
use crate::config::{ConfigError, Effective};

pub use super::finding::{Area, Code, Level};
pub(crate) use super::finding::{Finding, NotChecked};

/// How long an edge elsewhere may take for an answer.
const EDGE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "lowercase")]
pub(crate) enum Role {
    Edge,
    Worker,
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

#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) role: Role,
    /// The address of an edge that runs somewhere else, such as `https://hooks.example`.
    pub(crate) edge: Option<String>,
    /// Findings that are known and meant.
    pub(crate) accepted: Vec<Code>,
}

/// Examines an installation with this configuration.
pub(crate) async fn examine(effective: &Effective, target: &Target) -> Report {
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
            check_edge(url, &mut of_edge).await;
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
pub(crate) fn refused(error: &ConfigError) -> Report {
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

/// Looks at an edge that runs somewhere else, as its callers see it.
async fn check_edge(url: &str, report: &mut Report) {
    report.looked(&[Code::EdgeUnreachable]);
    match ask(url, "/health/live", EDGE_TIMEOUT).await {
        Ok(live) if live.well => {}
        Ok(live) => return report.found(Code::EdgeUnreachable, &live.url, live.words()),
        Err(error) => return report.found(Code::EdgeUnreachable, "--edge", error.to_string()),
    }
    report.looked(&[Code::EdgeNotReady]);
    match ask(url, "/health/ready", EDGE_TIMEOUT).await {
        Ok(ready) if ready.well && ready.status == "ready" => {}
        Ok(ready) => report.found(Code::EdgeNotReady, &ready.url, ready.words()),
        Err(error) => report.found(Code::EdgeNotReady, url, error.to_string()),
    }
}

/// What was found. Each code that belongs to this installation is found, passed, or not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    /// What is not as it should be: errors first.
    pub(crate) findings: Vec<Finding>,
    /// The same, of codes that somebody has accepted.
    pub(crate) accepted: Vec<Finding>,
    pub(crate) not_checked: Vec<NotChecked>,
    pub(crate) passed: Vec<Code>,
    /// What was looked at: the server, the broker.
    pub(crate) facts: Vec<String>,
    #[serde(skip)]
    looked: BTreeSet<Code>,
}

impl Report {
    /// Notes a finding with the remedy that its code has in general.
    pub(super) fn found(&mut self, code: Code, subject: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding::new(code, subject, what));
    }

    pub(super) fn check(&mut self, is_found: bool, code: Code, subject: &str, what: impl Into<String>) {
        if is_found {
            self.found(code, subject, what);
        }
    }

    /// Notes a finding with a remedy of its own.
    pub(super) fn found_with(
        &mut self,
        code: Code,
        subject: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding::new(code, subject, what).remedy(remedy));
    }

    /// Notes that these were looked for: what is not found of them is as it should be.
    pub(super) fn looked(&mut self, codes: &[Code]) {
        self.looked.extend(codes);
    }

    /// Notes that these could not be looked for.
    pub(super) fn not_checked(&mut self, codes: &[Code], why: &str) {
        let of = |code: &Code| NotChecked { code: *code, what: String::new(), why: why.to_owned() };
        self.not_checked.extend(codes.iter().map(of));
    }

    /// Takes over what another part has noted.
    pub(super) fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.not_checked.extend(other.not_checked);
        self.facts.extend(other.facts);
        self.looked.extend(other.looked);
    }

    /// Accounts for every code in `scope`, and for no other, and sets aside what is `accepted`.
    pub(super) fn finish(mut self, scope: &BTreeSet<Code>, accepted: &[Code]) -> Self {
        self.findings.retain(|finding| scope.contains(&finding.code));
        self.findings.sort_by_key(|finding| (finding.level, finding.code));
        let found: BTreeSet<Code> = self.findings.iter().map(|finding| finding.code).collect();
        self.not_checked.retain(|one| !found.contains(&one.code));
        let noted: BTreeSet<Code> = self.not_checked.iter().map(|one| one.code).collect();
        for code in scope.iter().filter(|code| !found.contains(code) && !noted.contains(code)) {
            if self.looked.contains(code) {
                self.passed.push(*code);
                continue;
            }
            let area = code.area();
            let concerns = |of: Area| of == area || (area == Area::Topology && of == Area::Broker);
            let first = self.findings.iter().find(|finding| concerns(finding.area));
            let why = first.map_or("an earlier check did not get so far".to_owned(), |finding| {
                format!("{} stands in the way", finding.code.as_str())
            });
            self.not_checked.push(NotChecked { code: *code, what: String::new(), why });
        }
        self.not_checked.sort_by_key(|one| one.code);
        self.not_checked.dedup_by_key(|one| one.code);
        let (accepted, left) = self.findings.into_iter().partition(|one| accepted.contains(&one.code));
        Self { findings: left, accepted, ..self }
    }

    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// The worst of them; none when all is well.
    pub(crate) fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).min()
    }
}
