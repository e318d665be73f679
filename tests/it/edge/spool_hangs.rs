//! Tests silent failures: a spool file that hangs, and a broker that is reachable but accepts no
//! messages.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use sea_orm::{
    ConnectOptions, Database, DatabaseTransaction, SqliteTransactionMode, TransactionOptions,
    TransactionTrait as _,
};
use serde_json::json;

use super::spool::{SpoolFixture, WAIT_TIMEOUT};
use crate::support::broker::Broker;
use crate::support::eventually;
use crate::support::proxy::Mode;

/// Locks the spool file until the transaction ends: every writer waits.
async fn lock_spool_file(fixture: &SpoolFixture) -> DatabaseTransaction {
    let file = fixture.site.dir.path().join("spool.db");
    let mut options = ConnectOptions::new(format!("sqlite://{}", file.display()));
    options.max_connections(1);
    let immediate = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    Database::connect(options).await.unwrap().begin_with_options(immediate).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_file_hangs_requests_over_the_limit_get_429() {
    let mut fixture = SpoolFixture::open(|edge, _| {
        edge.max_in_flight = 4;
        edge.request_timeout = Duration::from_millis(500);
    })
    .await;
    fixture.cut_broker().await;
    fixture.assert_accepted("before").await;
    let lock = lock_spool_file(&fixture).await;
    let ids = ["a", "b", "c", "d"];
    let answers = join_all(ids.iter().map(|id| fixture.post(id))).await;
    assert_eq!(answers, [StatusCode::SERVICE_UNAVAILABLE; 4], "each request is answered in time");
    // The requests have been answered, but their bodies are still waiting for the disk.
    assert_eq!(fixture.post("one more").await, StatusCode::TOO_MANY_REQUESTS);
    eventually(
        "the health route reports that no event would be accepted",
        Duration::from_secs(20),
        async || {
            let (status, reported) = fixture.ready().await;
            let reasons = reported["reasons"].to_string();
            (status == StatusCode::SERVICE_UNAVAILABLE && reasons.contains("does not answer")).then_some(())
        },
    )
    .await;
    lock.rollback().await.unwrap();
    eventually("events are accepted again", WAIT_TIMEOUT, async || {
        (fixture.post("after").await == StatusCode::OK).then_some(())
    })
    .await;
    fixture.proxy.set(Mode::Pass);
    let accepted = ["before", "after"].map(str::to_owned);
    fixture.received.wait_for(&accepted).await;
    fixture.wait_for_status("ready").await;
    fixture.report_and_close("disk hangs", &accepted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_file_hangs_events_bypass_the_spool() {
    let mut fixture = SpoolFixture::open(|edge, _| edge.request_timeout = Duration::from_secs(2)).await;
    fixture.cut_broker().await;
    fixture.assert_accepted("spooled").await;
    let lock = lock_spool_file(&fixture).await;
    fixture.proxy.set(Mode::Pass);
    // A forwarded message cannot be removed, so the spool is not empty.
    fixture.received.wait_for(&["spooled".to_owned()]).await;
    eventually("an event is accepted anyway", Duration::from_secs(20), async || {
        (fixture.post("past").await == StatusCode::OK).then_some(())
    })
    .await;
    fixture.received.wait_for(&["past".to_owned()]).await;
    assert_eq!(fixture.ready().await.0, StatusCode::OK);
    lock.rollback().await.unwrap();
    fixture.wait_for_status("ready").await;
    fixture.report_and_close("disk hangs, broker back", &["spooled", "past"].map(str::to_owned)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reachable_broker_that_accepts_nothing_is_reported_when_the_spool_is_full() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    let mut fixture = SpoolFixture::open_on(&broker.url(), |edge, _| edge.spool_max_bytes = 20_000).await;
    let limit = json!({ "max-length": 1 }).to_string();
    broker.control(&["set_policy", "--apply-to", "queues", "full", ".*", &limit]).await;
    let (mut accepted, mut refused) = (Vec::new(), 0);
    while refused < 3 {
        let id = format!("e{}", accepted.len());
        match fixture.post(&id).await {
            StatusCode::OK => accepted.push(id),
            _ => refused += 1,
        }
        assert!(accepted.len() < 1_000, "the broker still accepts");
    }
    // The edge stays connected and refuses events: its health route must never report that it is ready.
    for _ in 0..20 {
        let (status, reported) = fixture.ready().await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{reported}");
        assert!(reported["reasons"].to_string().contains("did not accept the last message"), "{reported}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.control(&["clear_policy", "full"]).await;
    // A queue that was full accepts messages again after some have been removed.
    fixture.received.wait_for(&accepted).await;
    fixture.wait_for_status("ready").await;
    fixture.report_and_close("broker's queue full, then the spool", &accepted).await;
}
