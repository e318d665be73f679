//! Counting decisions against what the appointments have. `docs/commands.md` describes the JSON: its
//! keys are a contract.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::event::{HostId, StaffId};
use crate::matching::{HostKey, Outcome};
use crate::store::Decided;

/// How a decision and the appointment as it is now agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Agreement {
    Same,
    Different,
    OnlyWe,
    OnlyThey,
    Neither,
    /// A decision of an earlier version, which did not note whom it found.
    NotCompared,
}

/// How many decisions agree, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Comparison {
    pub(super) same: u64,
    /// Of those, the ones that somebody else decided: what agreement can be judged by.
    pub(super) same_by_others: u64,
    pub(super) different: u64,
    pub(super) only_we: u64,
    pub(super) only_they: u64,
    pub(super) neither: u64,
    pub(super) not_compared: u64,
    /// Of the decisions that somebody else took too, how many are the same.
    pub(super) agreement_percent: Option<f64>,
}

/// One strategy at one confidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ByStrategy {
    pub(super) strategy: String,
    pub(super) confidence: Option<u8>,
    pub(super) appointments: u64,
    pub(super) comparison: Comparison,
}

/// A decision with which the appointment disagrees.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Difference {
    pub(super) appointment: i64,
    pub(super) company: i64,
    pub(super) host: Option<HostId>,
    pub(super) agreement: Agreement,
    pub(super) found: Option<StaffId>,
    pub(super) has: Option<StaffId>,
    pub(super) strategy: Option<String>,
    pub(super) confidence: Option<u8>,
}

/// Everything that is counted while reading. Its size follows the number of hosts, not of bookings.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) decided: u64,
    pub(super) observed: u64,
    pub(super) with_staff: u64,
    pub(super) comparison: Comparison,
    pub(super) strategies: BTreeMap<(String, Option<u8>), (u64, Comparison)>,
    pub(super) failed: BTreeMap<String, u64>,
    pub(super) would_make: BTreeSet<HostKey>,
    pub(super) differences: Vec<Difference>,
}

impl Counts {
    /// Counts one decision; of disagreements the first `most` are kept.
    pub(super) fn add(&mut self, one: Decided, most: usize) {
        let Some(outcome) = one.outcome.filter(|it| !matches!(it, Outcome::Recorded | Outcome::Ignored))
        else {
            return;
        };
        self.decided += 1;
        self.observed += u64::from(one.observed);
        self.with_staff += u64::from(one.now.is_some());
        let confidence = one.confidence.map(|it| it.0);
        let agreement = agreement(&one, outcome);
        let by_others = one.now.is_some() && one.now != one.ours;
        self.comparison.add(agreement, by_others);
        let found = one.found.is_some() || agreement == Agreement::NotCompared;
        if let Some(strategy) = one.strategy.clone().filter(|_| found) {
            if let (true, Some(host), "email" | "name") = (one.observed, one.host, strategy.as_str()) {
                self.would_make.insert(HostKey::new(one.company, host));
            }
            let (appointments, comparison) = self.strategies.entry((strategy, confidence)).or_default();
            *appointments += 1;
            comparison.add(agreement, by_others);
        }
        if matches!(outcome, Outcome::NeedsReview | Outcome::Unmatched | Outcome::NoHost) {
            let reason = one.review.clone().unwrap_or_else(|| outcome.to_string());
            *self.failed.entry(reason).or_default() += 1;
        }
        let disagrees = matches!(agreement, Agreement::Different | Agreement::OnlyWe | Agreement::OnlyThey);
        if disagrees && self.differences.len() < most {
            self.differences.push(Difference {
                appointment: one.appointment.0,
                company: one.company.0,
                host: one.host,
                agreement,
                found: one.found,
                has: one.now,
                strategy: one.strategy.filter(|_| found),
                confidence: confidence.filter(|_| found),
            });
        }
    }

    /// By strategy and confidence, the surest first.
    pub(super) fn by_strategy(&self) -> Vec<ByStrategy> {
        let mut all: Vec<ByStrategy> = self
            .strategies
            .iter()
            .map(|((strategy, confidence), (appointments, comparison))| ByStrategy {
                strategy: strategy.clone(),
                confidence: *confidence,
                appointments: *appointments,
                comparison: comparison.clone().judged(),
            })
            .collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.confidence));
        all
    }
}

impl Comparison {
    fn add(&mut self, agreement: Agreement, by_others: bool) {
        let count = match agreement {
            Agreement::Same => &mut self.same,
            Agreement::Different => &mut self.different,
            Agreement::OnlyWe => &mut self.only_we,
            Agreement::OnlyThey => &mut self.only_they,
            Agreement::Neither => &mut self.neither,
            Agreement::NotCompared => &mut self.not_compared,
        };
        *count += 1;
        self.same_by_others += u64::from(agreement == Agreement::Same && by_others);
    }

    /// With the percentage.
    pub(super) fn judged(self) -> Self {
        let agreement_percent = percent(self.same_by_others, self.same_by_others + self.different);
        Self { agreement_percent, ..self }
    }
}

fn agreement(one: &Decided, outcome: Outcome) -> Agreement {
    let found = one.found.as_ref().or(one.ours.as_ref().filter(|_| outcome == Outcome::Assigned));
    match (found, &one.now) {
        (Some(found), Some(now)) if found == now => Agreement::Same,
        (Some(_), Some(_)) => Agreement::Different,
        (Some(_), None) => Agreement::OnlyWe,
        (None, _) if one.strategy.is_some() && !outcome.waits() => Agreement::NotCompared,
        (None, Some(_)) => Agreement::OnlyThey,
        (None, None) => Agreement::Neither,
    }
}

/// Of a hundred, to one decimal; none of nothing.
pub(in crate::cli) fn percent(part: u64, whole: u64) -> Option<f64> {
    let tenths = (part * 1000 + whole / 2).checked_div(whole)?;
    u32::try_from(tenths).ok().map(|tenths| f64::from(tenths) / 10.0)
}
