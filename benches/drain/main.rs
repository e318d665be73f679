//! Benchmark for the whole pipeline against floors: how fast do real worker processes drain a real RabbitMQ
//! queue into a real database, and how fast could any program drain it?
//!
//! `cargo bench --bench drain` is the short form. docs/performance.md explains the figures.

// The compiler has to compute the size of deeply nested futures.
#![recursion_limit = "256"]

#[path = "../measure/bookings.rs"]
mod bookings;
#[path = "../measure/address.rs"]
mod address;
#[path = "../measure/broker.rs"]
mod broker;
#[path = "../measure/database.rs"]
mod database;
#[path = "../measure/program.rs"]
mod program;
#[path = "../measure/quantiles.rs"]
mod quantiles;
#[path = "../measure/record.rs"]
mod record;
mod salon;
mod usage;
mod filling;
mod costs;
mod rows;
mod floor;
mod workers;
mod large;
mod measurements;
mod disk;
mod table;

use std::path::PathBuf;

use clap::{Parser, ValueEnum as _};

use database::Engine;
use measurements::Measurements;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures how fast worker processes drain a queue, against floors of the same run.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Events in each drain (at batch size 1 a sixth of that).
    #[arg(long, default_value_t = 100_000)]
    events: u64,
    /// Measure only these databases.
    #[arg(long, value_enum)]
    engine: Vec<Engine>,
    /// Measure everything: on MariaDB also other batch sizes, pipelines, processes, and up to a million
    /// waiting events; on MariaDB and PostgreSQL also a large installation.
    #[arg(long)]
    full: bool,
    /// How often to repeat each measurement; the median counts. Default: once, with --full three times.
    #[arg(long)]
    times: Option<usize>,
    /// Measure only these parts.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// The file for the figures.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A group of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The floors: upper bounds for the speed.
    Floors,
    /// The worker with its defaults.
    Worker,
    /// The worker with one event in each transaction.
    OneByOne,
    /// The time that an event takes at a steady rate.
    Steady,
    /// The worker with other batch sizes and other numbers of pipelines, processes and waiting events.
    Sizes,
    /// A company with 10,000 members of staff, a host with 100,000 appointments, a million assignments.
    Large,
    /// The size of the tables afterwards; not on SQLite.
    Disk,
}

impl Options {
    fn wants(&self, part: Part, engine: Engine) -> bool {
        let usual = match part {
            Part::Sizes => self.full && engine == Engine::Mariadb,
            Part::Large | Part::Disk => self.full && engine != Engine::Sqlite,
            _ => true,
        };
        if self.only.is_empty() { usual } else { self.only.contains(&part) }
    }
}

/// Returns the port of a URL.
pub(crate) fn port(url: &str) -> Option<u16> {
    let authority = url.split_once("://")?.1.split(['/', '?']).next()?;
    authority.rsplit_once(':')?.1.parse().ok()
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let engines = match options.engine.as_slice() {
        [] => vec![Engine::Mariadb, Engine::Postgres, Engine::Sqlite],
        some => some.to_vec(),
    };
    let times = options.times.unwrap_or(if options.full { 3 } else { 1 });
    let mut measurements = Measurements::new(options.events, times)?;
    for engine in engines {
        for part in Part::value_variants().iter().copied() {
            if !options.wants(part, engine) {
                continue;
            }
            match part {
                Part::Floors => measurements.floors(engine).await?,
                Part::Worker => measurements.worker(engine).await?,
                Part::OneByOne => measurements.one_by_one(engine).await?,
                Part::Steady => measurements.steady(engine).await?,
                Part::Sizes => measurements.sizes(engine).await?,
                Part::Large => measurements.large(engine).await?,
                Part::Disk => measurements.disk(engine).await?,
            }
        }
    }
    measurements.write(options.json)
}
