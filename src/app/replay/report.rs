//! Compares the predictions of a plan with the results.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::AppContext;
use crate::store::{FAILED, ItemGroup, LEFT, ReplayItemState, StoreError, item_groups};

/// The predictions and results of a plan or replay, in letters. `docs/commands.md` describes its JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Report {
    pub(crate) letters: i64,
    /// The letters by predicted outcome, which can be `failed`.
    #[serde(rename = "foretold")]
    pub(crate) predicted: BTreeMap<String, i64>,
    /// The letters predicted as `assigned`, by strategy.
    pub(crate) strategies: BTreeMap<String, i64>,
    /// The letters predicted as `failed`, by reason code.
    #[serde(rename = "failures_foretold")]
    pub(crate) predicted_failures: BTreeMap<String, i64>,
    pub(crate) pending: i64,
    #[serde(rename = "on_the_way")]
    pub(crate) in_flight: i64,
    /// The letters by result, which can be `failed`, `refused`, `left` or `lost`.
    pub(crate) results: BTreeMap<String, i64>,
    /// The letters with a result (other than `left`) that is as predicted.
    pub(crate) as_planned: i64,
    /// `as_planned` as a percentage of these letters, rounded down to a tenth. `None` without results.
    pub(crate) as_planned_percent: Option<f64>,
    /// The results that differ from their predictions.
    pub(crate) differences: Vec<Difference>,
}

/// Letters whose result differs from the prediction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Difference {
    /// The predicted outcome, with the reason code of a failure.
    #[serde(rename = "foretold")]
    pub(crate) predicted: String,
    /// The result, with its reason code.
    #[serde(rename = "became")]
    pub(crate) result: String,
    pub(crate) letters: i64,
}

impl Report {
    /// Reads the report of this plan or replay.
    pub(super) async fn read(context: &AppContext, replay: i64) -> Result<Self, StoreError> {
        Ok(Self::of(&context.with_deadline(item_groups(&context.database, replay)).await?))
    }

    /// Adds up the numbers of letters by prediction and result.
    fn of(groups: &[ItemGroup]) -> Self {
        let mut report = Self::default();
        let add = |map: &mut BTreeMap<String, i64>, key: &str, count| {
            *map.entry(key.to_owned()).or_default() += count;
        };
        let (mut ended, mut differences) = (0, BTreeMap::new());
        for group in groups {
            let count = group.count;
            report.letters += count;
            add(&mut report.predicted, &group.predicted, count);
            if let Some(strategy) = &group.strategy {
                add(&mut report.strategies, strategy, count);
            }
            if group.predicted == FAILED {
                let reason = group.predicted_reason.as_deref().unwrap_or("unknown");
                add(&mut report.predicted_failures, reason, count);
            }
            match (group.state.known(), group.result.as_deref()) {
                (Some(ReplayItemState::Pending), _) => report.pending += count,
                (Some(ReplayItemState::Claimed | ReplayItemState::Sent), _) | (_, None) => {
                    report.in_flight += count;
                }
                (_, Some(result)) => {
                    add(&mut report.results, result, count);
                    if result == LEFT {
                        continue;
                    }
                    ended += count;
                    let same_reason = result != FAILED || group.predicted_reason == group.result_reason;
                    if result == group.predicted && same_reason {
                        report.as_planned += count;
                    } else {
                        let predicted = with_reason(&group.predicted, group.predicted_reason.as_deref());
                        let result = with_reason(result, group.result_reason.as_deref());
                        *differences.entry((predicted, result)).or_default() += count;
                    }
                }
            }
        }
        report.as_planned_percent = (ended > 0).then(|| (report.as_planned * 1000 / ended) as f64 / 10.0);
        report.differences = differences
            .into_iter()
            .map(|((predicted, result), letters)| Difference { predicted, result, letters })
            .collect();
        report
    }

    /// Returns the number of letters with this result.
    pub(crate) fn count_of(&self, result: &str) -> i64 {
        self.results.get(result).copied().unwrap_or_default()
    }
}

fn with_reason(outcome: &str, reason: Option<&str>) -> String {
    reason.map_or_else(|| outcome.to_owned(), |reason| format!("{outcome} ({reason})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(
        predicted: &str,
        why: Option<&str>,
        result: Option<(&str, Option<&str>)>,
        count: i64,
    ) -> ItemGroup {
        ItemGroup {
            state: if result.is_some() { ReplayItemState::Ended } else { ReplayItemState::Pending }.into(),
            predicted: predicted.into(),
            predicted_reason: why.map(str::to_owned),
            strategy: None,
            result: result.map(|(result, _)| result.into()),
            result_reason: result.and_then(|(_, reason)| reason.map(str::to_owned)),
            count,
        }
    }

    #[test]
    fn a_failure_for_another_reason_is_not_as_planned_and_unsent_letters_do_not_count() {
        let report = Report::of(&[
            group("assigned", None, Some(("assigned", None)), 996),
            group(FAILED, Some("malformed"), Some((FAILED, Some("malformed"))), 2),
            group(FAILED, Some("malformed"), Some((FAILED, Some("no_company"))), 1),
            group("assigned", None, Some(("refused", Some("changed"))), 1),
            group("assigned", None, Some(("left", None)), 10),
            group("stale", None, None, 5),
        ]);
        assert_eq!((report.letters, report.pending, report.as_planned), (1015, 5, 998));
        assert_eq!(report.as_planned_percent, Some(99.8));
        let differences: Vec<_> =
            report.differences.iter().map(|one| format!("{} → {}", one.predicted, one.result)).collect();
        assert_eq!(differences, ["assigned → refused (changed)", "failed (malformed) → failed (no_company)"]);
    }
}
