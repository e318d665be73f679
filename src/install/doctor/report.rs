//! What the doctor found, passed and could not look at.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::install::finding::{Area, Code, Finding, Level, NotChecked};

/// What was found. Each code that belongs to this installation is found, passed, or not checked.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// What is not as it should be: errors first.
    pub findings: Vec<Finding>,
    /// The same, of codes that somebody has accepted.
    pub accepted: Vec<Finding>,
    /// What was not looked at.
    pub not_checked: Vec<NotChecked>,
    /// What is as it should be.
    pub passed: Vec<Code>,
    /// What was looked at: the server, the broker.
    pub facts: Vec<String>,
    #[serde(skip)]
    looked: BTreeSet<Code>,
}

impl Report {
    /// Notes a finding with the remedy that its code has in general.
    pub(super) fn found(&mut self, code: Code, subject: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding::new(code, subject, what));
    }

    /// Notes a finding if it is one.
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

    /// How many findings are of this level.
    pub fn count(&self, level: Level) -> usize {
        self.findings.iter().filter(|finding| finding.level == level).count()
    }

    /// The worst of them; none when all is well.
    pub fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).min()
    }
}
