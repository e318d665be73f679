//! Reports on decisions: whether they agree with the appointments, and how well matching works.
//! `docs/commands.md` describes the JSON: its keys are a contract.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{AppContext, AppError};
use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::matching::{AuditAction, Confidence, HostKey, Outcome};
use crate::runtime::clock::{as_rfc3339, rfc3339};
use crate::store::{Decided, Period, dead_letter_reasons, decided, new_mappings};

/// The number of decisions read at a time.
const PAGE_ROWS: u64 = 2000;

/// A report, as JSON.
#[derive(Default, Serialize)]
pub(crate) struct ReportView {
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) since: i64,
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) until: i64,
    pub(crate) company: Option<CompanyId>,
    pub(crate) appointments: Appointments,
    pub(crate) comparison: Comparison,
    /// By strategy and confidence, highest confidence first.
    pub(crate) strategies: Vec<ByStrategy>,
    pub(crate) mappings: Mappings,
    pub(crate) failed: Failed,
    pub(crate) differences: Vec<Difference>,
}

/// The numbers of decided appointments, and how many of them have a member of staff.
#[derive(Default, Serialize)]
pub(crate) struct Appointments {
    pub(crate) decided: u64,
    pub(crate) observed: u64,
    pub(crate) with_staff: u64,
    pub(crate) with_staff_percent: Option<f64>,
}

/// The numbers of decisions that agree and disagree with the appointments' present state.
#[derive(Default, Serialize)]
pub(crate) struct Comparison {
    pub(crate) same: u64,
    /// Those of `same` for which somebody else made the same decision: only these are evidence of agreement.
    pub(crate) same_by_others: u64,
    pub(crate) different: u64,
    #[serde(rename = "only_we")]
    pub(crate) only_ours: u64,
    #[serde(rename = "only_they")]
    pub(crate) only_theirs: u64,
    pub(crate) neither: u64,
    pub(crate) not_compared: u64,
    /// Of the decisions that somebody else also made, the percentage that agree.
    pub(crate) agreement_percent: Option<f64>,
}

/// The decisions of one strategy with one confidence.
#[derive(Serialize)]
pub(crate) struct ByStrategy {
    pub(crate) strategy: String,
    pub(crate) confidence: Option<Confidence>,
    pub(crate) appointments: u64,
    pub(crate) comparison: Comparison,
}

/// New mappings per day, and the mappings that mode `assign` would create.
#[derive(Default, Serialize)]
pub(crate) struct Mappings {
    pub(crate) per_day: Vec<Day>,
    /// The number of hosts that would be mapped in mode `assign`.
    pub(crate) would_make: usize,
}

/// The mappings created on one day.
#[derive(Default, Serialize)]
pub(crate) struct Day {
    pub(crate) day: String,
    pub(crate) by_matching: i64,
    pub(crate) by_people: i64,
}

/// Appointments for which no member of staff was found, and why.
#[derive(Default, Serialize)]
pub(crate) struct Failed {
    pub(crate) appointments: u64,
    pub(crate) percent: Option<f64>,
    pub(crate) reasons: BTreeMap<String, u64>,
    pub(crate) dead_letters: BTreeMap<String, i64>,
}

/// A decision that differs from the appointment.
#[derive(Serialize)]
pub(crate) struct Difference {
    pub(crate) appointment: AppointmentId,
    pub(crate) company: CompanyId,
    pub(crate) host: Option<HostId>,
    agreement: Agreement,
    #[serde(rename = "found")]
    pub(crate) found_staff: Option<StaffId>,
    #[serde(rename = "has")]
    pub(crate) current_staff: Option<StaffId>,
    pub(crate) strategy: Option<String>,
    confidence: Option<Confidence>,
}

/// Whether a decision agrees with the appointment's current state.
#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Agreement {
    Same,
    Different,
    #[serde(rename = "only_we")]
    OnlyOurs,
    #[serde(rename = "only_they")]
    OnlyTheirs,
    Neither,
    /// A decision of an earlier version, which did not record the member of staff found.
    NotCompared,
}

/// Reports on a period, with the first `max_differences` appointments whose staff differs from the match.
/// Memory use grows with the number of hosts, not with that of bookings.
pub(crate) async fn report(
    context: &AppContext,
    period: Period,
    max_differences: usize,
) -> Result<ReportView, AppError> {
    let (db, scope) = (context.connection(), &context.scope);
    let Period { since_ms: since, until_ms: until } = period;
    let mut report = ReportView { since, until, company: scope.only(), ..ReportView::default() };
    let (mut would_make, mut cursor) = (BTreeSet::new(), (i64::MIN, i64::MIN));
    loop {
        let page = context.with_deadline(decided(db, scope, period, cursor, PAGE_ROWS)).await?;
        let Some(last) = page.last() else { break };
        cursor = (last.decided_ms, last.appointment.0);
        for decision in page {
            would_make.extend(report.count(decision, max_differences));
        }
    }
    let [first_day, last_day] = [since, until].map(rfc3339);
    let days = [&first_day, &last_day].map(|day| day.get(..10).unwrap_or(day));
    let new = new_mappings(db, &context.schema, scope, days[0], days[1]);
    let mut per_day: BTreeMap<String, Day> = BTreeMap::new();
    for (day, action, count) in context.with_deadline(new).await? {
        let row = per_day.entry(day.clone()).or_insert_with(|| Day { day, ..Day::default() });
        let day_counter =
            if action == AuditAction::Created { &mut row.by_people } else { &mut row.by_matching };
        *day_counter += count;
    }
    report.mappings = Mappings { per_day: per_day.into_values().collect(), would_make: would_make.len() };
    report.failed.dead_letters = context.with_deadline(dead_letter_reasons(db, scope, period)).await?;
    report.compute_percentages();
    Ok(report)
}

impl ReportView {
    /// Counts one decision. Returns the host for which assigning would create a mapping.
    fn count(&mut self, decision: Decided, max_differences: usize) -> Option<HostKey> {
        let outcome = decision.outcome().filter(|it| !matches!(it, Outcome::Recorded | Outcome::Ignored))?;
        let observed = decision.observed.is_some();
        self.appointments.decided += 1;
        self.appointments.observed += u64::from(observed);
        self.appointments.with_staff += u64::from(decision.now.is_some());
        let agreement = agreement(&decision, outcome);
        let by_others = decision.now.is_some() && decision.now != decision.ours;
        self.comparison.add(agreement, by_others);
        if outcome.found_nobody() {
            let reason = decision.review.unwrap_or_else(|| outcome.to_string());
            *self.failed.reasons.entry(reason).or_default() += 1;
            self.failed.appointments += 1;
        }
        let is_found = decision.found.is_some() || agreement == Agreement::NotCompared;
        let strategy = decision.strategy.filter(|_| is_found);
        let confidence = decision.confidence.filter(|_| is_found);
        if let Some(strategy) = &strategy {
            let row = self.by_strategy(strategy, confidence);
            row.appointments += 1;
            row.comparison.add(agreement, by_others);
        }
        let is_match = observed && matches!(strategy.as_deref(), Some("email" | "name"));
        let would_make = decision.host.filter(|_| is_match).map(|host| HostKey::new(decision.company, host));
        let disagrees =
            matches!(agreement, Agreement::Different | Agreement::OnlyOurs | Agreement::OnlyTheirs);
        if disagrees && self.differences.len() < max_differences {
            self.differences.push(Difference {
                appointment: decision.appointment,
                company: decision.company,
                host: decision.host,
                agreement,
                found_staff: decision.found,
                current_staff: decision.now,
                strategy,
                confidence,
            });
        }
        would_make
    }

    fn by_strategy(&mut self, strategy: &str, confidence: Option<Confidence>) -> &mut ByStrategy {
        let is_same_row = |it: &ByStrategy| it.strategy == strategy && it.confidence == confidence;
        let index = self.strategies.iter().position(is_same_row).unwrap_or_else(|| {
            let (strategy, comparison) = (strategy.to_owned(), Comparison::default());
            self.strategies.push(ByStrategy { strategy, confidence, appointments: 0, comparison });
            self.strategies.len() - 1
        });
        &mut self.strategies[index]
    }

    /// Sorts the strategies, and computes the percentages.
    fn compute_percentages(&mut self) {
        self.strategies.sort_by(|a, b| b.confidence.cmp(&a.confidence).then(a.strategy.cmp(&b.strategy)));
        let of_strategies = self.strategies.iter_mut().map(|it| &mut it.comparison);
        for it in of_strategies.chain([&mut self.comparison]) {
            it.agreement_percent = percent(it.same_by_others, it.same_by_others + it.different);
        }
        let appointments = &mut self.appointments;
        appointments.with_staff_percent = percent(appointments.with_staff, appointments.decided);
        self.failed.percent = percent(self.failed.appointments, appointments.decided);
    }
}

impl Comparison {
    fn add(&mut self, agreement: Agreement, by_others: bool) {
        let count = match agreement {
            Agreement::Same => &mut self.same,
            Agreement::Different => &mut self.different,
            Agreement::OnlyOurs => &mut self.only_ours,
            Agreement::OnlyTheirs => &mut self.only_theirs,
            Agreement::Neither => &mut self.neither,
            Agreement::NotCompared => &mut self.not_compared,
        };
        *count += 1;
        self.same_by_others += u64::from(agreement == Agreement::Same && by_others);
    }
}

fn agreement(decision: &Decided, outcome: Outcome) -> Agreement {
    let found = decision.found.as_ref().or(decision.ours.as_ref().filter(|_| outcome == Outcome::Assigned));
    match (found, &decision.now) {
        (Some(found), Some(now)) if found == now => Agreement::Same,
        (Some(_), Some(_)) => Agreement::Different,
        (Some(_), None) => Agreement::OnlyOurs,
        (None, _) if decision.strategy.is_some() && !outcome.waits() => Agreement::NotCompared,
        (None, Some(_)) => Agreement::OnlyTheirs,
        (None, None) => Agreement::Neither,
    }
}

/// Returns a percentage with one decimal place. `None` if `whole` is 0.
pub(super) fn percent(part: u64, whole: u64) -> Option<f64> {
    let tenths = (part * 1000 + whole / 2).checked_div(whole)?;
    u32::try_from(tenths).ok().map(|tenths| f64::from(tenths) / 10.0)
}
