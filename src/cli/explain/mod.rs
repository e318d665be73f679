//! `hostmatch match`; and `match explain`: which strategies were tried on what, what each found, what was
//! decided, and what would happen to the appointment. Writes nothing.

mod subject;
mod explanation;
mod effect;
mod table;

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::gateway;
use super::global::Global;
use super::output::{self, Output};
use super::simulate;
use explanation::{Explainer, Explanation};
use subject::Subject;

/// Explain how hosts are matched
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Explain(Question),
    Simulate(simulate::Args),
}

/// Which strategies are tried on what, what each finds, what is decided and what would follow
///
/// Writes nothing, and holds nobody up. Give a file with --booking, a host with --host and
/// --company, or an appointment with --uid.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).args(["booking", "host", "uid"]))]
struct Question {
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

/// Runs the command.
///
/// # Errors
/// When the file cannot be read, the database cannot be reached, or there is no such appointment.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let question = match &args.command {
        Command::Explain(question) => question,
        Command::Simulate(args) => return simulate::run(global, args).await,
    };
    let config = global.start(&[])?.config;
    // What the file says comes first: it needs no database.
    let subjects = Subject::given(question)?;
    let (database, schema) = gateway::open(&config).await?;
    let tx = database.in_time(database.begin_reading()).await?;
    let explained = Explainer::new(&database, &tx, &schema, &config).explain(subjects).await;
    let ended = database.in_time(async { Ok(tx.rollback().await?) }).await;
    database.close().await;
    let explanations = explained?;
    ended?;

    match global.output {
        Output::Json => output::json(&json!({ "explanations": explanations }))?,
        Output::Table => table::show(&explanations)?,
    }
    let nothing = explanations.iter().all(Explanation::is_empty);
    Ok(if nothing { Exit::NotFound } else { Exit::Done })
}
