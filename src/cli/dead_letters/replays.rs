//! `deadletters replays`: plans and replays, and what is to become of them.

use clap::Subcommand;
use serde::Serialize;
use serde_json::json;

use super::replay::carry_out;
use super::told;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::operator::who;
use crate::cli::output::{self, Output};
use crate::config::Config;
use crate::replay::{ReplayError, Report, Start, cancel, cancel_and_give_up, pause, stuck};
use crate::runtime::clock::now_ms;
use crate::store::{
    Act, Database, ItemRow, ReplayRow, ReplayState, acts, items, on_the_way_since, replay, replays, shares,
};

/// On the way for so long, letters may have been lost.
const STILL_MS: i64 = 60_000;

/// Plans and replays: list, show, pause, resume, cancel
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Plans and replays, newest first
    List {
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// Only older ones than this
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
    },
    /// One: what was foretold, what became of it, who did what
    Show {
        id: i64,
        /// Its letters too
        #[arg(long)]
        items: bool,
        /// Its letters with this result, such as failed
        #[arg(long, value_name = "RESULT")]
        result: Option<String>,
    },
    /// Send nothing more until it is resumed
    Pause { id: i64 },
    /// Go on with one that was paused, or whose process has died
    Resume {
        id: i64,
        /// Send those once more that are on the way: their copies are lost. (Should they not be, each
        /// is decided once all the same.)
        #[arg(long)]
        resend: bool,
    },
    /// End it: what is on the way is finished, the rest stays as it is
    Cancel {
        id: i64,
        /// Give up those that are on the way too: their copies are lost, and they are open again. Also
        /// of a replay that has ended
        #[arg(long)]
        give_up: bool,
    },
}

/// One plan or replay. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Serialize)]
struct Line {
    id: i64,
    state: &'static str,
    letters: i32,
    made_by: String,
    why: Option<String>,
    chosen: serde_json::Value,
    rate: Option<String>,
    canary: Option<i32>,
    stop_on_failure: Option<i32>,
    ended_because: Option<String>,
    created: String,
    expires: String,
    started: Option<String>,
    ended: Option<String>,
}

impl From<ReplayRow> for Line {
    fn from(row: ReplayRow) -> Self {
        Self {
            state: state(&row),
            id: row.id,
            letters: row.total,
            made_by: row.made_by,
            why: row.why,
            chosen: serde_json::from_str(&row.chosen).unwrap_or_default(),
            rate: row.rate,
            canary: row.canary,
            stop_on_failure: row.stop_percent,
            ended_because: row.ended_because,
            created: output::moment(row.created_ms),
            expires: output::moment(row.expires_ms),
            started: row.started_ms.map(output::moment),
            ended: row.ended_ms.map(output::moment),
        }
    }
}

/// A plan can expire, and whoever runs a replay can die, without anybody noting it.
fn state(row: &ReplayRow) -> &'static str {
    let now_ms = now_ms();
    match row.state {
        ReplayState::Planned if row.expires_ms <= now_ms => "expired",
        ReplayState::Running if row.lease_until_ms.is_none_or(|until| until <= now_ms) => "interrupted",
        state => state.as_str(),
    }
}

/// Runs the command.
///
/// # Errors
/// When there is no such replay, it is not in a state for this, or the database cannot be reached.
pub(super) async fn run(
    output: Output,
    args: &Args,
    config: &Config,
    database: &Database,
) -> Result<Exit, Failure> {
    match &args.command {
        Command::List { limit, before } => {
            let rows = database.in_time(replays(database, *before, *limit)).await?;
            list(output, rows.into_iter().map(Line::from).collect())
        }
        Command::Show { id, items, result } => {
            show(output, *id, (*items || result.is_some(), result.as_deref()), database).await
        }
        Command::Pause { id } => {
            pause(database, *id, who().as_str()).await?;
            done(output, *id, "paused; what is on the way is finished by the worker")
        }
        Command::Resume { id, resend } => {
            carry_out(output, *id, Start::Resume { resend: *resend }, config, database).await
        }
        Command::Cancel { id, give_up: true } => {
            let letters = cancel_and_give_up(database, *id, who().as_str()).await?;
            done(output, *id, &format!("ended; {letters} on the way were given up and are open again"))
        }
        Command::Cancel { id, give_up: false } => {
            cancel(database, *id, who().as_str()).await?;
            done(output, *id, "cancelled; what is on the way is finished by the worker")
        }
    }
}

fn done(output: Output, id: i64, what: &str) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::json(&json!({ "replay": id, "said": what }))?,
        Output::Table => output::line(&format!("Replay {id} is {what}"))?,
    }
    Ok(Exit::Done)
}

fn list(output: Output, lines: Vec<Line>) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::json(&json!({ "replays": lines }))?,
        Output::Table if lines.is_empty() => output::line("No plans and no replays.")?,
        Output::Table => {
            let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let rows = lines.into_iter().map(|line| {
                [
                    line.id.to_string(),
                    line.state.to_owned(),
                    line.letters.to_string(),
                    line.created,
                    dash(line.ended),
                    line.made_by,
                    dash(line.why),
                ]
            });
            output::table(&["ID", "STATE", "LETTERS", "PLANNED", "ENDED", "BY", "WHY"], rows)?;
        }
    }
    Ok(Exit::Done)
}

async fn show(
    output: Output,
    id: i64,
    (with_items, result): (bool, Option<&str>),
    database: &Database,
) -> Result<Exit, Failure> {
    let Some(row) = database.in_time(replay(database, id)).await? else {
        return Err(ReplayError::Unknown(id).into());
    };
    let report = Report::of(&database.in_time(shares(database, id)).await?);
    let acts = database.in_time(acts(database, None, Some(id))).await?;
    let letters = if with_items { all_items(id, result, database).await? } else { Vec::new() };
    let line = Line::from(row);
    let since = database.in_time(on_the_way_since(database, id)).await?;
    if output == Output::Json {
        output::json(&json!({
            "replay": line, "report": report, "acts": acts.iter().map(act).collect::<Vec<_>>(),
            "on_the_way_since": since.map(output::moment),
            "items": with_items.then(|| letters.iter().map(item).collect::<Vec<_>>()),
        }))?;
        return Ok(Exit::Done);
    }
    output::line(&format!("Replay {id}  ({}), {} dead letters", line.state, line.letters))?;
    if let Some(because) = &line.ended_because {
        output::line(&format!("Because: {because}"))?;
    }
    output::line("Foretold:")?;
    told::foretold(&report)?;
    if !report.results.is_empty() || report.on_the_way > 0 {
        output::line("Became:")?;
        told::became(&report)?;
    }
    if let Some(since) = since.filter(|since| now_ms() - since > STILL_MS) {
        output::line(&format!("Since {}: {}", output::moment(since), stuck(id)))?;
    }
    output::line("Who:")?;
    output::table(&[], acts.iter().map(act_cells))?;
    if with_items {
        let cells = |item: &ItemRow| {
            let with = |what: &str, why: &Option<String>| {
                why.as_ref().map_or_else(|| what.to_owned(), |why| format!("{what} ({why})"))
            };
            let result = item.result.as_deref().unwrap_or(item.state.as_ref());
            [
                item.letter.to_string(),
                with(&item.predicted, &item.predicted_reason),
                with(result, &item.result_reason),
            ]
        };
        output::table(&["LETTER", "FORETOLD", "BECAME"], letters.iter().map(cells))?;
    }
    Ok(Exit::Done)
}

async fn all_items(id: i64, result: Option<&str>, database: &Database) -> Result<Vec<ItemRow>, Failure> {
    const PAGE: u64 = 1000;
    let mut all: Vec<ItemRow> = Vec::new();
    loop {
        let after = all.last().map_or(0, |item| item.letter);
        let some = database.in_time(items(database, id, result, after, PAGE)).await?;
        let is_last = (some.len() as u64) < PAGE;
        all.extend(some);
        if is_last {
            return Ok(all);
        }
    }
}

fn item(item: &ItemRow) -> serde_json::Value {
    json!({
        "letter": item.letter, "state": item.state,
        "foretold": item.predicted, "foretold_reason": item.predicted_reason,
        "result": item.result, "result_reason": item.result_reason,
    })
}

/// What somebody did, as JSON.
pub(super) fn act(act: &Act) -> serde_json::Value {
    json!({
        "at": output::moment(act.at_ms), "action": act.action, "by": act.made_by, "why": act.why,
        "replay": act.replay, "letters": act.letters,
    })
}

/// What somebody did, for a table.
pub(super) fn act_cells(act: &Act) -> [String; 4] {
    let what = match act.replay {
        Some(replay) => format!("{} (replay {replay})", act.action),
        None => act.action.clone(),
    };
    [
        format!("  {}", output::moment(act.at_ms)),
        what,
        act.made_by.clone(),
        act.why.clone().unwrap_or_default(),
    ]
}
