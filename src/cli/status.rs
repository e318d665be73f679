//! `hostmatch status`: shows on one screen whether bookings are assigned, how fast, and what waits.

use std::io::IsTerminal as _;
use std::time::Duration;

use console::Term;
use serde_json::json;

use super::{Exit, Failure, Global, Output, arguments, output, output::dash};
use crate::app::status::{
    Assigning, Events, Problem, State, StatusReader, StatusView, Waiting, Window, running, span,
};
use crate::app::{Scope, WorkerRow, pluralize};
use crate::event::CompanyId;
use crate::matching::Outcome;
use crate::runtime::shutdown;

/// The assumed number of lines of a screen whose size is unknown.
const DEFAULT_LINES: usize = 24;

const WIDTH: usize = 80;

/// The maximum number of lines of reasons, not counting the line that says how many more there are.
const REASON_LINES: usize = 4;

/// The name of a row of events, and the count that it shows.
type Row = (&'static str, fn(&Window) -> i64);

const ROWS: [Row; 7] = [
    ("assigned", |window| window.count(Outcome::is_assigned)),
    ("would be assigned", |window| window.count(|outcome| outcome == Outcome::WouldAssign)),
    ("need a person", |window| window.count(|outcome| outcome == Outcome::NeedsReview)),
    ("nobody found", |window| window.count(|outcome| outcome == Outcome::Unmatched)),
    ("no host", |window| window.count(|outcome| outcome == Outcome::NoHost)),
    ("dead letters", Window::dead_letters),
    ("nothing to assign", |window| window.count(|outcome| !outcome.should_assign())),
];

/// Show on one screen whether bookings are assigned, how fast, and what waits
///
/// Reads only, and shows what it can read while the database or the broker is unreachable.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Refresh after this many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5",
          value_parser = clap::value_parser!(u16).range(1..))]
    watch: Option<u16>,
    /// Only events, bookings, hosts and dead letters of this company
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: Option<CompanyId>,
}

/// Runs the command; fails when the configuration is invalid, or stdout cannot be written.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    // Logging is off unless requested: log lines would disturb the screen, which shows the problems anyway.
    let config = if global.is_verbose() { global.start(&[])? } else { global.load(&[])? }.config;
    let mut reader = StatusReader::new(&config, Scope::of(args.company));
    let Some(seconds) = args.watch else {
        let view = reader.read().await;
        reader.close().await;
        global.output.show(&json!({ "status": view }), || show(&view))?;
        return Ok(exit(&view));
    };
    let stop = shutdown::on_signals()?;
    let term = Term::stdout();
    let screen = std::io::stdout().is_terminal().then_some(&term);
    let every = Duration::from_secs(u64::from(seconds));
    loop {
        let view = tokio::select! {
            view = reader.read() => view,
            () = stop.cancelled() => break,
        };
        match global.output {
            Output::Json => output::json_line(&json!({ "status": view }))?,
            Output::Table => {
                if let Some(term) = screen {
                    term.clear_screen()?;
                }
                show(&view)?;
                if screen.is_none() {
                    output::print_line("")?;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => break,
        }
    }
    reader.close().await;
    Ok(Exit::Interrupted)
}

/// Writes as many lines as fit; the last line of a terminal is left for the cursor.
fn show(view: &StatusView) -> Result<(), Failure> {
    let rows = Term::stdout().size_checked().map(|(rows, _)| usize::from(rows).saturating_sub(1));
    output::print_line(&render(view, rows.unwrap_or(DEFAULT_LINES)))
}

fn exit(view: &StatusView) -> Exit {
    let unreachable = |problem: &Problem| problem.is_unreachable;
    if view.database_problem.as_ref().is_some_and(unreachable) {
        Exit::DatabaseUnreachable
    } else if view.queue_problem.as_ref().is_some_and(unreachable) {
        Exit::BrokerUnreachable
    } else if view.reasons.is_empty() {
        Exit::Done
    } else {
        Exit::Findings
    }
}

/// Renders the status in at most `max_lines` lines if possible, but never leaves out the important parts.
fn render(view: &StatusView, max_lines: usize) -> String {
    let mut lines = head(view);
    lines.extend(view.events.as_ref().map(events).unwrap_or_default());
    lines.extend(details(view));
    if let Some(workers) = &view.workers {
        let room = max_lines.saturating_sub(lines.len());
        lines.extend(table(workers, room));
    }
    // Messages of servers may be long and have several lines.
    lines.iter().map(|line| output::shortened(line, WIDTH)).collect::<Vec<_>>().join("\n")
}

fn head(view: &StatusView) -> Vec<String> {
    let company = view.company.map_or_else(String::new, |company| format!(", company {company}"));
    let title = format!("hostmatch status{company}");
    let width = WIDTH.saturating_sub(title.chars().count());
    let mut lines = vec![format!("{title}{:>width$}", output::moment(view.at))];
    let word = match (view.state, view.assigning) {
        (State::NotWorking, _) => "NOT WORKING",
        (State::Attention, Assigning::Observing) => "ATTENTION: it only observes, and",
        (State::Attention, Assigning::Yes) => "ATTENTION: bookings are assigned, and",
        (State::Attention, _) => "ATTENTION",
        (State::Ok, Assigning::Observing) => "OK: it only observes, and does not assign (worker.mode)",
        (State::Ok, _) => "OK: bookings are assigned",
    };
    lines.push(word.to_owned());
    let mut reasons = view.reasons.iter().peekable();
    let mut room = REASON_LINES;
    while let Some(reason) = reasons.next_if(|reason| wrapped(&reason.message).len() <= room) {
        let wrapped = wrapped(&reason.message);
        room -= wrapped.len();
        lines.extend(wrapped);
    }
    let left = reasons.count();
    lines.extend((left > 0).then(|| format!("* … and {left} more (--output json)")));
    lines
}

fn events(events: &Events) -> Vec<String> {
    let windows = [&events.last_minute, &events.last_15_minutes, &events.last_hour, &events.last_day];
    let row = |name: &str, cell: &dyn Fn(&Window) -> String| {
        let cells: String = windows.iter().map(|window| format!("{:>11}", cell(window))).collect();
        format!("{name:<20}{cells}")
    };
    let heads: String = ["1 min", "15 min", "1 h", "24 h"].iter().map(|head| format!("{head:>11}")).collect();
    let mut lines = vec![format!("{:<20}{heads}", "EVENTS DECIDED IN")];
    // Leaves out rows of zeros, except those where zero is good news.
    let always = ["assigned", "need a person", "nobody found", "dead letters"];
    for (name, count) in ROWS {
        if always.contains(&name) || windows.iter().any(|window| count(window) > 0) {
            lines.push(row(&format!("  {name}"), &|window| count(window).to_string()));
        }
    }
    let share = |window: &Window| dash(window.assigned_percent.map(|it| format!("{it} %")));
    lines.push(row("  share assigned", &share));
    lines
}

fn details(view: &StatusView) -> Vec<String> {
    let now_ms = view.at;
    let mut lines = Vec::new();
    let mut add = |name: &str, text: String| lines.push(format!("{name:<13}{text}"));
    if let Some(age) = &view.age {
        let [p50, p95, max] = [age.p50_ms, age.p95_ms, age.max_ms].map(short);
        let events = pluralize(age.events, "event", "events");
        add("AGE", format!("p50 {p50}, p95 {p95}, max {max}, of {events} in 15 min"));
    }
    if let Some(queue) = &view.queue {
        let known = |what: &str, count: Option<u64>| count.map(|it| format!("{it} {what}"));
        let parts = [
            known("ready", Some(queue.ready)),
            known("in progress", queue.in_hand),
            known("waiting for another attempt", Some(queue.waiting)),
            known("dead", Some(queue.dead).filter(|dead| *dead > 0)),
            queue.consumers.map(|count| pluralize(count, "consumer", "consumers")),
        ];
        add("QUEUE", parts.into_iter().flatten().collect::<Vec<_>>().join(", "));
    }
    if let Some(spool) = &view.spool {
        let oldest =
            (spool.messages > 0).then(|| format!(", the oldest {} old", seconds(spool.oldest_seconds)));
        let aside = (spool.set_aside > 0).then(|| format!(", {} set aside", spool.set_aside));
        let [oldest, aside] = [oldest, aside].map(Option::unwrap_or_default);
        let events = pluralize(spool.messages, "event", "events");
        add("SPOOL", format!("{events}{oldest}{aside}, {} KiB", spool.bytes.div_ceil(1024)));
    }
    if let Some(bookings) = &view.unassigned {
        let next = bookings.next_ms.map_or_else(String::new, |ms| format!(", next in {}", span(ms - now_ms)));
        let (day, week, all) = (bookings.day, bookings.week, bookings.all);
        add("NO STAFF", format!("{day} within 24 h, {week} within 7 d, {all} in all{next}"));
    }
    for (name, part) in [("INBOX", &view.inbox), ("DEAD LETTERS", &view.dead_letters)] {
        part.iter().for_each(|waiting| add(name, waiting_summary(waiting, now_ms)));
    }
    lines
}

fn waiting_summary(waiting: &Waiting, now_ms: i64) -> String {
    let mut reasons: Vec<_> = waiting.by_reason.iter().filter(|(_, count)| **count > 0).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let oldest = waiting.oldest.map(|ms| format!(", oldest {}", span(now_ms - ms))).unwrap_or_default();
    let mut listed: Vec<String> =
        reasons.iter().take(3).map(|(reason, count)| format!("{count} {reason}")).collect();
    if reasons.len() > listed.len() {
        listed.push("…".to_owned());
    }
    let list = if listed.is_empty() { String::new() } else { format!(": {}", listed.join(", ")) };
    format!("{} open{oldest}{list}", waiting.open)
}

/// Renders as many workers as fit: first those that are gone, then those with the oldest heartbeat.
fn table(workers: &[WorkerRow], room: usize) -> Vec<String> {
    let count = running(workers).count();
    let gone = workers.len() - count;
    let mut versions: Vec<&str> = running(workers).map(|worker| worker.worker.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let observing = running(workers).filter(|worker| worker.worker.mode == "observe").count();
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
    // The table has a header and at least one row, or is left out.
    let room = room.saturating_sub(2);
    if workers.is_empty() || room < workers.len().min(2) {
        return lines;
    }
    let cells = |cells: [&str; 7]| {
        let [name, version, mode, up, seen, done, failed] = cells;
        let name = keep_end(name, 25);
        format!("  {name:<25} {version:<9} {mode:<8}{up:>10}{seen:>8}{done:>9}{failed:>7}")
    };
    lines.push(cells(["HOST:PID", "VERSION", "MODE", "UP", "SEEN", "DONE", "DEAD"]));
    let mut sorted: Vec<&WorkerRow> = workers.iter().collect();
    sorted.sort_by_key(|worker| std::cmp::Reverse((worker.gone, worker.seen_seconds)));
    let shown = if sorted.len() > room { room - 1 } else { room };
    for row in sorted.iter().take(shown) {
        let (worker, work) = (&row.worker, &row.work);
        let mode = if row.gone { "gone" } else { &worker.mode };
        lines.push(cells([
            &format!("{}:{}", worker.host, worker.pid),
            &worker.version,
            mode,
            &seconds(row.up_seconds.saturating_sub(if row.gone { row.seen_seconds } else { 0 })),
            &seconds(row.seen_seconds),
            &work.finished.to_string(),
            &work.failed.to_string(),
        ]));
    }
    let left = sorted.len().saturating_sub(shown);
    lines.extend((left > 0).then(|| format!("  … and {left} more (--output json)")));
    lines
}

/// Wraps a reason into lines.
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

/// Shortens a name to its end, which is more distinctive than its beginning.
fn keep_end(name: &str, max_chars: usize) -> String {
    let count = name.chars().count();
    if count <= max_chars {
        name.to_owned()
    } else {
        format!("…{}", name.chars().skip(count - max_chars + 1).collect::<String>())
    }
}

/// Renders seconds like [`span`].
fn seconds(seconds: u64) -> String {
    span(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1000))
}

/// Renders a short time: `40 ms`, `2.1 s`, longer ones like [`span`].
fn short(ms: i64) -> String {
    match ms {
        ..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
        _ => span(ms),
    }
}
