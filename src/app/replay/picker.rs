//! Picks the letters to send next: at the rate, the canaries first and alone, and never two of one
//! appointment at a time, so that they are decided in the order of the plan.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::matching::Stored;
use crate::store::{FAILED, ItemRow, LEFT, LOST, REFUSED, ReplayItemState};

/// The maximum number of letters in flight: these can no longer be stopped.
const MAX_IN_FLIGHT: usize = 1000;

/// The number of letters claimed at a time.
const CLAIM_CHUNK: usize = 100;

/// The minimum number of results for a share of failures to be meaningful.
const MIN_RESULTS: i64 = 5;

/// A number of letters per second, minute or hour, written `20/s`, `100/m`, `500/h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    letters: u32,
    per: char,
}

impl Rate {
    /// Returns the number of letters in this time, as a fraction.
    pub(crate) fn within(self, time: Duration) -> f64 {
        let seconds = match self.per {
            's' => 1.0,
            'm' => 60.0,
            _ => 3600.0,
        };
        f64::from(self.letters) * time.as_secs_f64() / seconds
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.letters, self.per)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a rate; write 20/s, 100/m or 500/h");
        let (letters, per) = text.split_once('/').ok_or_else(wrong)?;
        let letters = letters.parse().ok().filter(|letters| *letters > 0).ok_or_else(wrong)?;
        match per {
            "s" | "m" | "h" => Ok(Self { letters, per: per.chars().next().unwrap_or('h') }),
            _ => Err(wrong()),
        }
    }
}

/// The numbers of a replay's letters by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ItemCounts {
    /// Letters in flight.
    pub(super) in_flight: i64,
    pub(super) ended: i64,
    /// Letters ended by the worker or the recorder.
    pub(super) finished: i64,
    /// Finished letters that failed again.
    pub(super) failed: i64,
}

impl ItemCounts {
    /// Adds up the numbers of letters by state and result.
    pub(super) fn of(item_counts: &[(Stored<ReplayItemState>, Option<String>, i64)]) -> Self {
        let mut all = Self::default();
        for (state, result, count) in item_counts {
            let Some(result) = result.as_deref() else {
                all.in_flight += if state.known() == Some(ReplayItemState::Pending) { 0 } else { *count };
                continue;
            };
            all.ended += count;
            if ![REFUSED, LEFT, LOST].contains(&result) {
                all.finished += count;
            }
            if result == FAILED {
                all.failed += count;
            }
        }
        all
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

    /// Returns whether no letter is left to send.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Returns the reason why the replay must stop, if there is one.
    pub(super) fn stop(&self, counts: ItemCounts) -> Option<String> {
        let ItemCounts { finished, failed, .. } = counts;
        let enough = if self.canary > 0 { self.canary } else { MIN_RESULTS };
        let too_many = finished >= enough && failed * 100 > self.stop_percent * finished;
        too_many.then(|| format!("{failed} of {finished} failed again: more than {} %", self.stop_percent))
    }

    /// Returns the letters to send now. `passed` is the time since the last call.
    pub(super) fn next(&mut self, passed: Duration, counts: ItemCounts, busy: &[ItemRow]) -> Vec<ItemRow> {
        // Catches up at most one second's worth of letters.
        let most = self.rate.within(Duration::from_secs(1)).max(1.0);
        self.credit = (self.credit + self.rate.within(passed)).min(most);
        let mut room = MAX_IN_FLIGHT.saturating_sub(busy.len()).min(CLAIM_CHUNK);
        if counts.finished < self.canary {
            room = room.min(usize::try_from(self.canary - counts.finished - counts.in_flight).unwrap_or(0));
        }
        let mut lanes: BTreeSet<i64> = busy.iter().filter_map(|item| item.lane).collect();
        let mut next = Vec::new();
        let mut later = VecDeque::new();
        while let Some(item) = self.pending.pop_front() {
            if next.len() >= room || self.credit < 1.0 {
                later.push_back(item);
                break;
            }
            // All letters of one appointment wait for the first of them.
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
        let one = |state: &str, result: Option<&str>| (Stored::read(state), result.map(str::to_owned), 1);
        let all = [
            one("pending", None),
            one("claimed", None),
            one("sent", None),
            one("ended", Some("assigned")),
            one("ended", Some(FAILED)),
            one("ended", Some(LOST)),
            one("ended", Some(REFUSED)),
            one("ended", Some(LEFT)),
        ];
        assert_eq!(ItemCounts::of(&all), ItemCounts { in_flight: 2, ended: 5, finished: 2, failed: 1 });
    }

    #[test]
    fn it_keeps_the_rate_and_catches_up_one_second_only() {
        let mut picker = picker((1..=100).map(|id| item(id, None)).collect(), 0);
        assert_eq!(picker.next(Duration::ZERO, ItemCounts::default(), &[]).len(), 1);
        assert_eq!(picker.next(SECOND / 2, ItemCounts::default(), &[]).len(), 5);
        assert_eq!(picker.next(SECOND * 60, ItemCounts::default(), &[]).len(), 10);
    }

    #[test]
    fn canaries_go_first_and_the_rest_waits_for_them() {
        let mut picker = picker((1..=20).map(|id| item(id, None)).collect(), 3);
        assert_eq!(ids(&picker.next(SECOND, ItemCounts::default(), &[])), [1, 2, 3]);
        let in_flight = ItemCounts { in_flight: 2, finished: 1, ..ItemCounts::default() };
        assert!(picker.next(SECOND, in_flight, &[]).is_empty());
        let back = ItemCounts { finished: 3, ..ItemCounts::default() };
        assert_eq!(picker.next(SECOND, back, &[]).len(), 10);
    }

    #[test]
    fn letters_of_one_appointment_go_one_after_the_other() {
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
    fn it_stops_when_too_many_fail_and_not_before_there_are_enough() {
        let picker = picker(Vec::new(), 5);
        let stop = |finished, failed| picker.stop(ItemCounts { finished, failed, ..ItemCounts::default() });
        assert_eq!(stop(4, 4), None);
        assert!(stop(5, 1).unwrap().contains("1 of 5"));
        assert_eq!(stop(10, 1), None);
        assert!(stop(19, 2).is_some());
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        for text in ["20/s", "100/m", "1/h"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        for text in ["", "20", "0/s", "-1/s", "20/d", "20/sec", "x/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        let a_minute = Duration::from_secs(60);
        assert_eq!("20/s".parse::<Rate>().unwrap().within(a_minute), 1200.0);
        assert_eq!("6/m".parse::<Rate>().unwrap().within(Duration::from_secs(5)), 0.5);
    }
}
