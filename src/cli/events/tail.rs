//! `events tail`: the last events, oldest first, and then each one as it is decided.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::filter::Filter;
use super::line::{HEAD, Line};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Output};
use crate::runtime::shutdown::{self, Shutdown};
use crate::store::{Database, EventFilter, RecordedEvent, StoreError, StoreErrorKind, recorded_events};

/// How often to look.
const EVERY: Duration = Duration::from_millis(500);

/// An event is written when its transaction ends, and bears the time at which it was decided. So far
/// back it is looked for.
const BACK_MS: i64 = 15_000;

/// Rows read at a time.
const PAGE: u64 = 500;

/// The last events, and then each one as it is decided, until it is interrupted
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    filter: Filter,
    /// How many of the past
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    lines: u64,
}

/// Runs the command. A database that is away is waited for.
///
/// # Errors
/// When the database cannot be reached at the start, or refuses.
pub(super) async fn run(output: Output, args: &Args, database: &Database) -> Result<Exit, Failure> {
    let stop = shutdown::on_signals()?;
    let mut tail = Tail { database, filter: args.filter.chosen(None), shown: HashMap::new(), newest_ms: 0 };
    let mut head = output == Output::Table;
    let mut rows = tail.past(args.lines).await?;
    let mut away = false;
    loop {
        for row in rows.drain(..) {
            show(output, row, &mut head)?;
        }
        if pause(&stop).await {
            return Ok(Exit::Done);
        }
        match tail.fresh().await {
            Ok(new) => (rows, away) = (new, false),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                if !away {
                    tracing::warn!(%error, "waiting for the database");
                }
                away = true;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether it is over.
async fn pause(stop: &Shutdown) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = tokio::time::sleep(EVERY) => false,
    }
}

struct Tail<'a> {
    database: &'a Database,
    filter: EventFilter,
    /// What was shown of those that may be found again: when it was decided, and how.
    shown: HashMap<String, (i64, String)>,
    newest_ms: i64,
}

impl Tail<'_> {
    /// The last ones, oldest first; what is older counts as shown.
    async fn past(&mut self, lines: u64) -> Result<Vec<RecordedEvent>, StoreError> {
        // One at least: what is fresh is told by the newest, and without it all would be.
        let mut past = self.page(&self.filter, lines.max(1)).await?;
        self.newest_ms = past.first().map_or(0, |row| row.decided_ms);
        past.truncate(usize::try_from(lines).unwrap_or(usize::MAX));
        past.reverse();
        let oldest = past.first().filter(|_| past.len() as u64 == lines).map(place);
        let known: HashSet<String> = past.iter().map(|row| row.id.clone()).collect();
        // What came between the two looks.
        let late = |row: &RecordedEvent| {
            !known.contains(&row.id) && oldest.as_ref().is_none_or(|oldest| place(row) > *oldest)
        };
        let found = self.fresh().await?;
        if lines > 0 {
            past.extend(found.into_iter().filter(late));
        }
        Ok(past)
    }

    /// Those that have not been shown, oldest first.
    async fn fresh(&mut self) -> Result<Vec<RecordedEvent>, StoreError> {
        let from = self.newest_ms.saturating_sub(BACK_MS);
        let mut filter = EventFilter { since_ms: Some(from), ..self.filter.clone() };
        let mut new = Vec::new();
        loop {
            let rows = self.page(&filter, PAGE).await?;
            let Some(last) = rows.last().filter(|_| rows.len() as u64 == PAGE) else {
                new.extend(rows);
                break;
            };
            filter.before = Some((last.decided_ms, last.id.clone()));
            new.extend(rows);
        }
        new.retain(|row| {
            let now = (row.decided_ms, row.outcome.clone());
            self.shown.insert(row.id.clone(), now.clone()) != Some(now)
        });
        new.reverse();
        self.newest_ms = new.iter().map(|row| row.decided_ms).fold(self.newest_ms, i64::max);
        let from = self.newest_ms.saturating_sub(BACK_MS);
        self.shown.retain(|_, (decided_ms, _)| *decided_ms >= from);
        Ok(new)
    }

    async fn page(&self, filter: &EventFilter, limit: u64) -> Result<Vec<RecordedEvent>, StoreError> {
        self.database.in_time(recorded_events(self.database, filter, limit)).await
    }
}

/// Its place in the order of the list.
fn place(row: &RecordedEvent) -> (i64, String) {
    (row.decided_ms, row.id.clone())
}

/// One line, written as soon as it is known; the head of the table before the first one.
fn show(output: Output, row: RecordedEvent, head: &mut bool) -> Result<(), Failure> {
    let line = Line::from(row);
    if output == Output::Json {
        return output::json_line(&line);
    }
    if std::mem::take(head) {
        output::line(&HEAD.join("  "))?;
    }
    output::line(&line.cells().join("  "))
}
