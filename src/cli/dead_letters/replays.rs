//! `deadletters replays`: lists, shows, pauses, resumes and cancels plans and replays.

use serde_json::json;

use super::replay::{carry_out, print_predictions, print_results};
use crate::app::dead_letters::RecordedLetterAction;
use crate::app::replay::{self, ReplayDetails, ReplayStart, ReplaysView};
use crate::app::{AppContext, pluralize};
use crate::cli::{Exit, Failure, Output, output, output::dash};

/// The command that lists plans and replays.
pub(super) const LIST: &str = "hostmatch deadletters replays list";

/// Plans and replays: list, show, pause, resume, cancel
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Command {
    /// Plans and replays, newest first
    List {
        /// At most this many
        #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
        limit: u64,
        /// Only plans and replays older than this id
        #[arg(long, value_name = "ID")]
        before: Option<i64>,
    },
    /// One plan or replay: its predictions, its results, and who did what
    Show {
        id: i64,
        /// Also list its letters
        #[arg(long)]
        items: bool,
        /// List its letters with this result, such as failed
        #[arg(long, value_name = "RESULT")]
        result: Option<String>,
    },
    /// Send no more letters until the replay is resumed
    Pause { id: i64 },
    /// Resume a replay that was paused, or whose process has died
    Resume {
        id: i64,
        /// Send the letters in flight again, because their copies are lost. (If they are not lost, each
        /// is still decided only once.)
        #[arg(long)]
        resend: bool,
    },
    /// End a replay: letters in flight are finished, the others stay as they are
    Cancel {
        id: i64,
        /// Give up the letters in flight, because their copies are lost: they are open again. Also works
        /// for a replay that has ended
        #[arg(long)]
        give_up: bool,
    },
}

impl Command {
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. })
    }
}

pub(super) async fn run(output: Output, command: &Command, context: &AppContext) -> Result<Exit, Failure> {
    let done = match command {
        Command::List { limit, before } => {
            return list(output, &replay::list(context, *before, *limit).await?);
        }
        Command::Resume { id, resend } => {
            let start = ReplayStart::Again { resend: *resend };
            return carry_out(output, *id, &start, None, context).await;
        }
        Command::Show { id, items, result } => {
            let shown = replay::show(context, *id, *items, result.as_deref()).await;
            let shown = shown.map_err(|error| Failure::with_list_hint(error, LIST))?;
            return output.show(&shown, || describe(*id, &shown));
        }
        Command::Pause { id } => {
            let done = replay::pause(context, *id).await;
            done.map(|()| (*id, "paused; the worker finishes the letters in flight".to_owned()))
        }
        Command::Cancel { id, give_up: true } => {
            let done = replay::cancel_and_give_up(context, *id).await;
            let count = |letters| {
                pluralize(
                    letters,
                    "letter in flight was given up and is",
                    "letters in flight were given up and are",
                )
            };
            done.map(|letters| (*id, format!("over; {} open again", count(letters))))
        }
        Command::Cancel { id, give_up: false } => {
            let done = replay::cancel(context, *id).await;
            done.map(|()| (*id, "cancelled; the worker finishes the letters in flight".to_owned()))
        }
    };
    let (id, said) = done.map_err(|error| Failure::with_list_hint(error, LIST))?;
    let shown = json!({ "replay": id, "said": said });
    output.show(&shown, || output::print_line(&format!("Replay {id} is {said}")))
}

fn list(output: Output, view: &ReplaysView) -> Result<Exit, Failure> {
    output.list(view, &view.replays, "No plans and no replays.", |replays| {
        let rows = replays.iter().map(|one| {
            let (letters, ended) = (one.letters.to_string(), dash(one.ended.as_ref()));
            let [state, created, by] = [&one.state, &one.created, &one.made_by].map(String::clone);
            [one.id.to_string(), state, letters, created, ended, by, dash(one.why.as_ref())]
        });
        output::table(&["ID", "STATE", "LETTERS", "PLANNED", "ENDED", "BY", "WHY"], rows)
    })
}

fn describe(id: i64, shown: &ReplayDetails) -> Result<(), Failure> {
    let ReplayDetails { replay, report, .. } = shown;
    let letters = pluralize(replay.letters, "dead letter", "dead letters");
    output::print_line(&format!("Replay {id}  ({}), {letters}", replay.state))?;
    if let Some(because) = &replay.ended_because {
        output::print_line(&format!("Because: {because}"))?;
    }
    output::print_line("Predicted:")?;
    print_predictions(report)?;
    if !report.results.is_empty() || report.in_flight > 0 {
        output::print_line("Results:")?;
        print_results(report)?;
    }
    if let Some(since) = shown.in_flight_since_ms.filter(|_| shown.is_stuck()) {
        output::print_line(&format!("Since {}: {}", output::moment(since), stuck_hint(id)))?;
    }
    output::print_line("History:")?;
    output::table(&[], shown.actions.iter().map(action_columns))?;
    if let Some(items) = &shown.items {
        let with = |what: &str, why: &Option<String>| {
            why.as_ref().map_or_else(|| what.to_owned(), |why| format!("{what} ({why})"))
        };
        let rows = items.iter().map(|item| {
            let result = item.result.as_deref().unwrap_or(item.state.as_ref());
            let predicted = with(&item.predicted, &item.predicted_reason);
            [item.letter.to_string(), predicted, with(result, &item.result_reason)]
        });
        output::table(&["LETTER", "PREDICTED", "RESULT"], rows)?;
    }
    Ok(())
}

/// Describes what to do about letters that have had no result for a while.
pub(super) fn stuck_hint(id: i64) -> String {
    format!(
        "no result for a while. Is a worker running, or is the retry schedule long? If the copies are lost: \
         `hostmatch deadletters replays resume {id} --resend` sends them again, `hostmatch deadletters \
         replays cancel {id} --give-up` reopens their letters"
    )
}

/// Renders an action as columns of a table.
pub(super) fn action_columns(action: &RecordedLetterAction) -> [String; 4] {
    let replay = action.replay.map(|replay| format!(" (replay {replay})")).unwrap_or_default();
    [
        format!("  {}", output::moment(action.at_ms)),
        format!("{}{replay}", action.action),
        action.made_by.clone(),
        action.why.clone().unwrap_or_default(),
    ]
}
