//! `hostmatch healthcheck`: requests a health route of the process on this machine, for containers without
//! an HTTP client.

use std::time::Duration;

use super::{Exit, Failure, Global, output};
use crate::config::Config;
use crate::install::health::{self, Health};

/// The time limit for a response, shorter than the usual timeout of container runtimes.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Check whether the process on this machine is ready, or alive; for containers
///
/// Requests edge.listen, and worker.health_listen if it is set: at least one must respond, and all that
/// respond must be healthy. Exit code 0: healthy (degraded too); 1: not healthy, with the reason.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check only this role's address
    #[arg(value_enum)]
    role: Option<Role>,
    /// Check whether the process does its work; the default
    #[arg(long, conflicts_with = "live")]
    ready: bool,
    /// Check whether the process responds and is not stuck
    #[arg(long)]
    live: bool,
    /// Check this address instead, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", conflicts_with = "role")]
    url: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Role {
    Edge,
    Worker,
}

/// Runs the command; fails if no address is configured.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let path = if args.live { "/health/live" } else { "/health/ready" };
    let bases = match &args.url {
        Some(url) => vec![url.clone()],
        None => bases(&global.load(&[])?.config, args.role)?,
    };
    let mut checked = Vec::new();
    for base in bases {
        let health = health::get_health(&base, path, TIMEOUT).await;
        checked.push(health.map_err(|error| Failure::new(Exit::Failed, format!("--url: {error}")))?);
    }
    // One of two addresses may belong to a role that does not run here.
    if checked.iter().any(|one| one.answered) {
        checked.retain(|one| one.answered);
    }
    let well = checked.iter().all(|one| one.well);
    global.output.show(&serde_json::json!({ "well": well, "asked": checked }), || {
        output::print_line(&checked.iter().map(Health::summary).collect::<Vec<_>>().join("; "))
    })?;
    Ok(if well { Exit::Done } else { Exit::Failed })
}

/// Returns the addresses to check, from the configuration.
fn bases(config: &Config, role: Option<Role>) -> Result<Vec<String>, Failure> {
    let (edge, worker) = (&config.edge.listen, &config.worker.health_listen);
    let mut found = Vec::new();
    if role != Some(Role::Worker) {
        found.push(url_of("edge.listen", edge)?);
    }
    if role != Some(Role::Edge) && !worker.is_empty() {
        found.push(url_of("worker.health_listen", worker)?);
    }
    if found.is_empty() {
        let text = "the worker has no health address: set worker.health_listen, such as \"127.0.0.1:8081\"";
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(found)
}

/// Returns the URL for a listening address. A wildcard address becomes the loopback address.
fn url_of(key: &str, address: &str) -> Result<String, Failure> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    if port == "0" {
        let text = format!(
            "{key} is {address}: the port is chosen when the process starts; name the address with --url"
        );
        return Err(Failure::new(Exit::Failed, text));
    }
    let host = match host {
        "0.0.0.0" | "" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    Ok(format!("http://{host}:{port}"))
}
