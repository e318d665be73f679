//! `deadletters replays`: plans and replays, and what is to become of them.

use serde_json::json;

use super::replay::{became, carry_out, foretold};
use crate::app::AppContext;
use crate::app::dead_letters::Act;
use crate::app::replay::{self, Beginning, ReplayDetails, ReplaysView};
use crate::cli::{Exit, Failure, Output, output, output::dash};

/// The command that shows what there is.
pub(super) const LIST: &str = "hostmatch deadletters replays list";

/// Plans and replays: list, show, pause, resume, cancel
#[derive(Debug, clap::Subcommand)]
pub(in crate::cli) enum Command {
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

impl Command {
    pub(super) fn only_reads(&self) -> bool {
        matches!(self, Self::List { .. } | Self::Show { .. })
    }
}

pub(super) async fn run(output: Output, command: &Command, context: &AppContext) -> Result<Exit, Failure> {
    let done = match command {
        Command::List { limit, before } => {
            return list(output, &replay::list(context, *before, *limit).await?);
        }
        Command::Resume { id, resend } => {
            let beginning = Beginning::Again { resend: *resend };
            return carry_out(output, *id, &beginning, None, context).await;
        }
        Command::Show { id, items, result } => {
            let shown = replay::show(context, *id, *items, result.as_deref()).await;
            let shown = shown.map_err(|error| Failure::with_list(error, LIST))?;
            return output.show(&shown, || describe(*id, &shown));
        }
        Command::Pause { id } => {
            let done = replay::pause(context, *id).await;
            done.map(|()| (*id, "paused; what is on the way is finished by the worker".to_owned()))
        }
        Command::Cancel { id, give_up: true } => {
            let done = replay::cancel_and_give_up(context, *id).await;
            let said = |letters| format!("ended; {letters} on the way were given up and are open again");
            done.map(|letters| (*id, said(letters)))
        }
        Command::Cancel { id, give_up: false } => {
            let done = replay::cancel(context, *id).await;
            done.map(|()| (*id, "cancelled; what is on the way is finished by the worker".to_owned()))
        }
    };
    let (id, said) = done.map_err(|error| Failure::with_list(error, LIST))?;
    let shown = json!({ "replay": id, "said": said });
    output.show(&shown, || output::line(&format!("Replay {id} is {said}")))
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
    output::line(&format!("Replay {id}  ({}), {} dead letters", replay.state, replay.letters))?;
    if let Some(because) = &replay.ended_because {
        output::line(&format!("Because: {because}"))?;
    }
    output::line("Foretold:")?;
    foretold(report)?;
    if !report.results.is_empty() || report.on_the_way > 0 {
        output::line("Became:")?;
        became(report)?;
    }
    if let Some(since) = shown.on_the_way_since_ms.filter(|_| shown.is_stuck()) {
        output::line(&format!("Since {}: {}", output::moment(since), stuck(id)))?;
    }
    output::line("Who:")?;
    output::table(&[], shown.acts.iter().map(act_cells))?;
    if let Some(items) = &shown.items {
        let with = |what: &str, why: &Option<String>| {
            why.as_ref().map_or_else(|| what.to_owned(), |why| format!("{what} ({why})"))
        };
        let rows = items.iter().map(|item| {
            let result = item.result.as_deref().unwrap_or(item.state.as_ref());
            let predicted = with(&item.predicted, &item.predicted_reason);
            [item.letter.to_string(), predicted, with(result, &item.result_reason)]
        });
        output::table(&["LETTER", "FORETOLD", "BECAME"], rows)?;
    }
    Ok(())
}

/// What can be done about letters that do not come back.
pub(super) fn stuck(id: i64) -> String {
    format!(
        "nothing has come back for a while. Is a worker running, or is the retry schedule long? If the copies \
         are lost: `hostmatch deadletters replays resume {id} --resend` sends them once more, `hostmatch \
         deadletters replays cancel {id} --give-up` opens their letters again"
    )
}

/// What somebody did, for a table.
pub(super) fn act_cells(act: &Act) -> [String; 4] {
    let replay = act.replay.map(|replay| format!(" (replay {replay})")).unwrap_or_default();
    [
        format!("  {}", output::moment(act.at_ms)),
        format!("{}{replay}", act.action),
        act.made_by.clone(),
        act.why.clone().unwrap_or_default(),
    ]
}
