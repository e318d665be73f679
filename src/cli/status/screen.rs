//! The screen: 80 columns, and no more lines than there are.

use super::seen::{Events, Seen, Waiting, Window, Worker};
use super::verdict::{Assigning, State, running, span};
use crate::runtime::clock::now_ms;

const WIDTH: usize = 80;

/// Lines of reasons, beside the one that says that there are more.
const REASONS: usize = 4;

/// Rows of events: what they are called, and of which outcomes.
const ROWS: [(&str, &[&str]); 7] = [
    ("assigned", &["assigned", "unchanged"]),
    ("would be assigned", &["would_assign"]),
    ("need a person", &["needs_review"]),
    ("nobody found", &["unmatched"]),
    ("no host named", &["no_host"]),
    ("dead letters", &["dead_letter"]),
    ("nothing to assign", &["kept", "stale", "recorded", "ignored"]),
];

/// All of it in at most so many lines, but at least what matters.
pub(super) fn text(seen: &Seen, most: usize) -> String {
    let mut lines = head(seen);
    lines.extend(seen.events.as_ref().map(events).unwrap_or_default());
    lines.extend(details(seen));
    if let Some(workers) = &seen.workers {
        let room = most.saturating_sub(lines.len());
        lines.extend(table(workers, room));
    }
    lines.iter().map(|line| cut(line)).collect::<Vec<_>>().join("\n")
}

fn head(seen: &Seen) -> Vec<String> {
    let company = seen.company.map_or_else(String::new, |company| format!(", company {company}"));
    let title = format!("hostmatch status{company}");
    let mut lines =
        vec![format!("{title}{:>width$}", seen.at, width = WIDTH.saturating_sub(title.chars().count()))];
    let word = match (seen.state, seen.assigning) {
        (State::NotWorking, _) => "NOT WORKING",
        (State::Attention, Assigning::Observing) => "ATTENTION: it observes, and writes nothing; and",
        (State::Attention, Assigning::Yes) => "ATTENTION: bookings are assigned, and",
        (State::Attention, _) => "ATTENTION",
        (State::Ok, Assigning::Observing) => "OK: it observes, and writes nothing (worker.mode)",
        (State::Ok, _) => "OK: bookings are assigned",
    };
    lines.push(word.to_owned());
    let mut told = seen.reasons.iter().peekable();
    let mut room = REASONS;
    while let Some(reason) = told.next_if(|reason| wrapped(&reason.message).len() <= room) {
        let wrapped = wrapped(&reason.message);
        room -= wrapped.len();
        lines.extend(wrapped);
    }
    let left = told.count();
    if left > 0 {
        lines.push(format!("* … and {left} more (--output json)"));
    }
    lines
}

fn events(events: &Events) -> Vec<String> {
    let windows = events.windows();
    let row = |name: &str, cell: &dyn Fn(&Window) -> String| {
        let cells: String = windows.iter().map(|window| format!("{:>11}", cell(window))).collect();
        format!("{name:<20}{cells}")
    };
    let heads: String = ["1 min", "15 min", "1 h", "24 h"].iter().map(|head| format!("{head:>11}")).collect();
    let mut lines = vec![format!("{:<20}{heads}", "EVENTS DECIDED IN")];
    // A row of nothing says nothing, but for those that are good news.
    let always = ["assigned", "need a person", "nobody found", "dead letters"];
    for (name, outcomes) in ROWS {
        if always.contains(&name) || windows.iter().any(|window| window.of(outcomes) > 0) {
            lines.push(row(&format!("  {name}"), &|window| window.of(outcomes).to_string()));
        }
    }
    let share =
        |window: &Window| window.assigned_percent.map_or_else(|| "-".to_owned(), |it| format!("{it} %"));
    lines.push(row("  share assigned", &share));
    lines
}

fn details(seen: &Seen) -> Vec<String> {
    let now_ms = now_ms();
    let mut lines = Vec::new();
    let mut told = |name: &str, text: String| lines.push(format!("{name:<13}{text}"));
    if let Some(age) = &seen.age {
        let [p50, p95, max] = [age.p50_ms, age.p95_ms, age.max_ms].map(short);
        let text = format!("p50 {p50}, p95 {p95}, max {max}, of {} events in 15 min", age.events);
        told("AGE", text);
    }
    if let Some(queue) = &seen.queue {
        let known =
            |what: &str, count: Option<u64>| count.map_or_else(String::new, |it| format!("{it} {what}"));
        let parts = [
            format!("{} ready", queue.ready),
            known("in hand", queue.in_hand),
            format!("{} wait for another attempt", queue.waiting),
            if queue.dead > 0 { format!("{} dead", queue.dead) } else { String::new() },
            known("consumers", queue.consumers),
        ];
        told("QUEUE", parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "));
    }
    if let Some(spool) = &seen.spool {
        let oldest = if spool.messages > 0 {
            format!(
                ", the oldest {} old",
                span(i64::try_from(spool.oldest_seconds).unwrap_or(i64::MAX).saturating_mul(1000))
            )
        } else {
            String::new()
        };
        let aside =
            if spool.set_aside > 0 { format!(", {} set aside", spool.set_aside) } else { String::new() };
        told(
            "SPOOL",
            format!("{} events{oldest}{aside}, {} KiB", spool.messages, spool.bytes.div_ceil(1024)),
        );
    }
    if let Some(bookings) = &seen.unassigned {
        let next = bookings.next_ms.map_or_else(String::new, |ms| format!(", next in {}", span(ms - now_ms)));
        let (day, week, all) = (bookings.within_24_hours, bookings.within_7_days, bookings.all);
        told("NO STAFF", format!("{day} start within 24 h, {week} within 7 d, {all} in all{next}"));
    }
    if let Some(inbox) = &seen.inbox {
        told("INBOX", waiting(inbox, now_ms));
    }
    if let Some(letters) = &seen.dead_letters {
        told("DEAD LETTERS", waiting(letters, now_ms));
    }
    lines
}

fn waiting(waiting: &Waiting, now_ms: i64) -> String {
    let mut reasons: Vec<(&String, &i64)> =
        waiting.by_reason.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let oldest = waiting.oldest_ms.map_or_else(String::new, |ms| format!(", oldest {}", span(now_ms - ms)));
    let mut told: Vec<String> =
        reasons.iter().take(3).map(|(reason, count)| format!("{count} {reason}")).collect();
    if reasons.len() > told.len() {
        told.push("…".to_owned());
    }
    let list = if told.is_empty() { String::new() } else { format!(": {}", told.join(", ")) };
    format!("{} open{oldest}{list}", waiting.open)
}

/// What there is room for: those that are gone first, then those that were not seen for longest.
fn table(workers: &[Worker], room: usize) -> Vec<String> {
    let count = running(workers).count();
    let gone = workers.len() - count;
    let mut versions: Vec<&str> = running(workers).map(|worker| worker.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let observing = running(workers).filter(|worker| worker.mode == "observe").count();
    let mut summary = format!("{count} running");
    for (what, count) in [("gone", gone), ("of them only observing", observing)] {
        if count > 0 {
            summary += &format!(", {count} {what}");
        }
    }
    if versions.len() > 1 {
        summary += &format!(", versions {}", versions.join(" and "));
    }
    let mut lines = vec![format!("{:<13}{summary}", "WORKERS")];
    // Below that, a head and one row at least, or nothing.
    let room = room.saturating_sub(2);
    if workers.is_empty() || room < workers.len().min(2) {
        return lines;
    }
    let cells = |cells: [&str; 7]| {
        let [name, version, mode, up, seen, done, failed] = cells;
        let name = shortened(name, 25);
        format!("  {name:<25} {version:<9} {mode:<8}{up:>10}{seen:>8}{done:>9}{failed:>7}")
    };
    lines.push(cells(["HOST:PID", "VERSION", "MODE", "UP", "SEEN", "DONE", "DEAD"]));
    let mut sorted: Vec<&Worker> = workers.iter().collect();
    sorted.sort_by_key(|worker| std::cmp::Reverse((worker.gone, worker.seen_seconds)));
    let shown = if sorted.len() > room { room - 1 } else { room };
    let seconds = |seconds: u64| span(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000));
    for worker in sorted.iter().take(shown) {
        let mode = if worker.gone { "gone" } else { &worker.mode };
        lines.push(cells([
            &format!("{}:{}", worker.host, worker.pid),
            &worker.version,
            mode,
            &seconds(worker.up_seconds.saturating_sub(if worker.gone { worker.seen_seconds } else { 0 })),
            &seconds(worker.seen_seconds),
            &worker.finished.to_string(),
            &worker.failed.to_string(),
        ]));
    }
    if sorted.len() > shown {
        lines.push(format!("  … and {} more (--output json)", sorted.len() - shown));
    }
    lines
}

/// A reason in as many lines as it takes.
fn wrapped(reason: &str) -> Vec<String> {
    let mut lines = vec!["*".to_owned()];
    for word in reason.split_whitespace() {
        match lines.last_mut().filter(|line| line.chars().count() + 1 + word.chars().count() <= WIDTH) {
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(format!("  {word}")),
        }
    }
    lines
}

/// The end of a name tells more than its beginning.
fn shortened(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(count - most + 1).collect::<String>())
    }
}

/// A short time: `40 ms`, `2.1 s`, then as [`span`].
fn short(ms: i64) -> String {
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => span(ms),
    }
}

/// A line of the screen's width; texts of servers may be longer, and of more lines.
fn cut(line: &str) -> String {
    let line = line.replace('\n', " ");
    if line.chars().count() <= WIDTH {
        line
    } else {
        format!("{}…", line.chars().take(WIDTH - 1).collect::<String>())
    }
}
