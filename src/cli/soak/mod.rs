//! `hostmatch soak`: edge and worker under load for a long time, in this process, and what of it
//! grows.
//!
//! It makes a salon (`salon`), starts edge and worker on it (the demo's `servers`), posts mixed
//! bookings without pause (`load`), measures the process meanwhile (`gauges`), counts what was lost
//! and shows both (`report`).

mod gauges;
mod load;
mod report;
mod salon;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use uuid::Uuid;

use self::gauges::Gauges;
use self::load::Load;
use self::report::Report;
use super::demo::Servers;
use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use crate::config::Config;
use crate::runtime::shutdown::{self, Shutdown};
use crate::store::Database;

/// How long what was accepted may take to be decided, once nothing more is posted.
const LAST: Duration = Duration::from_secs(120);

const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Run edge and worker under load, and see that nothing grows and nothing is lost
///
/// Needs nothing: everything is in temporary files, unless --configured says otherwise. Ends with 1
/// when an event was lost, or memory, file descriptors, threads, tasks or the queue grew beyond
/// their bounds.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// For how long events are posted
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Use the configured database and queue; refused unless both are empty but for earlier soaks
    #[arg(long)]
    configured: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.01..=100_000.0).contains(&minutes) { Ok(minutes) } else { Err("0.01 to 100000".to_owned()) }
}

/// A directory that is removed with everything in it when this is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("hostmatch-soak-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&path).map_err(|error| {
            Failure::new(Exit::Failed, format!("cannot make {}: {error}; set TMPDIR", path.display()))
        })?;
        Ok(Self(path))
    }

    fn url(&self, file: &str) -> String {
        format!("sqlite://{}", self.0.join(file).display())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, directory = %self.0.display(), "the soak's files could not be removed");
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When something cannot be started, or the configured database or queue is somebody's.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let directory = if args.configured { None } else { Some(Directory::new()?) };
    let config = Arc::new(settings(global, directory.as_ref())?);
    let stop = shutdown::on_signals()?;
    let database = Database::connect(&config.database).await?;
    let ended = soak(global, args, &config, &database, &stop).await;
    database.close().await;
    ended
}

fn settings(global: &Global, directory: Option<&Directory>) -> Result<Config, Failure> {
    let (salon, queue) = (directory.map(|d| d.url("salon.db")), directory.map(|d| d.url("queue.db")));
    let short = directory.map(|_| "200ms,500ms");
    // A line for each of so many requests is of no use.
    let quiet = (!global.is_verbose()).then_some("error");
    let mut config = global
        .start(&[
            ("hostmatch soak", "database.url", salon.as_deref()),
            ("hostmatch soak", "queue.url", queue.as_deref()),
            ("hostmatch soak", "queue.retry_delays", short),
            ("hostmatch soak", "log.level", quiet),
        ])?
        .config;
    // Whoever reaches this port is on this machine; and it is another at each run.
    config.edge.listen = "127.0.0.1:0".to_owned();
    config.edge.allow_unsigned = true;
    // A spool may hold what somebody has posted in earnest: it is not for a soak to forward that.
    config.edge.spool = PathBuf::new();
    Ok(config)
}

async fn soak(
    global: &Global,
    args: &Args,
    config: &Arc<Config>,
    database: &Database,
    stop: &Shutdown,
) -> Result<Exit, Failure> {
    salon::open(database).await?;
    let listener = TcpListener::bind(&config.edge.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let mut servers = Servers::start(config, database, listener).await?;
    let depth = servers.queue.depth().await?;
    if depth.ready + depth.waiting + depth.dead > 0 {
        servers.stop().await;
        let text = "there are messages in the configured queue; use a queue.prefix of its own for a soak";
        return Err(Failure::new(Exit::NotAllowed, text));
    }
    let began = Instant::now();
    let length = Duration::from_secs_f64(args.minutes * 60.0);
    let load = Arc::new(Load::new(url, servers.tally.clone()));
    let mut gauges = Gauges::new(servers.queue.clone());
    let soaked = async {
        let over = stop.child_token();
        let posting = load.run(&over);
        let measuring = async {
            gauges.watch(began, length, stop).await;
            over.cancel();
            Ok(())
        };
        // Whichever fails first ends the other.
        tokio::try_join!(posting, measuring)?;
        until_decided(database, &load).await?;
        gauges.last().await;
        Ok::<_, Failure>(())
    };
    let ended = tokio::select! {
        ended = soaked => ended,
        failure = servers.failed() => Err(failure),
    };
    let took = began.elapsed();
    servers.stop().await;
    ended?;
    let decided = salon::decided(database, load.run_id()).await?;
    let report = Report::new(&gauges, &load, decided, took);
    report.show(global.output)?;
    match report.problem() {
        Some(problem) => Err(Failure::new(Exit::Failed, problem)),
        None if stop.is_cancelled() => Ok(Exit::Interrupted),
        None => Ok(Exit::Done),
    }
}

/// Waits until everything accepted is decided, or that takes too long: the report says so then.
async fn until_decided(database: &Database, load: &Load) -> Result<(), Failure> {
    let until = Instant::now() + LAST;
    while Instant::now() < until && salon::decided(database, load.run_id()).await? < load.different() {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
