//! Benchmark for reading many dead letters: measures how long lists, groups and searches take, and shows
//! which indexes the databases use for them.
//!
//! `cargo bench --bench dead_letters`

#[path = "../measure/address.rs"]
mod address;
#[path = "../measure/database.rs"]
mod database;
#[path = "../measure/record.rs"]
mod record;
mod reads;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use serde::Serialize;

use database::{Engine, Scratch};
use reads::{Read, reads};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures how long lists, groups and searches of dead letters take.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// The number of dead letters.
    #[arg(long, default_value_t = 100_000)]
    letters: u64,
    /// Measure only these databases.
    #[arg(long, value_enum)]
    engine: Vec<Engine>,
    /// How often to repeat each read; the slowest counts.
    #[arg(long, default_value_t = 5)]
    times: usize,
    /// The file for the figures.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

/// The result of one read.
#[derive(Debug, Serialize)]
struct Figure {
    engine: &'static str,
    read: &'static str,
    rows: usize,
    slowest_ms: f64,
    plan: String,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let options = Options::parse();
    let engines = match options.engine.as_slice() {
        [] => vec![Engine::Mariadb, Engine::Postgres, Engine::Sqlite],
        some => some.to_vec(),
    };
    let directory = tempfile::tempdir()?;
    let mut out = std::io::stdout();
    writeln!(out, "{} dead letters; the slowest of {} reads each", options.letters, options.times)?;
    let mut figures = Vec::new();
    for engine in engines {
        let scratch = Scratch::open(engine, directory.path()).await?;
        scratch.insert(reads::COLUMNS, (0..options.letters).map(|n| reads::letter(engine, n))).await?;
        let inserted = scratch.number("SELECT COUNT(*) FROM hostmatch_dead_letters").await?;
        if inserted != options.letters {
            return Err(format!("{inserted} dead letters instead of {}", options.letters).into());
        }
        // An installation that has been running for a while has statistics.
        scratch
            .run(if engine == Engine::Mariadb { "ANALYZE TABLE hostmatch_dead_letters" } else { "ANALYZE" })
            .await?;
        for read in reads() {
            let figure = measure(&scratch, engine, &read, &options).await?;
            writeln!(
                out,
                "{:<10}  {:<28}  {:>5} rows  {:>8.1} ms  {}",
                figure.engine, figure.read, figure.rows, figure.slowest_ms, figure.plan
            )?;
            figures.push(figure);
        }
        scratch.remove().await?;
    }
    record::write(options.json, "dead_letters", &figures)
}

async fn measure(scratch: &Scratch, engine: Engine, read: &Read, options: &Options) -> Result<Figure> {
    let (mut slowest, mut rows) = (Duration::ZERO, 0);
    for _ in 0..options.times.max(1) {
        let began = Instant::now();
        rows = read.run(&scratch.database).await?;
        slowest = slowest.max(began.elapsed());
    }
    read.check(rows, options.letters)?;
    let plan = read.plan(&scratch.database).await?;
    Ok(Figure { engine: engine.name(), read: read.name, rows, slowest_ms: slowest.as_secs_f64() * 1e3, plan })
}
