//! `deadletters discard|restore|note`: what a person decides, with the reason, for the record.

use serde_json::json;

use super::filter::Choosing;
use super::told;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::operator::who;
use crate::cli::output::{self, Output};
use crate::runtime::clock::now_ms;
use crate::store::{
    Acted, Database, DeadLetterFilter, LetterState, NewAct, dead_letter_ids, discard, groups, note, restore,
};

/// Which letters, and why
#[derive(Debug, clap::Args)]
pub(super) struct Deed {
    #[command(flatten)]
    which: Choosing,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Write a note on a group, shown with it from then on
#[derive(Debug, clap::Args)]
pub(super) struct Note {
    /// The group's fingerprint, or its beginning
    group: String,
    /// What there is to know
    text: String,
}

/// What is done with letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Discard,
    Restore,
}

/// Runs `discard` and `restore`.
///
/// # Errors
/// When nothing was chosen, it is not confirmed, or the database cannot be reached.
pub(super) async fn run(
    output: Output,
    what: What,
    args: &Deed,
    database: &Database,
) -> Result<Exit, Failure> {
    let (action, done_to, from) = match what {
        What::Discard => ("discard", "discarded", LetterState::Open),
        What::Restore => ("restore", "restored", LetterState::Discarded),
    };
    let filter = args.which.chosen()?;
    let chosen = DeadLetterFilter { state: Some(from), ..filter.clone() };
    let mut ids = database.in_time(dead_letter_ids(database, &chosen)).await?;
    // Those that were named are answered for, whatever they are.
    ids.extend(filter.ids.iter().filter(|id| !ids.contains(id)).copied().collect::<Vec<_>>());
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Err(Failure::new(Exit::NotFound, format!("no {from} dead letter is chosen by this")));
    }
    if !args.yes && output::confirm(&format!("{action} {} dead letters?", ids.len()))? != Some(true) {
        let text = format!("nothing was {done_to}: it needs a confirmation, on a terminal or with --yes");
        return Err(Failure::new(Exit::NeedsConfirmation, text));
    }
    let act = NewAct {
        action,
        made_by: who().to_string(),
        at_ms: now_ms(),
        why: Some(args.reason.clone()),
        chosen: serde_json::to_string(&filter).ok(),
        ..NewAct::default()
    };
    let acted = match what {
        What::Discard => discard(database, &ids, &act).await?,
        What::Restore => restore(database, &ids, &act).await?,
    };
    let Acted { done, refused } = acted;
    match output {
        Output::Json => {
            let refused: Vec<_> = refused.iter().map(|(id, why)| json!({ "id": id, "why": why })).collect();
            output::json(&json!({ done_to: done, "refused": refused }))?;
        }
        Output::Table => {
            output::line(&format!("{} {done_to}", done.len()))?;
            told::left_out(&refused)?;
        }
    }
    Ok(match (done.is_empty(), refused.is_empty()) {
        (_, true) => Exit::Done,
        (true, false) => Exit::NotFound,
        (false, false) => Exit::Partial,
    })
}

/// Runs `note`.
///
/// # Errors
/// When there is no such group, or several, or the database cannot be reached.
pub(super) async fn run_note(output: Output, args: &Note, database: &Database) -> Result<Exit, Failure> {
    let filter = DeadLetterFilter { fingerprint: Some(args.group.clone()), ..DeadLetterFilter::default() };
    let mut found: Vec<String> = database
        .in_time(groups(database, &filter, 0, 10))
        .await?
        .into_iter()
        .map(|group| group.fingerprint)
        .collect();
    found.dedup();
    let group = match found.as_slice() {
        [] => return Err(Failure::new(Exit::NotFound, format!("there is no group {}", args.group))),
        [group] => group.clone(),
        several => {
            let text = format!("several groups begin so: {}", several.join(", "));
            return Err(Failure::new(Exit::Usage, text));
        }
    };
    let act = NewAct {
        action: "note",
        made_by: who().to_string(),
        at_ms: now_ms(),
        why: Some(args.text.clone()),
        fingerprint: Some(group.clone()),
        ..NewAct::default()
    };
    database.in_time(note(database, &act)).await?;
    match output {
        Output::Json => output::json(&json!({ "group": group, "note": args.text }))?,
        Output::Table => output::line(&format!("Noted on group {group}"))?,
    }
    Ok(Exit::Done)
}
