//! `hostmatch status`: is it assigning, how fast, what waits, and for whom? One screen.

mod look;
mod screen;
mod seen;
mod verdict;

use std::io::IsTerminal as _;
use std::time::Duration;

use console::Term;
use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use super::output::{self, Output};
use crate::event::CompanyId;
use crate::runtime::shutdown;
use look::Look;
use seen::{Seen, Trouble};

/// Lines of a screen where nobody tells how many there are.
const LINES: usize = 24;

/// Is it assigning, how fast, what waits, and for whom: one screen of text
///
/// Reads only, and shows what it can when the database or the broker is away.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Look again every so many seconds, until interrupted
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5",
          value_parser = clap::value_parser!(u16).range(1..))]
    watch: Option<u16>,
    /// Events, bookings, hosts and dead letters only of this company
    #[arg(long, value_name = "N")]
    company: Option<i64>,
}

/// Runs the command.
///
/// # Errors
/// When the configuration makes no sense, or stdout cannot be written.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    // What is written to a terminal beside the screen would be in it: what is wrong is shown there anyway.
    let config = if global.is_verbose() { global.start(&[])? } else { global.load(&[])? }.config;
    let mut look = Look::new(&config, args.company.map(CompanyId));
    let Some(seconds) = args.watch else {
        let seen = look.at_everything().await;
        look.close().await;
        match global.output {
            Output::Json => output::json(&json!({ "status": seen }))?,
            Output::Table => show(&seen)?,
        }
        return Ok(exit(&seen));
    };
    let stop = shutdown::on_signals()?;
    let term = Term::stdout();
    let screen = std::io::stdout().is_terminal().then_some(&term);
    let every = Duration::from_secs(u64::from(seconds));
    loop {
        let seen = tokio::select! {
            seen = look.at_everything() => seen,
            () = stop.cancelled() => break,
        };
        match global.output {
            Output::Json => output::json_line(&json!({ "status": seen }))?,
            Output::Table => {
                if let Some(term) = screen {
                    term.clear_screen()?;
                }
                show(&seen)?;
                if screen.is_none() {
                    output::line("")?;
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => break,
        }
    }
    look.close().await;
    Ok(Exit::Interrupted)
}

/// As much as there is room for; the last line of a terminal is left to its cursor.
fn show(seen: &Seen) -> Result<(), Failure> {
    let rows = Term::stdout().size_checked().map(|(rows, _)| usize::from(rows).saturating_sub(1));
    output::line(&screen::text(seen, rows.unwrap_or(LINES)))
}

fn exit(seen: &Seen) -> Exit {
    let away = |part: &Trouble| part.is_away;
    if seen.database.as_ref().is_some_and(away) {
        Exit::DatabaseUnreachable
    } else if seen.queue_trouble.as_ref().is_some_and(away) {
        Exit::BrokerUnreachable
    } else if seen.reasons.is_empty() {
        Exit::Done
    } else {
        Exit::Findings
    }
}
