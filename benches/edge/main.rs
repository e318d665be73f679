//! Benchmark for confirmed webhooks per second: how fast does the real edge put Cal.com's signed webhooks
//! into a real RabbitMQ queue, compared with publishing the same bodies directly?
//!
//! `cargo bench --bench edge`. docs/performance.md explains the figures.

#[path = "../measure/address.rs"]
mod address;
#[path = "../measure/bookings.rs"]
mod bookings;
#[path = "../measure/broker.rs"]
mod broker;
#[path = "../measure/program.rs"]
mod program;
#[path = "../measure/quantiles.rs"]
mod quantiles;
#[path = "../measure/record.rs"]
mod record;
mod webhooks;

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use serde::Serialize;
use tokio::task::JoinSet;

use broker::Broker;
use program::{Program, peak_memory};
use quantiles::Quantiles;
use webhooks::{Connection, Webhook};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const CONNECTIONS: [usize; 3] = [1, 32, 256];

/// With one connection, the number of webhooks is divided by this.
const SINGLE_CONNECTION_DIVISOR: usize = 5;

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Measures how fast the edge accepts webhooks, against publishing them in the same run.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Webhooks in each measurement (with one connection a fifth of that).
    #[arg(long, default_value_t = 20_000)]
    events: usize,
    /// The file for the figures.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Figure {
    connections: usize,
    floor_per_second: f64,
    floor: Quantiles,
    edge_per_second: f64,
    edge: Quantiles,
    /// The edge's peak memory so far.
    peak_memory: u64,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let mut out = std::io::stdout();
    let heads = ["published, confirmed", "webhooks, confirmed"];
    writeln!(
        out,
        "{:<12}{:>22}{:>22}{:>7}{:>12}{:>7}",
        "connections", heads[0], heads[1], "/floor", "p99", "MiB"
    )?;
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let events =
            if connections == 1 { options.events / SINGLE_CONNECTION_DIVISOR } else { options.events };
        let webhooks: Arc<Vec<Webhook>> = Arc::new((0..events).map(Webhook::nth).collect::<Result<_>>()?);
        let (published, floor) = measure_floor(&webhooks, connections).await?;
        let (posted, edge, peak_memory) = measure_edge(&webhooks, connections).await?;
        writeln!(
            out,
            "{connections:<12}{published:>20.0}/s{posted:>20.0}/s{:>6.0}%{:>9.1} ms{:>7.1}",
            posted / published * 100.0,
            edge.p99_ms,
            peak_memory as f64 / f64::from(1 << 20),
        )?;
        figures.push(Figure {
            connections,
            floor_per_second: published,
            floor,
            edge_per_second: posted,
            edge,
            peak_memory,
        });
    }
    record::write(options.json, "edge", &figures)
}

/// Publishes the bodies, this many at once, each with its own confirm.
async fn measure_floor(webhooks: &Arc<Vec<Webhook>>, at_once: usize) -> Result<(f64, Quantiles)> {
    let broker = Broker::open().await?;
    let channel = broker.connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let (exchange, next) = (format!("{}.events", broker.config.prefix), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let mut publishers = JoinSet::new();
    for _ in 0..at_once {
        let (channel, exchange) = (channel.clone(), exchange.clone());
        let (webhooks, next) = (webhooks.clone(), next.clone());
        publishers.spawn(async move {
            let mut took = Vec::new();
            while let Some(webhook) = webhooks.get(next.fetch_add(1, Ordering::SeqCst)) {
                let before = Instant::now();
                publish(&channel, &exchange, &webhook.body).await?;
                took.push(before.elapsed());
            }
            Ok(took)
        });
    }
    let (rate, quantiles) = wait_for_all(publishers, began).await?;
    check_arrival(broker, webhooks.len()).await?;
    Ok((rate, quantiles))
}

async fn publish(channel: &Channel, exchange: &str, body: &[u8]) -> Result<()> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let persistent = BasicProperties::default().with_delivery_mode(2);
    let key = "BOOKING_CREATED".into();
    let confirm = channel.basic_publish(exchange.into(), key, options, body, persistent).await?;
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        other => Err(format!("not confirmed: {other:?}").into()),
    }
}

/// Measures the real edge, with this many connections that each post one webhook after the other.
async fn measure_edge(webhooks: &Arc<Vec<Webhook>>, connections: usize) -> Result<(f64, Quantiles, u64)> {
    let (broker, directory) = (Broker::open().await?, tempfile::tempdir()?);
    let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let mut settings = broker.settings();
    settings.push(("edge.listen", address.to_string()));
    settings.push(("edge.calcom_secrets", webhooks::SECRET.to_owned()));
    // The edge writes a line for each request by default.
    settings.push(("log.format", "json".to_owned()));
    let mut edge = Program::start(directory.path(), "edge", &["serve", "edge"], &settings)?;
    let until = Instant::now() + WAIT_TIMEOUT;
    while !webhooks::is_ready(address).await {
        edge.id()?;
        if Instant::now() > until {
            return Err("the edge does not listen".into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let next = Arc::new(AtomicUsize::new(0));
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(Connection::open(address).await?);
    }
    let began = Instant::now();
    let mut posters = JoinSet::new();
    for mut connection in opened {
        let (webhooks, next) = (webhooks.clone(), next.clone());
        posters.spawn(async move {
            let mut took = Vec::new();
            while let Some(webhook) = webhooks.get(next.fetch_add(1, Ordering::SeqCst)) {
                let before = Instant::now();
                connection.post(webhook).await?;
                took.push(before.elapsed());
            }
            Ok(took)
        });
    }
    let (rate, quantiles) = wait_for_all(posters, began).await?;
    let peak = peak_memory(edge.id()?);
    edge.stop().await?;
    check_arrival(broker, webhooks.len()).await?;
    Ok((rate, quantiles, peak))
}

/// Waits for all tasks. Returns the rate per second, and the quantiles of their times.
async fn wait_for_all(mut tasks: JoinSet<Result<Vec<Duration>>>, began: Instant) -> Result<(f64, Quantiles)> {
    let mut all = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        all.extend(ended??);
    }
    Ok((all.len() as f64 / began.elapsed().as_secs_f64(), Quantiles::of(all)))
}

/// Checks that each message is in the queue exactly once, and removes the queue.
async fn check_arrival(broker: Broker, expected: usize) -> Result<()> {
    let (ready, _) = broker.inspect().await?;
    broker.remove().await?;
    if ready == expected as u64 {
        Ok(())
    } else {
        Err(format!("{ready} messages are in the queue instead of {expected}").into())
    }
}
