//! Edge and worker in this process under load for a long time: does anything grow, is anything lost?
//!
//! `cargo bench --bench soak -- --minutes 10`. docs/reliability.md says what the figures mean.

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

/// Runs edge and worker under load, and sees that nothing grows and nothing is lost.
///
/// Needs nothing: everything is in temporary files, unless --configured says otherwise.
#[derive(Debug, Parser)]
struct Options {
    /// For how long events are posted.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    minutes: f64,
    /// Use the database and the queue of the configuration (`hostmatch.toml`, `HOSTMATCH_…`); refused unless
    /// both are empty but for earlier soaks.
    #[arg(long)]
    configured: bool,
    /// Log more than errors.
    #[arg(short, long)]
    verbose: bool,
    /// Where the figures are written.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Given by cargo.
    #[arg(long, hide = true)]
    bench: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    // Fails only when there is one already.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let mut overrides = Overrides::default();
    if !options.verbose {
        // A line for each of so many requests is of no use.
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
