//! `hostmatch demo`: shows the whole path of a booking in one process, without installing anything else.
//!
//! It claims a directory (`directory`), writes a configuration (`settings`), creates a salon (`salon`),
//! starts an edge and a worker on it (`servers`), posts `bookings` by HTTP (`runner`), reads the results
//! (`findings`), compares them with the expected ones (`verdict`) and shows them (`report`), with the
//! commands to try `next`.

mod directory;
mod settings;
mod salon;
mod bookings;
mod servers;
mod runner;
mod findings;
mod verdict;
mod next;
mod report;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

use self::bookings::Script;
use self::directory::{CONFIGURATION, DEFAULT_MODE, Directory, NEXT_BOOKING};
use self::findings::Findings;
use self::report::Report;
use self::runner::DemoRunner;
use self::servers::Servers;
use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use super::output::{self, Output};
use crate::config::Config;
use crate::runtime::shutdown;
use crate::worker::Tally;

/// How often to read the worker's counts while the servers keep running.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Watch bookings find their staff: a salon, its webhooks, and the outcome of each
///
/// Needs no broker, no server and no configuration: everything runs in this one process, with local files
/// that each run recreates. The exit code is 0 only if every booking has the expected outcome.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory for the demo's files; refused if it contains anything else
    #[arg(long, value_name = "DIR", default_value = "hostmatch-demo")]
    dir: PathBuf,
    /// The port of the edge on 127.0.0.1; 0 uses any free port
    #[arg(long, value_name = "N", default_value_t = 0)]
    port: u16,
    /// Keep the edge and the worker running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Only remove the files of an earlier demo
    #[arg(long, conflicts_with_all = ["keep", "port"])]
    reset: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails if the directory is not a demo's, a server cannot be started, or a booking has an unexpected
/// outcome.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    global.refuse_settings("demo")?;
    if args.reset {
        return reset(global.output, args);
    }
    // Bound first, so that nothing has changed if the port is in use.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await.map_err(|error| {
        let text = format!("cannot listen on port {}: {error}; choose another port with --port", args.port);
        Failure::new(Exit::Failed, text)
    })?;
    let address = listener.local_addr()?.to_string();
    let mut directory = Directory::claim(&args.dir)?;
    let secrets = settings::write(&mut directory, &address)?;
    let script = bookings::script()?;
    directory.write(NEXT_BOOKING, &serde_json::to_string_pretty(&script.next.event())?, DEFAULT_MODE)?;
    // The demo's problems are intended and appear in its report, so warnings are not logged.
    let config = Arc::new(global.start_with_own_file(&directory.shown.join(CONFIGURATION), "error")?.config);
    let stop = shutdown::on_signals()?;

    let database = salon::open(&config).await?;
    let mut servers = Servers::start(&config, &database, listener).await?;
    let tally = servers.tally.clone();
    let url = format!("http://{address}");
    let runner = DemoRunner { url: &url, secrets: &secrets, database: &database, tally: &tally };
    let ended = tokio::select! {
        ended = show(global, args, &directory, &config, &runner, script) => ended,
        failure = servers.wait_for_failure() => Err(failure),
        () = stop.cancelled() => Ok(Exit::Interrupted),
    };
    let ended = match ended {
        Ok(Exit::Done) if args.keep => tokio::select! {
            () = stop.cancelled() => Ok(Exit::Done),
            failure = servers.wait_for_failure() => Err(failure),
            ended = watch(&tally) => ended,
        },
        ended => ended,
    };
    servers.stop().await;
    database.close().await;
    ended
}

/// Posts the bookings and writes the report.
async fn show(
    global: &Global,
    args: &Args,
    directory: &Directory,
    config: &Config,
    runner: &DemoRunner<'_>,
    script: Script,
) -> Result<Exit, Failure> {
    let note = |text: &str| writeln!(std::io::stderr().lock(), "{text}");
    note(&format!("A salon in {}, its edge on {}", directory.shown.display(), runner.url))?;
    let posted = runner.post_all(script.postings, global.is_verbose()).await?;

    let findings = Findings::read(runner.database).await?;
    let result_of = |one| verdict::result_of(one, &findings, config.matching.auto_accept);
    let bookings: Vec<_> = posted.iter().map(result_of).collect();
    let differences = verdict::differences(&posted, &bookings, &findings);
    let listening = args.keep.then_some(runner.url);
    let report = Report {
        ok: differences.is_empty(),
        differences,
        directory: &directory.shown,
        configuration: directory.shown.join(CONFIGURATION),
        listening,
        bookings,
        next: next::commands(
            directory,
            listening,
            &script.next.host,
            findings.dead_letters.last().map(|row| row.id),
        ),
        findings,
    };
    match global.output {
        Output::Json => output::json(&json!(report))?,
        Output::Table => report.tables()?,
    }
    for name in settings::overriding_variables() {
        note(&format!(
            "note: {name} is set and overrides the demo's file in these commands; unset it first"
        ))?;
    }
    if !report.ok {
        let text = format!("the demo did not go as expected: {}", report.differences.join("; "));
        return Err(Failure::new(Exit::Failed, text));
    }
    if args.keep {
        note(&format!("Edge and worker keep running: {}  (Ctrl-C stops them)", runner.url))?;
    }
    Ok(Exit::Done)
}

/// Writes the outcomes of posted events to stderr while the servers keep running. Completes only when stderr
/// cannot be written.
async fn watch(tally: &Tally) -> Result<Exit, Failure> {
    let mut known = tally.counts();
    let mut every = tokio::time::interval(POLL_INTERVAL);
    loop {
        every.tick().await;
        let counts = tally.counts();
        for (name, count) in &counts {
            let more = count - known.get(name).copied().unwrap_or_default();
            if more > 0 {
                writeln!(std::io::stderr().lock(), "{more} more: {name}")?;
            }
        }
        known = counts;
    }
}

fn reset(output: Output, args: &Args) -> Result<Exit, Failure> {
    let removed = Directory::remove(&args.dir)?;
    match output {
        Output::Json => output::json(&json!({ "directory": args.dir, "removed": removed }))?,
        Output::Table => {
            let text = if removed { "Removed the demo's files in" } else { "There is no demo in" };
            output::print_line(&format!("{text} {}", args.dir.display()))?;
        }
    }
    Ok(Exit::Done)
}
