//! Runs edge and worker in this process under load for a long time: do its resources grow, and are events lost?
//!
//! `cargo bench --bench soak -- --minutes 10`. docs/reliability.md explains the figures.

#[path = "../measure/record.rs"]
mod record;
mod soak;

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use hostmatch::config::{self, Overrides};
use hostmatch::runtime::shutdown;
use hostmatch::telemetry;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Runs edge and worker under load, and checks that nothing grows and nothing is lost.
///
/// Without --configured it needs no servers: everything is in temporary files.
#[derive(Debug, Parser)]
struct Options {
    /// How long to post events.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// Use the database and the queue of the configuration (`hostmatch.toml`, `HOSTMATCH_…`); refused if they
    /// contain anything but rows of earlier soaks.
    #[arg(long)]
    configured: bool,
    /// Log more than errors.
    #[arg(short, long)]
    verbose: bool,
    /// The file for the figures.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    // This fails only when a provider is already installed.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let mut overrides = Overrides::default();
    if !options.verbose {
        // A line for each of many requests would be useless.
        overrides.set("soak", "log.level", "error");
    }
    let mut config = config::load(None, &overrides)?.config;
    telemetry::init(&config.log)?;
    let _files = if options.configured { None } else { Some(soak::in_files(&mut config)?) };
    let length = Duration::try_from_secs_f64(options.minutes * 60.0)?;
    let report = soak::run(config, length, &shutdown::on_signals()?).await?;
    writeln!(std::io::stdout(), "{report}")?;
    record::write(options.json, "soak", &report)?;
    report.problem().map_or(Ok(()), |problem| Err(problem.into()))
}
