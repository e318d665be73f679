//! `hostmatch serve edge|worker|all`: runs the long-running roles.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;

use super::{Exit, Failure, Global, Output, output};
use crate::config::Config;
use crate::edge;
use crate::http::health;
use crate::queue::{self, Queue};
use crate::runtime::backoff::Delays;
use crate::runtime::open_files;
use crate::runtime::shutdown::{self, Shutdown};
use crate::store::{Database, GatewaySchema, StoreErrorKind};
use crate::telemetry;
use crate::telemetry::metrics::{self, Series};
use crate::worker::{self, Tally, Worker, WorkerHealth};

/// Run the edge, a worker, or both
///
/// SIGINT or SIGTERM stops gracefully: accepts nothing new and finishes what is in progress. A second
/// signal ends the process at once; unfinished events are then delivered again.
#[derive(Debug, clap::Subcommand, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Role {
    /// Receive events by HTTP and publish them to the queue
    Edge(EdgeFlags),
    /// Consume events from the queue and decide them
    Worker(WorkerFlags),
    /// Both in one process
    All {
        #[command(flatten)]
        edge: EdgeFlags,
        #[command(flatten)]
        worker: WorkerFlags,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct EdgeFlags {
    /// The address to listen on (edge.listen)
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct WorkerFlags {
    /// End when the queue and its wait queues are empty, and report the outcomes
    #[arg(long)]
    until_empty: bool,
    /// Independent consumers (worker.pipelines)
    #[arg(long, value_name = "N")]
    pipelines: Option<String>,
}

/// Runs the command; fails when a role cannot start or continue. Waits while the broker or the database is
/// unreachable.
pub(super) async fn run(global: &Global, role: &Role) -> Result<Exit, Failure> {
    let (edge, worker) = match role {
        Role::Edge(edge) => (Some(edge), None),
        Role::Worker(worker) => (None, Some(worker)),
        Role::All { edge, worker } => (Some(edge), Some(worker)),
    };
    let flags = [
        ("--listen", "edge.listen", edge.and_then(|flags| flags.listen.as_deref())),
        ("--pipelines", "worker.pipelines", worker.and_then(|flags| flags.pipelines.as_deref())),
    ];
    let config = Arc::new(global.start(&flags)?.config);
    let trace_export = telemetry::start_export(&config.traces, role.into())?;
    let stop = shutdown::on_signals()?;
    open_files::raise_limit();
    install_metrics(edge.is_some(), worker.is_some())?;
    let queue = Queue::open(&config.queue).await?;
    // Shows an operator who mistyped a variable that the defaults are used.
    tracing::info!(
        queue = config.queue.url.redacted_url(),
        database = config.database.url.redacted_url(),
        "starting"
    );
    let until_empty = worker.is_some_and(|flags| flags.until_empty);
    let listener = health_listener(&config.metrics.listen, "metrics.listen").await?;
    // On the heap, because the future of edge and worker is large.
    let serving = Box::pin(serve(&config, &queue, edge.is_some(), worker.is_some(), until_empty, &stop));
    let served = match listener {
        None => serving.await,
        Some(listener) => tokio::select! {
            served = serving => served,
            () = health::serve_only(listener, metrics::routes()) => Ok(None),
        },
    };
    queue.close().await;
    trace_export.shutdown().await;
    if let Some(tally) = served?.filter(|_| until_empty) {
        report(global.output, &tally)?;
    }
    Ok(if until_empty && stop.is_cancelled() { Exit::Interrupted } else { Exit::Done })
}

/// Installs the metrics of these roles, starting at 0.
fn install_metrics(with_edge: bool, with_worker: bool) -> Result<(), Failure> {
    let (mut roles, mut lists): (Vec<&str>, Vec<&[Series]>) = (Vec::new(), vec![&queue::metrics::SERIES]);
    if with_edge {
        roles.push("edge");
        lists.push(&edge::SERIES);
    }
    if with_worker {
        roles.push("worker");
        lists.extend(worker::SERIES);
    }
    Ok(metrics::install(&roles, &lists)?)
}

/// Runs the roles until `stop` is cancelled. If one fails, the other stops too.
async fn serve(
    config: &Arc<Config>,
    queue: &Queue,
    with_edge: bool,
    with_worker: bool,
    until_empty: bool,
    stop: &Shutdown,
) -> Result<Option<Tally>, Failure> {
    // With `--until-empty` the worker of `all` also stops the edge when everything is decided.
    let stop_roles = stop.child_token();
    let health = WorkerHealth::default();
    let worker_health = health.clone();
    let record = health::Record::new("worker");
    let report: health::Report = Arc::new(move || record.checks(worker_health.findings()));
    let edge = async {
        if with_edge {
            let listener =
                listen(&config.edge.listen, "choose another address with --listen or edge.listen").await?;
            let worker_report = with_worker.then(|| report.clone());
            edge::serve(&config.edge, queue.publisher(), listener, worker_report, stop_roles.clone()).await?;
        }
        Ok::<_, Failure>(())
    };
    let working = async {
        let Some((database, schema)) = connect(config, &stop_roles, !until_empty).await? else {
            return Ok(None);
        };
        if until_empty {
            // With `--until-empty` the worker must not wait for an unreachable broker.
            queue.depth().await?;
        }
        let mut worker = Worker::new(config.clone(), database.clone(), schema, queue.clone());
        worker.health = health;
        if with_edge {
            worker.role = "all";
        }
        let tally = worker.tally();
        tracing::info!(pipelines = config.worker.pipelines, "the worker is running");
        let progress = show_progress(queue, &tally, until_empty, &stop_roles);
        let ended = tokio::select! {
            ended = worker.run(stop_roles.clone(), until_empty) => ended,
            () = progress => Ok(()),
        };
        database.close().await;
        tracing::info!(counts = ?tally.counts(), "the worker has stopped");
        ended?;
        Ok::<_, Failure>(Some(tally))
    };
    let worker = async {
        if !with_worker {
            return Ok(None);
        }
        // Bound first, so that nothing starts if the port is in use.
        let listener = health_listener(&config.worker.health_listen, "worker.health_listen").await?;
        let serving = async {
            if let Some(listener) = listener {
                health::serve(listener, report.clone(), metrics::routes()).await;
            }
            std::future::pending().await
        };
        tokio::select! {
            ended = working => ended,
            ended = serving => ended,
        }
    };
    let edge = async { edge.await.inspect_err(|_| stop_roles.cancel()) };
    let worker = async {
        let ended = worker.await;
        if until_empty || ended.is_err() {
            stop_roles.cancel();
        }
        ended
    };
    let (edge, worker) = tokio::join!(edge, worker);
    edge?;
    worker
}

/// Binds the address of `key` for metrics or health routes, if it is set.
async fn health_listener(address: &str, key: &str) -> Result<Option<TcpListener>, Failure> {
    if address.is_empty() {
        return Ok(None);
    }
    let listener = listen(address, &format!("choose another address with {key}")).await?;
    let address = listener.local_addr()?;
    match key {
        "metrics.listen" => tracing::info!(%address, "serving metrics"),
        _ => tracing::info!(%address, "the worker answers health routes"),
    }
    Ok(Some(listener))
}

/// Binds a socket. `hint` says what to do if that fails.
async fn listen(address: &str, hint: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot listen on {address}: {error}; {hint}")))
}

/// Connects to the database and reads the shape of the gateway's tables. With `may_wait` it waits for an
/// unreachable server and for pending migrations. Returns `None` if `stop` is cancelled in the meantime.
async fn connect(
    config: &Config,
    stop: &Shutdown,
    may_wait: bool,
) -> Result<Option<(Database, GatewaySchema)>, Failure> {
    let mut delays = Delays::new(Duration::from_millis(500), Duration::from_secs(15));
    loop {
        let attempt = async {
            let database = Database::connect(&config.database).await?;
            let schema = database.with_deadline(GatewaySchema::read(&database, &config.gateway)).await?;
            Ok((database, schema))
        };
        let error: crate::store::StoreError = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            attempt = attempt => match attempt {
                Ok(connected) => return Ok(Some(connected)),
                Err(error) => error,
            },
        };
        match error.kind() {
            StoreErrorKind::Unavailable | StoreErrorKind::Conflict if may_wait => {
                tracing::warn!(%error, "waiting for the database");
            }
            // If the program is updated before the tables, the worker waits instead of restarting again and
            // again.
            StoreErrorKind::Behind if may_wait => tracing::warn!(%error, "waiting for the migration"),
            _ => return Err(error.into()),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(delays.next()) => {}
        }
    }
}

/// Shows the progress on a terminal. The future never completes.
async fn show_progress(queue: &Queue, tally: &Tally, until_empty: bool, stop: &Shutdown) {
    if until_empty {
        let depth = queue.depth().await.unwrap_or_default();
        let waiting = usize::try_from(depth.ready + depth.waiting).unwrap_or(usize::MAX);
        let bar = output::progress(waiting, "deciding");
        let mut every = tokio::time::interval(Duration::from_millis(100));
        while !stop.is_cancelled() {
            every.tick().await;
            bar.set_length(bar.length().unwrap_or(0).max(tally.finished()));
            bar.set_position(tally.finished());
        }
        bar.finish_and_clear();
    }
    std::future::pending().await
}

fn report(output: Output, tally: &Tally) -> Result<Exit, Failure> {
    let counts = tally.counts();
    let rows = counts.iter().map(|(name, n)| [(*name).to_owned(), n.to_string()]);
    output.show(&json!({ "finished": tally.finished(), "counts": counts }), || {
        output::table(&["OUTCOME", "COUNT"], rows)
    })
}
