//! Runs one soak: creates a salon (`salon`), starts the edge and a worker for it, posts mixed bookings
//! without pause (`load`), measures the process in the meantime (`gauges`), and counts lost events
//! (`report`). The tests also run it.

mod gauges;
mod load;
mod report;
mod salon;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hostmatch::config::{Config, Secret};
use hostmatch::edge;
use hostmatch::queue::Queue;
use hostmatch::runtime::shutdown::Shutdown;
use hostmatch::store::{Database, GatewaySchema};
use hostmatch::worker::Worker;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::gauges::Gauges;
use self::load::Load;
use self::report::Report;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The time limit for deciding the accepted events after the last request.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Puts the database and the queue into a directory, which is removed when the returned value is dropped.
///
/// # Errors
/// Fails if the directory cannot be created.
pub(crate) fn in_files(config: &mut Config) -> Result<TempDir> {
    let directory = tempfile::Builder::new().prefix("hostmatch-soak-").tempdir()?;
    let url = |file: &str| Secret::new(format!("sqlite://{}", directory.path().join(file).display()));
    config.database.url = url("salon.db");
    config.queue.url = url("queue.db");
    config.queue.retry_delays = [200, 500].map(Duration::from_millis).to_vec();
    Ok(directory)
}

/// Posts events for this long, and waits until they are decided. `stop` ends the soak early.
///
/// # Errors
/// Fails if something cannot be started, an event is refused, or the database or the queue is in use.
pub(crate) async fn run(mut config: Config, length: Duration, stop: &Shutdown) -> Result<Report> {
    // A free port, which only this machine can reach.
    config.edge.listen = "127.0.0.1:0".to_owned();
    config.edge.allow_unsigned = true;
    // A spool may contain real events, which a soak must not forward.
    config.edge.spool = PathBuf::new();
    let config = Arc::new(config);
    let database = Database::connect(&config.database).await?;
    let soaked = with_database(&config, &database, length, stop).await;
    database.close().await;
    soaked
}

async fn with_database(
    config: &Arc<Config>,
    database: &Database,
    length: Duration,
    stop: &Shutdown,
) -> Result<Report> {
    salon::open(database).await?;
    let queue = Queue::open(&config.queue).await?;
    let depth = queue.depth().await?;
    if depth.ready + depth.waiting + depth.dead > 0 {
        queue.close().await;
        return Err("the configured queue contains messages; use a separate queue.prefix for a soak".into());
    }
    let listener = TcpListener::bind(&config.edge.listen).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let schema = GatewaySchema::read(database, &config.gateway).await?;
    let worker = Worker::new(config.clone(), database.clone(), schema, queue.clone());
    let load = Load::new(url, worker.tally());
    let mut gauges = Gauges::new(queue.clone());
    let (ended, mut servers) = (Shutdown::new(), JoinSet::new());
    let (edge, publisher, until) = (config.clone(), queue.publisher(), ended.clone());
    servers
        .spawn(async move { Result::Ok(edge::serve(&edge.edge, publisher, listener, None, until).await?) });
    let until = ended.clone();
    servers.spawn(async move { Result::Ok(worker.run(until, false).await?) });

    let began = Instant::now();
    let soak = async {
        let stop_load = stop.child_token();
        let measure = async {
            gauges.watch(began, length, stop).await;
            stop_load.cancel();
            Ok(())
        };
        // A failure of one ends the other.
        tokio::try_join!(load.run(&stop_load), measure)?;
        let until = Instant::now() + DRAIN_TIMEOUT;
        while Instant::now() < until && salon::count_decided(database, load.run_id()).await? < load.distinct()
        {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        gauges.measure().await;
        Result::Ok(())
    };
    let soaked = tokio::select! {
        soaked = soak => soaked,
        Some(early) = servers.join_next() => {
            early.map_err(Into::into).flatten().and(Err("edge or worker ended early; see why with --verbose".into()))
        }
    };
    let took = began.elapsed();
    ended.cancel();
    while servers.join_next().await.is_some() {}
    queue.close().await;
    soaked?;
    Ok(Report::new(gauges.all, &load, salon::count_decided(database, load.run_id()).await?, took))
}
