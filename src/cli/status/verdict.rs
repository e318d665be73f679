//! Is it assigning? What stands against it, the worst first.

use serde::Serialize;

use super::seen::{Seen, Worker};

/// How it is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// Nothing to do.
    Ok,
    /// It works, and somebody should look.
    Attention,
    /// Bookings are not decided.
    NotWorking,
}

/// Whether bookings get their staff.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Assigning {
    Yes,
    /// Workers decide and record, and write nothing (`worker.mode`).
    Observing,
    No,
    /// What would tell cannot be looked at.
    Unknown,
}

/// One reason why it is not `ok`.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Reason {
    pub(super) state: State,
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// The roadmap's targets: at least so many percent assigned, at most so many not, at most so many errors.
const ASSIGNED_PERCENT: f64 = 90.0;
const UNMATCHED_PERCENT: u64 = 20;
const ERROR_PERCENT: u64 = 5;

/// Of fewer events a share says nothing: within a day, and within an hour or less.
const ENOUGH: i64 = 20;
const ENOUGH_IN_AN_HOUR: i64 = 10;

/// Events that are older when they are decided come too late for whoever waits for the booking.
const SLOW_MS: i64 = 60_000;

/// While events are ready, one is decided within this time.
const STALLED_MS: i64 = 300_000;

/// A host that waits for longer has been forgotten.
const NEGLECTED_MS: i64 = 7 * 24 * 3_600_000;

/// A worker that is gone for longer is no news.
const NEWS_SECONDS: u64 = 3600;

/// The same, with what follows from it.
pub(super) fn given(seen: Seen, now_ms: i64) -> Seen {
    let mut reasons = Reasons::default();
    reachable(&seen, &mut reasons);
    workers(&seen, &mut reasons);
    flow(&seen, now_ms, &mut reasons);
    shares(&seen, &mut reasons);
    people(&seen, now_ms, &mut reasons);
    let mut reasons = reasons.0;
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    let state = reasons.first().map_or(State::Ok, |reason| reason.state);
    Seen { state, assigning: assigning(&seen, state), reasons, ..seen }
}

#[derive(Default)]
struct Reasons(Vec<Reason>);

impl Reasons {
    fn fatal(&mut self, code: &'static str, message: String) {
        self.0.push(Reason { state: State::NotWorking, code, message });
    }

    fn look(&mut self, code: &'static str, message: String) {
        self.0.push(Reason { state: State::Attention, code, message });
    }
}

fn assigning(seen: &Seen, state: State) -> Assigning {
    let Some(workers) = &seen.workers else { return Assigning::Unknown };
    if state == State::NotWorking {
        return Assigning::No;
    }
    let observing = running(workers).filter(|worker| worker.mode == "observe").count();
    match running(workers).count() {
        // Somebody takes events who does not show himself.
        0 => Assigning::Unknown,
        count if count == observing => Assigning::Observing,
        _ => Assigning::Yes,
    }
}

pub(super) fn running(workers: &[Worker]) -> impl Iterator<Item = &Worker> {
    workers.iter().filter(|worker| !worker.gone)
}

fn reachable(seen: &Seen, reasons: &mut Reasons) {
    match &seen.database {
        Some(problem) if problem.is_away => {
            reasons.fatal("database_unreachable", problem.message.clone());
        }
        Some(problem) => reasons.look(
            "database_refuses",
            format!(
                "not everything can be read: {}; run `hostmatch migrate status` and `hostmatch gateway grants`",
                problem.message
            ),
        ),
        None => {}
    }
    if let Some(problem) = &seen.queue_trouble {
        reasons.fatal("queue_unreachable", problem.message.clone());
    }
}

fn workers(seen: &Seen, reasons: &mut Reasons) {
    let consumers = seen.queue.as_ref().and_then(|queue| queue.consumers);
    let Some(workers) = &seen.workers else {
        if consumers == Some(0) {
            reasons.fatal("no_consumer", "nobody takes events from the queue: start a worker".to_owned());
        }
        return;
    };
    let count = running(workers).count();
    match (count, consumers) {
        (0, None | Some(0)) => {
            reasons.fatal("no_worker", "no worker runs: start `hostmatch serve worker`".to_owned());
        }
        (0, Some(consumers)) => reasons.look(
            "unseen_workers",
            format!(
                "{consumers} consumers take events and do not show themselves: workers of an older version, or \
                 without the rights that `hostmatch gateway grants --role run` prints"
            ),
        ),
        (_, Some(0)) => reasons.fatal(
            "no_consumer",
            "workers run, and none of them takes events from the queue: see their logs".to_owned(),
        ),
        _ => {}
    }
    let observing = running(workers).filter(|worker| worker.mode == "observe").count();
    if observing > 0 && observing < count {
        reasons.look(
            "mixed_modes",
            format!("{observing} of {count} workers only observe (worker.mode), the others assign"),
        );
    }
    let lost = workers.iter().filter(|worker| worker.gone && worker.seen_seconds < NEWS_SECONDS).count();
    if lost > 0 {
        let verb = if lost == 1 { "worker has" } else { "workers have" };
        reasons.look("workers_gone", format!("{lost} {verb} ended within the hour without taking leave"));
    }
}

fn flow(seen: &Seen, now_ms: i64, reasons: &mut Reasons) {
    if let (Some(queue), Some(events)) = (&seen.queue, &seen.events) {
        let silent_ms = now_ms - events.last_decided_ms.unwrap_or(0);
        if queue.ready > 0 && silent_ms > STALLED_MS {
            let since = match &events.last_decided {
                Some(last) => format!("since {last}"),
                None => "at all".to_owned(),
            };
            reasons
                .fatal("stalled", format!("{} events wait, and none has been decided {since}", queue.ready));
        }
    }
    if let Some(age) = seen.age.as_ref().filter(|age| age.p95_ms > SLOW_MS) {
        let late = span(age.p95_ms);
        reasons.look("slow", format!("events are decided late: 5 % of them after more than {late}"));
    }
    if let Some(spool) = seen.spool.as_ref().filter(|spool| spool.messages + spool.set_aside > 0) {
        let count = spool.messages + spool.set_aside;
        reasons.look("spooled", format!("{count} events wait in the spool of the edge on this machine"));
    }
}

fn shares(seen: &Seen, reasons: &mut Reasons) {
    let Some(events) = &seen.events else { return };
    let day = &events.last_day;
    if let Some(percent) = day.assigned_percent.filter(|it| *it < ASSIGNED_PERCENT)
        && day.to_assign() - day.of(&["would_assign"]) >= ENOUGH
    {
        let text =
            format!("only {percent} % of the events of a day led to staff (target {ASSIGNED_PERCENT} %)");
        reasons.look("assigned_low", text);
    }
    let hour = &events.last_hour;
    let unmatched = hour.of(&["needs_review", "unmatched", "no_host"]);
    if hour.to_assign() >= ENOUGH_IN_AN_HOUR && over(unmatched, hour.to_assign(), UNMATCHED_PERCENT) {
        reasons.look(
            "unmatched_high",
            format!(
                "of {} events within the hour {unmatched} found nobody (limit {UNMATCHED_PERCENT} %)",
                hour.to_assign()
            ),
        );
    }
    let quarter = &events.last_15_minutes;
    let failed = quarter.of(&["dead_letter"]);
    if quarter.decided >= ENOUGH_IN_AN_HOUR && over(failed, quarter.decided, ERROR_PERCENT) {
        reasons.look(
            "errors_high",
            format!(
                "of {} events within 15 min {failed} became dead letters (limit {ERROR_PERCENT} %)",
                quarter.decided
            ),
        );
    }
}

fn over(part: i64, whole: i64, percent: u64) -> bool {
    part.unsigned_abs() * 100 > whole.unsigned_abs() * percent
}

fn people(seen: &Seen, now_ms: i64, reasons: &mut Reasons) {
    if let Some(bookings) = seen.unassigned.as_ref().filter(|it| it.within_24_hours > 0) {
        let first =
            bookings.next_ms.map_or_else(String::new, |ms| format!(", the first in {}", span(ms - now_ms)));
        let (count, verb) = plural(bookings.within_24_hours, "booking", "starts", "start");
        reasons.look("unassigned_soon", format!("{count} without staff {verb} within 24 h{first}"));
    }
    if let Some(letters) = seen.dead_letters.as_ref().filter(|it| it.open > 0) {
        let (count, verb) = plural(letters.open, "dead letter", "is", "are");
        let oldest = letters
            .oldest_ms
            .map_or_else(String::new, |ms| format!(", the oldest for {}", span(now_ms - ms)));
        reasons.look("dead_letters_open", format!("{count} {verb} open{oldest}"));
    }
    if let Some(oldest_ms) = seen.inbox.as_ref().and_then(|inbox| inbox.oldest_ms)
        && now_ms - oldest_ms > NEGLECTED_MS
    {
        let text = format!("a host in the inbox has waited for {}", span(now_ms - oldest_ms));
        reasons.look("inbox_neglected", text);
    }
}

/// `1 booking` with its verb, or `2 bookings` with theirs.
fn plural(count: i64, what: &str, one: &'static str, more: &'static str) -> (String, &'static str) {
    if count == 1 { (format!("1 {what}"), one) } else { (format!("{count} {what}s"), more) }
}

/// A time for people: `45 s`, `12 min`, `2 h 10 min`, `3 d`.
pub(super) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min"),
        3600..86_400 if minutes % 60 == 0 => format!("{hours} h"),
        3600..86_400 => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_units_at_most() {
        let told = [-5, 45_999, 60_000, 3_599_000, 3_600_000, 7_800_000, 86_400_000, 200_000_000];
        let told: Vec<String> = told.into_iter().map(span).collect();
        assert_eq!(told, ["0 s", "45 s", "1 min", "59 min", "1 h", "2 h 10 min", "1 d", "2 d"]);
    }

    #[test]
    fn shares_are_over_a_limit_and_not_at_it() {
        assert!(!over(1, 20, 5) && over(2, 39, 5) && !over(0, 0, 5));
    }
}
