//! Helpers for all tests: databases, brokers and unique names for each test, and waiting for a condition.

pub(crate) mod address;
pub(crate) mod adopted;
pub(crate) mod broker;
pub(crate) mod collector;
mod daemon;
mod database;
#[macro_use]
mod engines;
mod fixtures;
pub(crate) mod flood;
pub(crate) mod foreign;
mod gateway;
mod ledger;
pub(crate) mod mariadb;
pub(crate) mod postgres;
mod private_server;
mod process;
mod production;
mod small_disk;
pub(crate) mod program;
pub(crate) mod proxy;
pub(crate) mod report;
mod scrape;
mod stack;
mod stream;
pub(crate) mod breakpoint;
mod user;
pub(crate) mod cleanup;
mod world;

use std::time::Duration;

use tokio::time::Instant;

pub(crate) use address::amqp_url;
pub(crate) use database::{Backend, TestDatabase, config};
pub(crate) use fixtures::{Event, Letter};
pub(crate) use gateway::{GatewayShape, UpdatedAt, shapes};
pub(crate) use ledger::Ledger;
pub(crate) use private_server::Server;
pub(crate) use process::Process;
pub(crate) use scrape::Scrape;
pub(crate) use small_disk::SmallDisk;
pub(crate) use stack::{DELAYS, Stack};
pub(crate) use stream::{Mix, Stream};
pub(crate) use user::User;
pub(crate) use world::{World, decide, delivery, event, host, load, settings_of};

/// Returns a client without certificate authorities and proxies: its requests stay on this machine,
/// unencrypted.
pub(crate) fn http_client() -> reqwest::Client {
    // reqwest needs a TLS provider anyway. The call fails only if a provider is already installed.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap()
}

/// Returns the path of a program that a test starts itself. If the program was not found and
/// `HOSTMATCH_TEST_SKIP_PRIVATE` is not set, the test fails: a test that did not run must not look like one
/// that passed.
pub(crate) fn require_or_skip(
    program: &str,
    found: Option<std::path::PathBuf>,
) -> Option<std::path::PathBuf> {
    let skip_allowed = std::env::var_os("HOSTMATCH_TEST_SKIP_PRIVATE").is_some();
    assert!(found.is_some() || skip_allowed, "{program} is not installed; scripts/test installs it");
    found
}

/// Finds promtool, Prometheus' tool for rules and metrics. If it is not installed and
/// `HOSTMATCH_TEST_SKIP_PROMTOOL` is not set, the test fails.
pub(crate) fn promtool() -> Option<std::path::PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&folders).map(|it| it.join("promtool")).find(|it| it.is_file());
    let skip_allowed = std::env::var_os("HOSTMATCH_TEST_SKIP_PROMTOOL").is_some();
    assert!(
        found.is_some() || skip_allowed,
        "promtool is not installed; scripts/test installs it (Debian's prometheus)"
    );
    found
}

/// Returns whether the long tests run too (`scripts/test --full`, `scripts/reliability`).
pub(crate) fn is_full() -> bool {
    std::env::var_os("HOSTMATCH_TEST_FULL").is_some()
}

/// Returns a name that no other test uses.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4().simple())
}

/// Polls until there is a value. After the time limit it panics with the condition, `what`.
pub(crate) async fn eventually<T>(
    what: &str,
    time_limit: Duration,
    mut poll: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + time_limit;
    // Short pauses at first, longer ones later: quick results are seen early, slow ones are not polled too
    // often.
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not true within {time_limit:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(50));
    }
}
