//! `hostmatch doctor`: checks whether this installation works, loses nothing and exposes nothing. It checks
//! configuration, files, database, broker, topology and, on request, an edge on another machine.
//!
//! The doctor changes nothing: it rolls back its transaction in the database, and its requests to the broker
//! never reach a queue. What cannot be checked is reported as not checked, with the reason, and never as
//! correct.

mod urls;
mod configuration;
mod files;
mod database;
mod broker;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::finding::Requirement;
use super::health::get_health;
use crate::config::{ConfigError, Effective};

pub use super::finding::{Area, Code, Level};
pub(crate) use super::finding::{Finding, NotChecked};

/// How long an edge on another machine may take to respond.
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
    /// The codes of findings that the caller knows and accepts.
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
    // On the heap, because these futures are large.
    let broker = Box::pin(broker::check(config, role, &mut of_broker));
    tokio::join!(Box::pin(database), broker, edge);
    for part in [of_database, of_broker, of_edge] {
        report.add(part);
    }
    report.finish(&applicable_codes(config.queue.is_embedded(), target), &target.accepted)
}

/// Returns the report for an invalid configuration.
pub(crate) fn report_invalid_configuration(error: &ConfigError) -> Report {
    let mut report = Report::default();
    for problem in &error.0 {
        let (subject, place) = match problem.key.as_str() {
            "" => (&problem.origin, problem.origin.to_string()),
            key => (&problem.key, format!("{key} in {}", problem.origin)),
        };
        let remedy = format!("correct {place}; then run hostmatch config validate");
        report.found_with(Code::ConfigInvalid, subject.clone(), problem.message.clone(), remedy);
    }
    report.finish(&BTreeSet::from([Code::ConfigInvalid]), &[])
}

/// Returns the codes that apply to this installation.
fn applicable_codes(is_embedded: bool, target: &Target) -> BTreeSet<Code> {
    let (edge, worker) = (target.role.has_edge(), target.role.has_worker());
    let applies = |code: &Code| {
        let in_area = match code.area() {
            Area::Database => worker,
            Area::Edge => target.edge.is_some(),
            Area::Broker => (*code == Code::QueueFileUnusable) == is_embedded,
            Area::Topology => !is_embedded,
            Area::Configuration | Area::Files => true,
            Area::Gateway => false,
        };
        in_area
            && code.requirements().iter().all(|requirement| match requirement {
                Requirement::Edge => edge,
                Requirement::Worker => worker,
                Requirement::Rabbit => !is_embedded,
            })
    };
    Code::ALL.iter().copied().filter(applies).collect()
}

/// Checks an edge that runs elsewhere, from a client's point of view.
async fn check_edge(url: &str, report: &mut Report) {
    report.checked(&[Code::EdgeUnreachable]);
    match get_health(url, "/health/live", EDGE_TIMEOUT).await {
        Ok(live) if live.well => {}
        Ok(live) => return report.found(Code::EdgeUnreachable, &live.url, live.summary()),
        Err(error) => return report.found(Code::EdgeUnreachable, "--edge", error.to_string()),
    }
    report.checked(&[Code::EdgeNotReady]);
    match get_health(url, "/health/ready", EDGE_TIMEOUT).await {
        Ok(ready) if ready.well && ready.status == "ready" => {}
        Ok(ready) => report.found(Code::EdgeNotReady, &ready.url, ready.summary()),
        Err(error) => report.found(Code::EdgeNotReady, url, error.to_string()),
    }
}

/// The doctor's report. Each code that applies to this installation is found, passed, or not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    /// The problems, errors first.
    pub(crate) findings: Vec<Finding>,
    /// The problems whose codes the caller has accepted.
    pub(crate) accepted: Vec<Finding>,
    pub(crate) not_checked: Vec<NotChecked>,
    pub(crate) passed: Vec<Code>,
    /// What was examined, such as the database server and the broker.
    pub(crate) facts: Vec<String>,
    #[serde(skip)]
    checked: BTreeSet<Code>,
}

impl Report {
    /// Records a finding with the general remedy of its code.
    pub(super) fn found(&mut self, code: Code, subject: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding::new(code, subject, what));
    }

    pub(super) fn check(&mut self, is_found: bool, code: Code, subject: &str, what: impl Into<String>) {
        if is_found {
            self.found(code, subject, what);
        }
    }

    /// Records a finding with its own remedy.
    pub(super) fn found_with(
        &mut self,
        code: Code,
        subject: impl Into<String>,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding::new(code, subject, what).with_remedy(remedy));
    }

    /// Records that these codes were checked; codes without a finding have passed.
    pub(super) fn checked(&mut self, codes: &[Code]) {
        self.checked.extend(codes);
    }

    /// Records that these codes could not be checked.
    pub(super) fn not_checked(&mut self, codes: &[Code], why: &str) {
        let of = |code: &Code| NotChecked { code: *code, what: String::new(), why: why.to_owned() };
        self.not_checked.extend(codes.iter().map(of));
    }

    /// Adds the report of another part.
    pub(super) fn add(&mut self, other: Self) {
        self.findings.extend(other.findings);
        self.not_checked.extend(other.not_checked);
        self.facts.extend(other.facts);
        self.checked.extend(other.checked);
    }

    /// Assigns a result to every code in `applicable`, and to no other, and separates the `accepted` findings.
    pub(super) fn finish(mut self, applicable: &BTreeSet<Code>, accepted: &[Code]) -> Self {
        self.findings.retain(|finding| applicable.contains(&finding.code));
        self.findings.sort_by_key(|finding| (finding.level, finding.code));
        let found: BTreeSet<Code> = self.findings.iter().map(|finding| finding.code).collect();
        self.not_checked.retain(|one| !found.contains(&one.code));
        let skipped: BTreeSet<Code> = self.not_checked.iter().map(|one| one.code).collect();
        for code in applicable.iter().filter(|code| !found.contains(code) && !skipped.contains(code)) {
            if self.checked.contains(code) {
                self.passed.push(*code);
                continue;
            }
            let area = code.area();
            let concerns = |of: Area| of == area || (area == Area::Topology && of == Area::Broker);
            let first = self.findings.iter().find(|finding| concerns(finding.area));
            let why = first.map_or("the checks ended before this one".to_owned(), |finding| {
                format!("{} prevents it", finding.code.as_str())
            });
            self.not_checked.push(NotChecked { code: *code, what: String::new(), why });
        }
        self.not_checked.sort_by_key(|one| one.code);
        self.not_checked.dedup_by_key(|one| one.code);
        let (accepted, remaining) = self.findings.into_iter().partition(|one| accepted.contains(&one.code));
        Self { findings: remaining, accepted, ..self }
    }

    pub(crate) fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// Returns the worst level; `None` if there are no findings.
    pub(crate) fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).min()
    }
}
