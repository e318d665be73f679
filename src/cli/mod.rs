//! The command line: one file per command, each with its arguments and a function `run`.
//!
//! Results go to stdout, as a table or as JSON; logs, notes, progress and errors go to stderr. Every command
//! returns an [`Exit`], or a [`Failure`] with one.

mod exit;
mod failure;
mod output;
mod arguments;
mod global;
mod serve;
mod demo;
mod doctor;
mod config;
mod migrate;
mod items;
mod next_action;
mod report;
mod simulate;
mod status;
mod mapping_files;
mod staff;
mod publish;
mod schema;
mod gateway;
mod healthcheck;
mod validate;
mod explain;
mod events;
mod token;
mod topology;
mod dead_letters;
mod decision;
mod bookings;
mod companies;
mod inbox;
mod mappings;
mod repair;
mod audit;

use std::borrow::Cow;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

pub use exit::Exit;
pub use failure::Failure;
pub use global::Global;
pub use output::Output;

/// Finds the member of staff for every Cal.com booking, asynchronously, and never loses one.
#[derive(Debug, Parser)]
#[command(name = "hostmatch", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 needs confirmation, \
    5 done in part, 6 not allowed, 7 broker unreachable, 8 database unreachable, \
    9 configuration invalid, 10 differences or warnings found, 130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    #[command(subcommand)]
    Serve(serve::Role),
    #[command(subcommand)]
    Migrate(migrate::Command),
    Publish(publish::Args),
    #[command(subcommand)]
    Schema(schema::Command),
    Validate(validate::Args),
    #[command(subcommand)]
    Match(explain::Command),
    #[command(subcommand)]
    Events(events::Command),
    #[command(subcommand)]
    Token(token::Command),
    Report(report::Args),
    Status(status::Args),
    Healthcheck(healthcheck::Args),
    #[command(subcommand)]
    Staff(staff::Command),
    #[command(subcommand)]
    Gateway(gateway::Command),
    #[command(subcommand)]
    Bookings(bookings::Command),
    #[command(subcommand)]
    Companies(companies::Command),
    #[command(subcommand)]
    Inbox(inbox::Command),
    #[command(subcommand)]
    Mappings(mappings::Command),
    #[command(subcommand)]
    Repair(repair::Command),
    #[command(subcommand)]
    Audit(audit::Command),
    #[command(subcommand)]
    Deadletters(dead_letters::Command),
    Doctor(doctor::Args),
    #[command(subcommand)]
    Topology(topology::Command),
    #[command(subcommand)]
    Config(config::Command),
    /// Print the completion script of a shell, for example into ~/.local/share/bash-completion/completions/hostmatch
    Completions {
        shell: clap_complete::Shell,
    },
    /// Print the version
    Version,
}

/// Parses the command line, runs the command, and reports a failure on stderr.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error).into(),
    };
    let output = cli.global.output;
    let done = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(Failure::new(Exit::Failed, format!("cannot start the runtime: {error}"))),
    };
    let exit = match done {
        Ok(exit) => exit,
        Err(failure) if failure.is_closed_pipe() => Exit::Done,
        Err(failure) => failure.report(output),
    };
    exit.into()
}

async fn run(cli: Cli) -> Result<Exit, Failure> {
    let global = cli.global;
    match cli.command {
        Command::Demo(args) => demo::run(&global, &args).await,
        Command::Serve(args) => serve::run(&global, &args).await,
        Command::Migrate(args) => migrate::run(&global, &args).await,
        Command::Publish(args) => publish::run(&global, &args).await,
        Command::Schema(args) => schema::run(&global, &args),
        Command::Gateway(args) => gateway::run(&global, &args).await,
        Command::Match(args) => explain::run(&global, &args).await,
        Command::Staff(args) => staff::run(&global, &args).await,
        Command::Report(args) => report::run(&global, &args).await,
        Command::Healthcheck(args) => healthcheck::run(&global, &args).await,
        Command::Status(args) => Box::pin(status::run(&global, &args)).await,
        Command::Bookings(args) => Box::pin(bookings::run(&global, &args)).await,
        Command::Companies(args) => companies::run(&global, &args).await,
        Command::Inbox(args) => Box::pin(inbox::run(&global, &args)).await,
        Command::Mappings(args) => Box::pin(mappings::run(&global, &args)).await,
        Command::Repair(args) => Box::pin(repair::run(&global, &args)).await,
        Command::Audit(args) => audit::run(&global, &args).await,
        Command::Validate(args) => validate::run(&global, &args),
        Command::Events(args) => events::run(&global, &args).await,
        Command::Token(args) => token::run(&global, &args),
        Command::Deadletters(args) => dead_letters::run(&global, &args).await,
        Command::Doctor(args) => doctor::run(&global, &args).await,
        Command::Topology(args) => topology::run(&global, &args).await,
        Command::Config(args) => config::run(&global, &args),
        Command::Completions { shell } => completions(shell),
        Command::Version => version(global.output),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "hostmatch", &mut script);
    std::io::stdout().lock().write_all(&script)?;
    Ok(Exit::Done)
}

fn version(output: Output) -> Result<Exit, Failure> {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    let document = serde_json::json!({ "name": name, "version": version });
    output.show(&document, || output::print_line(&format!("{name} {version}")))
}

/// Writes help, version or a usage error. The error is JSON if JSON was requested.
fn usage(error: &clap::Error) -> Exit {
    let arguments: Vec<_> = std::env::args().collect();
    let json = arguments.iter().any(|argument| argument == "--output=json")
        || arguments.windows(2).any(|pair| pair == ["--output", "json"]);
    if error.use_stderr() && json {
        let text = error.render().to_string();
        return Failure::new(Exit::Usage, text.trim_start_matches("error: ").trim_end()).report(Output::Json);
    }
    // A closed stream cannot be reported anywhere. The error quotes arguments, which may have been copied from a
    // sender's text.
    let text = error.render().to_string();
    let _unwritten = match output::escape_controls(&text) {
        Cow::Owned(escaped) if error.use_stderr() => write!(std::io::stderr().lock(), "{escaped}"),
        _ => error.print(),
    };
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}
