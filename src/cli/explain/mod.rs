//! `hostmatch match`; and `match explain`: which strategies were tried on what, what each found, what was
//! decided, and what would happen to the appointment. Writes nothing.

mod subject;
mod table;

use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::{Exit, Failure, Global, simulate};
use crate::app::explain::{ExplanationView, explain};
use crate::app::{AppContext, NextAction};
use crate::matching::HostKey;

/// Explain how hosts are matched
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    Explain(Question),
    Simulate(simulate::Args),
}

/// Which strategies are tried on what, what each finds, what is decided and what would follow
///
/// Writes nothing, and holds nobody up. Give a file with --booking, a host with --host and
/// --company, or an appointment with --uid.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["booking", "host", "uid"]))]
pub(super) struct Question {
    /// A file with an event or a bare Cal.com booking (or an array of them, or one a line); - is standard input
    #[arg(long, value_name = "FILE")]
    booking: Option<PathBuf>,
    /// The id of a Cal.com user
    #[arg(long, value_name = "ID", requires = "company", value_parser = clap::value_parser!(i64).range(1..=i64::from(i32::MAX)))]
    host: Option<i64>,
    /// A booking's reference (uid or id) that an appointment has: what is known of its host
    #[arg(long, value_name = "REF")]
    uid: Option<String>,
    /// The e-mail address of --host
    #[arg(long, requires = "host")]
    email: Option<String>,
    /// The name of --host
    #[arg(long, requires = "host")]
    name: Option<String>,
    /// The company of --host; with --booking the one to assume where there is no appointment
    #[arg(long, value_name = "N", conflicts_with = "uid", value_parser = clap::value_parser!(i64).range(1..))]
    company: Option<i64>,
}

/// Runs the command; fails when the file cannot be read, the database cannot be reached, or there is no such
/// appointment.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let question = match command {
        Command::Explain(question) => question,
        Command::Simulate(args) => return simulate::run(global, args).await,
    };
    // What the file says comes first: it needs no database.
    let subjects = subject::given(question)?;
    let work = async |context: &AppContext| Ok(explain(context, subjects).await?);
    let explained = global.with_context(None, None, work).await?;
    let explanations: Vec<Explanation> = explained.into_iter().map(Explanation::from).collect();
    global.output.show(&json!({ "explanations": explanations }), || table::show(&explanations))?;
    let nothing = explanations.iter().all(|one| one.view.is_empty());
    Ok(if nothing { Exit::NotFound } else { Exit::Done })
}

/// An explanation, and what can be done in the words of the command line.
#[derive(Debug, Serialize)]
struct Explanation {
    #[serde(flatten)]
    view: ExplanationView,
    next: String,
}

impl From<ExplanationView> for Explanation {
    fn from(view: ExplanationView) -> Self {
        let command = view.action.as_ref().and_then(|(action, staff)| match action {
            NextAction::AssignHost(HostKey { company, host }) => {
                let staff = staff.as_ref().map_or_else(|| "ID".to_owned(), ToString::to_string);
                // Where no booking has named the host yet, that has to be said.
                let unseen = if view.effect.is_none() { " [--unseen]" } else { "" };
                Some(format!(
                    "hostmatch mappings set --company {company} --host {host} --staff {staff}{unseen}"
                ))
            }
            _ => None,
        });
        let next = match command {
            Some(command) => format!("{}: {command}", view.advice),
            None => view.advice.clone(),
        };
        Self { view, next }
    }
}
