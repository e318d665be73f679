//! Assesses the status: whether bookings are assigned, and which problems there are, the worst first.

use serde::Serialize;

use super::StatusView;
use crate::app::pluralize;
use crate::matching::Outcome;
use crate::runtime::clock::rfc3339;
use crate::store::{MAX_INBOX_HOSTS, WorkerRow};

/// The state of the installation.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Nothing to do.
    #[default]
    Ok,
    /// Bookings are decided, but a person should check something.
    Attention,
    /// Bookings are not decided.
    NotWorking,
}

/// Whether bookings are assigned.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Assigning {
    Yes,
    /// Workers decide and record, but do not assign (`worker.mode`).
    Observing,
    No,
    /// This cannot be determined.
    #[default]
    Unknown,
}

/// One reason why the state is not `ok`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reason {
    pub(crate) state: State,
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

/// The roadmap's targets: the minimum percentage of assigned events, and the maximum percentages of unmatched
/// events and of errors.
const ASSIGNED_PERCENT: f64 = 90.0;
const UNMATCHED_PERCENT: u64 = 20;
const ERROR_PERCENT: u64 = 5;

/// The minimum number of events for a share to be meaningful: within a day, and within an hour or less.
const MIN_EVENTS_PER_DAY: i64 = 20;
const MIN_EVENTS: i64 = 10;

/// The age from which an event is decided too late for the people who wait for the booking.
const SLOW_MS: i64 = 60_000;

/// While events are ready, at least one must be decided within this time.
const STALLED_MS: i64 = 300_000;

/// A host that waits for longer than this has probably been forgotten.
const NEGLECTED_MS: i64 = 7 * 24 * 3_600_000;

/// A worker that has been gone for longer than this is not reported.
const MAX_GONE_SECONDS: u64 = 3600;

/// A worker sends a heartbeat every 10 s. After this time it could not write one.
const MISSED_HEARTBEAT_SECONDS: u64 = 15;

/// Derives from what was read: the reasons, the state, and whether bookings are assigned.
pub(super) fn assess(view: &mut StatusView) {
    let mut reasons = Reasons::default();
    assess_connections(view, &mut reasons);
    assess_workers(view, &mut reasons);
    assess_backlog(view, &mut reasons);
    assess_outcomes(view, &mut reasons);
    assess_open_work(view, &mut reasons);
    assess_inboxes(view, &mut reasons);
    view.reasons = reasons.0;
    view.reasons.sort_by_key(|reason| std::cmp::Reverse(reason.state));
    view.state = view.reasons.first().map_or(State::Ok, |reason| reason.state);
    view.assigning = assigning(view);
}

#[derive(Default)]
struct Reasons(Vec<Reason>);

impl Reasons {
    fn fatal(&mut self, code: &'static str, message: String) {
        self.0.push(Reason { state: State::NotWorking, code, message });
    }

    fn attention(&mut self, code: &'static str, message: String) {
        self.0.push(Reason { state: State::Attention, code, message });
    }
}

fn assigning(view: &StatusView) -> Assigning {
    let Some(workers) = &view.workers else { return Assigning::Unknown };
    if view.state == State::NotWorking {
        return Assigning::No;
    }
    if view.read_only.is_some() {
        // It may have become read-only since the last heartbeat.
        return Assigning::Unknown;
    }
    let observing = running(workers).filter(|worker| worker.worker.mode == "observe").count();
    match running(workers).count() {
        // Consumers that send no heartbeat may be deciding events.
        0 => Assigning::Unknown,
        count if count == observing => Assigning::Observing,
        _ => Assigning::Yes,
    }
}

pub(crate) fn running(workers: &[WorkerRow]) -> impl Iterator<Item = &WorkerRow> {
    workers.iter().filter(|worker| !worker.gone)
}

fn assess_connections(view: &StatusView, reasons: &mut Reasons) {
    match &view.database_problem {
        Some(problem) if problem.is_unreachable => {
            reasons.fatal("database_unreachable", problem.message.clone());
        }
        Some(problem) => reasons.attention(
            "database_refuses",
            format!(
                "some tables cannot be read: {}; run `hostmatch migrate status` and `hostmatch gateway grants`",
                problem.message
            ),
        ),
        None => {}
    }
    if let Some(why) = &view.read_only {
        let text = format!("the database accepts no writes ({why}): events wait in the queue until it does");
        // Some users may write nevertheless. A heartbeat is a write.
        let is_written = view.workers.as_ref().is_some_and(|workers| {
            running(workers).any(|worker| worker.seen_seconds < MISSED_HEARTBEAT_SECONDS)
        });
        match is_written {
            true => reasons.attention("database_read_only", text),
            false => reasons.fatal("database_read_only", text),
        }
    }
    if let Some(problem) = &view.queue_problem {
        reasons.fatal("queue_unreachable", problem.message.clone());
    }
    if view.is_queue_blocked {
        let text = "the broker accepts no messages, because it is short of memory or disk: new events reach no \
                    worker; run `rabbitmq-diagnostics check_local_alarms`";
        reasons.fatal("queue_blocked", text.to_owned());
    }
}

fn assess_workers(view: &StatusView, reasons: &mut Reasons) {
    let consumers = view.queue.as_ref().and_then(|queue| queue.consumers);
    let Some(workers) = &view.workers else {
        if consumers == Some(0) {
            reasons.fatal("no_consumer", "no worker consumes the queue: start a worker".to_owned());
        }
        return;
    };
    let count = running(workers).count();
    match (count, consumers) {
        (0, None | Some(0)) => {
            reasons.fatal("no_worker", "no worker is running: start `hostmatch serve worker`".to_owned());
        }
        (0, Some(consumers)) => {
            let count = pluralize(consumers, "consumer receives", "consumers receive");
            reasons.attention(
                "unseen_workers",
                format!(
                    "{count} events without a heartbeat: the worker has an older version, or lacks the privileges \
                     that `hostmatch gateway grants --role run` prints"
                ),
            );
        }
        (_, Some(0)) => reasons.fatal(
            "no_consumer",
            "workers are running, but none of them consumes the queue: check their logs".to_owned(),
        ),
        _ => {}
    }
    let observing = running(workers).filter(|worker| worker.worker.mode == "observe").count();
    if observing > 0 && observing < count {
        let verb = if observing == 1 { "observes" } else { "observe" };
        reasons.attention(
            "mixed_modes",
            format!("{observing} of {count} workers only {verb} (worker.mode), the rest assign"),
        );
    }
    let vanished =
        workers.iter().filter(|worker| worker.gone && worker.seen_seconds < MAX_GONE_SECONDS).count();
    if vanished > 0 {
        let count = pluralize(vanished, "worker has", "workers have");
        reasons
            .attention("workers_gone", format!("{count} ended within the last hour without deregistering"));
    }
}

fn assess_backlog(view: &StatusView, reasons: &mut Reasons) {
    if let (Some(queue), Some(events)) = (&view.queue, &view.events) {
        let silent_ms = view.at - events.last_decided.unwrap_or(0);
        if queue.ready > 0 && silent_ms > STALLED_MS {
            let since =
                events.last_decided.map_or("at all".to_owned(), |ms| format!("since {}", rfc3339(ms)));
            let count = pluralize(queue.ready, "event waits", "events wait");
            reasons.fatal("stalled", format!("{count}, and none has been decided {since}"));
        }
    }
    if let Some(age) = view.age.as_ref().filter(|age| age.p95_ms > SLOW_MS) {
        let late = span(age.p95_ms);
        reasons.attention("slow", format!("events are decided late: 5 % of them take longer than {late}"));
    }
    if let Some(spool) = view.spool.as_ref().filter(|spool| spool.messages + spool.set_aside > 0) {
        let count = pluralize(spool.messages + spool.set_aside, "event waits", "events wait");
        reasons.attention("spooled", format!("{count} in the spool of the edge on this machine"));
    }
}

fn assess_outcomes(view: &StatusView, reasons: &mut Reasons) {
    let Some(events) = &view.events else { return };
    let day = &events.last_day;
    if let Some(percent) = day.assigned_percent.filter(|it| *it < ASSIGNED_PERCENT)
        && day.to_assign() - day.count(|outcome| outcome == Outcome::WouldAssign) >= MIN_EVENTS_PER_DAY
    {
        let text = format!("only {percent} % of a day's events were assigned (target {ASSIGNED_PERCENT} %)");
        reasons.attention("assigned_low", text);
    }
    let hour = &events.last_hour;
    let unmatched = hour.count(Outcome::found_nobody);
    if hour.to_assign() >= MIN_EVENTS && exceeds(unmatched, hour.to_assign(), UNMATCHED_PERCENT) {
        reasons.attention(
            "unmatched_high",
            format!(
                "{} events in the last hour, {unmatched} of them unmatched (limit {UNMATCHED_PERCENT} %)",
                hour.to_assign()
            ),
        );
    }
    let quarter = &events.last_15_minutes;
    let failed = quarter.dead_letters();
    if quarter.decided >= MIN_EVENTS && exceeds(failed, quarter.decided, ERROR_PERCENT) {
        reasons.attention(
            "errors_high",
            format!(
                "{} events in the last 15 min, {failed} of them dead letters (limit {ERROR_PERCENT} %)",
                quarter.decided
            ),
        );
    }
}

fn exceeds(part: i64, whole: i64, percent: u64) -> bool {
    part.unsigned_abs() * 100 > whole.unsigned_abs() * percent
}

fn assess_open_work(view: &StatusView, reasons: &mut Reasons) {
    if let Some(bookings) = view.unassigned.as_ref().filter(|it| it.day > 0) {
        let first =
            bookings.next_ms.map_or_else(String::new, |ms| format!(", the first in {}", span(ms - view.at)));
        let count = pluralize(bookings.day, "booking without staff starts", "bookings without staff start");
        reasons.attention("unassigned_soon", format!("{count} within 24 h{first}"));
    }
    if let Some(letters) = view.dead_letters.as_ref().filter(|it| it.open > 0) {
        let count = pluralize(letters.open, "dead letter is", "dead letters are");
        let oldest =
            letters.oldest.map_or_else(String::new, |ms| format!(", the oldest for {}", span(view.at - ms)));
        reasons.attention("dead_letters_open", format!("{count} open{oldest}"));
    }
    if let Some(oldest_ms) = view.inbox.as_ref().and_then(|inbox| inbox.oldest)
        && view.at - oldest_ms > NEGLECTED_MS
    {
        let text = format!("a host in the inbox has waited for {}", span(view.at - oldest_ms));
        reasons.attention("inbox_neglected", text);
    }
}

fn assess_inboxes(view: &StatusView, reasons: &mut Reasons) {
    let companies: Vec<String> = view.full_inboxes.iter().map(ToString::to_string).collect();
    if !companies.is_empty() {
        reasons.attention(
            "inbox_full",
            format!(
                "the inbox is full for company {}: it keeps {MAX_INBOX_HOSTS} hosts, and those named longest ago are \
                 removed",
                companies.join(", ")
            ),
        );
    }
}

/// Renders a duration for people: `45 s`, `12 min`, `2 h 10 min`, `3 d`.
pub(crate) fn span(ms: i64) -> String {
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
    fn a_duration_is_rendered_with_at_most_two_units() {
        let times = [-5, 45_999, 60_000, 3_599_000, 3_600_000, 7_800_000, 86_400_000, 200_000_000];
        let spans: Vec<String> = times.into_iter().map(span).collect();
        assert_eq!(spans, ["0 s", "45 s", "1 min", "59 min", "1 h", "2 h 10 min", "1 d", "2 d"]);
    }

    #[test]
    fn a_share_equal_to_the_limit_does_not_exceed_it() {
        assert!(!exceeds(1, 20, 5) && exceeds(2, 39, 5) && !exceeds(0, 0, 5));
    }
}
