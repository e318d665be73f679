//! Picks the letters to send next: at the given rate, the canaries before all others, and never two letters
//! of one appointment at a time, so that these are decided in the order of the plan.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::matching::Stored;
use crate::store::{FAILED, ItemRow, LEFT, LOST, REFUSED, ReplayItemState};

/// The maximum number of letters in flight, which pausing or cancelling the replay does not stop.
const MAX_IN_FLIGHT: usize = 1000;

/// The number of letters claimed at a time.
const CLAIM_CHUNK: usize = 100;

/// The minimum number of results from which to compute a share of failures.
const MIN_RESULTS: i64 = 5;

/// A number of letters per second, minute or hour, written `20/s`, `100/m`, `500/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    letters: u32,
    /// `s`, `m` or `h`.
    unit: char,
}

impl Rate {
    /// Returns how many letters to send in this time, as a fraction.
    pub(crate) fn letters_in(self, time: Duration) -> f64 {
        let seconds = match self.unit {
            's' => 1.0,
            'm' => 60.0,
            _ => 3600.0,
        };
        f64::from(self.letters) * time.as_secs_f64() / seconds
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.letters, self.unit)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let invalid = || format!("{text:?} is not a rate; write 20/s, 100/m or 500/h");
        let (letters, unit) = text.split_once('/').ok_or_else(invalid)?;
        let letters = letters.parse().ok().filter(|letters| *letters > 0).ok_or_else(invalid)?;
        match unit {
            "s" | "m" | "h" => Ok(Self { letters, unit: unit.chars().next().unwrap_or('h') }),
            _ => Err(invalid()),
        }
    }
}

/// The numbers of a replay's letters by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ItemCounts {
    /// Letters in flight.
    pub(super) in_flight: i64,
    /// Letters with a result.
    pub(super) ended: i64,
    /// Letters whose result the worker or the recorder wrote.
    pub(super) finished: i64,
    /// Finished letters that failed again.
    pub(super) failed: i64,
}

impl ItemCounts {
    /// Adds up the numbers of letters by state and result.
    pub(super) fn of(item_counts: &[(Stored<ReplayItemState>, Option<String>, i64)]) -> Self {
        let mut counts = Self::default();
        for (state, result, count) in item_counts {
            let Some(result) = result.as_deref() else {
                counts.in_flight += if state.known() == Some(ReplayItemState::Pending) { 0 } else { *count };
                continue;
            };
            counts.ended += count;
            if ![REFUSED, LEFT, LOST].contains(&result) {
                counts.finished += count;
            }
            if result == FAILED {
                counts.failed += count;
            }
        }
        counts
    }
}

/// The letters still to send.
#[derive(Debug)]
pub(super) struct Picker {
    pending: VecDeque<ItemRow>,
    canary: i64,
    stop_percent: i64,
    rate: Rate,
    credit: f64,
}

impl Picker {
    pub(super) fn new(pending: Vec<ItemRow>, canary: i32, stop_percent: i32, rate: Rate) -> Self {
        let (canary, stop_percent) = (i64::from(canary), i64::from(stop_percent));
        Self { pending: pending.into(), canary, stop_percent, rate, credit: 1.0 }
    }

    /// Returns whether every letter has been sent.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the reason why the replay must stop, if there is one.
    pub(super) fn stop_reason(&self, counts: ItemCounts) -> Option<String> {
        let ItemCounts { finished, failed, .. } = counts;
        let min_results = if self.canary > 0 { self.canary } else { MIN_RESULTS };
        let too_many = finished >= min_results && failed * 100 > self.stop_percent * finished;
        too_many.then(|| format!("{failed} of {finished} failed again: more than {} %", self.stop_percent))
    }

    /// Returns the letters to send now. `passed` is the time since the last call, `busy` the letters in flight.
    pub(super) fn next(&mut self, passed: Duration, counts: ItemCounts, busy: &[ItemRow]) -> Vec<ItemRow> {
        // After a pause, at most one second's worth of letters is sent at once.
        let max_credit = self.rate.letters_in(Duration::from_secs(1)).max(1.0);
        self.credit = (self.credit + self.rate.letters_in(passed)).min(max_credit);
        let mut limit = MAX_IN_FLIGHT.saturating_sub(busy.len()).min(CLAIM_CHUNK);
        if counts.finished < self.canary {
            limit = limit.min(usize::try_from(self.canary - counts.finished - counts.in_flight).unwrap_or(0));
        }
        let mut lanes: BTreeSet<i64> = busy.iter().filter_map(|item| item.lane).collect();
        let mut next = Vec::new();
        let mut later = VecDeque::new();
        while let Some(item) = self.pending.pop_front() {
            if next.len() >= limit || self.credit < 1.0 {
                later.push_back(item);
                break;
            }
            // A letter waits while another of its appointment is in flight or sent now.
            if item.lane.is_some_and(|lane| !lanes.insert(lane)) {
                later.push_back(item);
                continue;
            }
            self.credit -= 1.0;
            next.push(item);
        }
        later.append(&mut self.pending);
        self.pending = later;
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(letter: i64, lane: Option<i64>) -> ItemRow {
        ItemRow {
            letter,
            seen_ms: 0,
            lane,
            state: ReplayItemState::Pending.into(),
            predicted: "assigned".into(),
            predicted_reason: None,
            result: None,
            result_reason: None,
        }
    }

    fn ids(items: &[ItemRow]) -> Vec<i64> {
        items.iter().map(|item| item.letter).collect()
    }

    const SECOND: Duration = Duration::from_secs(1);

    fn picker(items: Vec<ItemRow>, canary: i32) -> Picker {
        Picker::new(items, canary, 10, "10/s".parse().unwrap())
    }

    #[test]
    fn letters_without_an_outcome_count_as_ended_and_not_as_finished() {
        let count = |state: &str, result: Option<&str>| (Stored::read(state), result.map(str::to_owned), 1);
        let all = [
            count("pending", None),
            count("claimed", None),
            count("sent", None),
            count("ended", Some("assigned")),
            count("ended", Some(FAILED)),
            count("ended", Some(LOST)),
            count("ended", Some(REFUSED)),
            count("ended", Some(LEFT)),
        ];
        assert_eq!(ItemCounts::of(&all), ItemCounts { in_flight: 2, ended: 5, finished: 2, failed: 1 });
    }

    #[test]
    fn letters_are_sent_at_the_rate_and_at_most_one_second_is_caught_up() {
        let mut picker = picker((1..=100).map(|id| item(id, None)).collect(), 0);
        assert_eq!(picker.next(Duration::ZERO, ItemCounts::default(), &[]).len(), 1);
        assert_eq!(picker.next(SECOND / 2, ItemCounts::default(), &[]).len(), 5);
        assert_eq!(picker.next(SECOND * 60, ItemCounts::default(), &[]).len(), 10);
    }

    #[test]
    fn canaries_are_sent_first_and_the_others_wait_for_their_results() {
        let mut picker = picker((1..=20).map(|id| item(id, None)).collect(), 3);
        assert_eq!(ids(&picker.next(SECOND, ItemCounts::default(), &[])), [1, 2, 3]);
        let in_flight = ItemCounts { in_flight: 2, finished: 1, ..ItemCounts::default() };
        assert!(picker.next(SECOND, in_flight, &[]).is_empty());
        let finished = ItemCounts { finished: 3, ..ItemCounts::default() };
        assert_eq!(picker.next(SECOND, finished, &[]).len(), 10);
    }

    #[test]
    fn letters_of_one_appointment_are_sent_one_after_the_other() {
        let mut picker = picker(
            vec![item(1, Some(7)), item(2, Some(7)), item(3, Some(8)), item(4, None), item(5, None)],
            0,
        );
        let first = picker.next(SECOND, ItemCounts::default(), &[]);
        assert_eq!(ids(&first), [1, 3, 4, 5]);
        assert!(picker.next(SECOND, ItemCounts::default(), &first).is_empty());
        assert_eq!(ids(&picker.next(SECOND, ItemCounts::default(), &[])), [2]);
        assert!(picker.is_empty());
    }

    #[test]
    fn a_replay_stops_when_too_many_of_enough_results_are_failures() {
        let picker = picker(Vec::new(), 5);
        let stop =
            |finished, failed| picker.stop_reason(ItemCounts { finished, failed, ..ItemCounts::default() });
        assert_eq!(stop(4, 4), None);
        assert!(stop(5, 1).unwrap().contains("1 of 5"));
        assert_eq!(stop(10, 1), None);
        assert!(stop(19, 2).is_some());
    }

    #[test]
    fn a_parsed_rate_renders_as_it_was_written() {
        for text in ["20/s", "100/m", "1/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "20", "0/s", "-1/s", "20/d", "20/sec", "x/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let a_minute = Duration::from_secs(60);
        assert_eq!("20/s".parse::<Rate>().unwrap().letters_in(a_minute), 1200.0);
        assert_eq!("6/m".parse::<Rate>().unwrap().letters_in(Duration::from_secs(5)), 0.5);
    }
}
