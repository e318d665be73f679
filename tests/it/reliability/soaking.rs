//! Runs `cargo bench --bench soak` for a few seconds.

#[path = "../../../benches/soak/soak/mod.rs"]
mod soak;

use std::time::Duration;

use hostmatch::config::{self, Config, Overrides};
use hostmatch::runtime::shutdown::Shutdown;

use crate::support::{Backend, GatewayShape, Stack};

const SOAK_DURATION: Duration = Duration::from_secs(9);

fn config(stack: &Stack) -> Config {
    config::load_from(None, stack.variables(), &Overrides::default()).unwrap().config
}

async fn assert_soaked(config: Config) {
    // Fails only if a TLS provider is already installed.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let report = soak::run(config, SOAK_DURATION, &Shutdown::new()).await.unwrap();
    // In a process that is shared with other tests, as with `cargo test`, the memory of the others counts
    // too.
    assert!(std::env::var_os("NEXTEST").is_none() || report.problem().is_none(), "{report}");
    assert_eq!(report.decided, report.events, "{report}");
    assert!(report.events > 20 && report.accepted > report.events, "some events were sent twice: {report}");
    assert_eq!(report.quantities.len(), 5, "{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_without_any_server() {
    let stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    let mut config = config(&stack);
    let files = soak::in_files(&mut config).unwrap();
    assert_soaked(config).await;
    assert!(files.path().join("salon.db").exists());
    files.close().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_on_mariadb_and_rabbitmq() {
    let stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    assert_soaked(config(&stack)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_whose_events_are_refused_ends_immediately() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("edge.body_limit", "10");
    stack.set("edge.body_min_rate", "0");
    let error = soak::run(config(&stack), Duration::from_secs(1800), &Shutdown::new()).await.unwrap_err();
    assert!(error.to_string().contains("refused an event with 413"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_refuses_a_database_with_data() {
    let stack = Stack::new(Backend::MariaDb, GatewayShape::Roadmap).await;
    stack.world.company(1).await;
    let error = soak::run(config(&stack), SOAK_DURATION, &Shutdown::new()).await.unwrap_err();
    assert!(error.to_string().contains("contains companies"), "{error}");
    assert_eq!(stack.world.count("appointments").await, 0);
}
