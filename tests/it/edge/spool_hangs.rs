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

use super::spool::{Rig, WAIT_TIMEOUT};
use crate::support::broker::Broker;
use crate::support::eventually;
use crate::support::proxy::Mode;

/// Locks the spool file until the transaction ends: every writer waits.
async fn lock_spool_file(rig: &Rig) -> DatabaseTransaction {
    let file = rig.site.dir.path().join("spool.db");
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
    let mut rig = Rig::open(|edge, _| {
        edge.max_in_flight = 4;
        edge.request_timeout = Duration::from_millis(500);
    })
    .await;
    rig.cut_broker().await;
    rig.assert_accepted("before").await;
    let lock = lock_spool_file(&rig).await;
    let ids = ["a", "b", "c", "d"];
    let answers = join_all(ids.iter().map(|id| rig.post(id))).await;
    assert_eq!(answers, [StatusCode::SERVICE_UNAVAILABLE; 4], "each request is answered in time");
    // The requests have been answered, but their bodies are still waiting for the disk.
    assert_eq!(rig.post("one more").await, StatusCode::TOO_MANY_REQUESTS);
    eventually(
        "the health route reports that no event would be accepted",
        Duration::from_secs(20),
        async || {
            let (status, reported) = rig.ready().await;
            let reasons = reported["reasons"].to_string();
            (status == StatusCode::SERVICE_UNAVAILABLE && reasons.contains("does not answer")).then_some(())
        },
    )
    .await;
    lock.rollback().await.unwrap();
    eventually("events are accepted again", WAIT_TIMEOUT, async || {
        (rig.post("after").await == StatusCode::OK).then_some(())
    })
    .await;
    rig.proxy.set(Mode::Pass);
    let accepted = ["before", "after"].map(str::to_owned);
    rig.received.wait_for(&accepted).await;
    rig.wait_for_status("ready").await;
    rig.report_and_close("disk hangs", &accepted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_file_hangs_events_bypass_the_spool() {
    let mut rig = Rig::open(|edge, _| edge.request_timeout = Duration::from_secs(2)).await;
    rig.cut_broker().await;
    rig.assert_accepted("spooled").await;
    let lock = lock_spool_file(&rig).await;
    rig.proxy.set(Mode::Pass);
    // A forwarded message cannot be removed, so the spool is not empty.
    rig.received.wait_for(&["spooled".to_owned()]).await;
    eventually("an event is accepted anyway", Duration::from_secs(20), async || {
        (rig.post("past").await == StatusCode::OK).then_some(())
    })
    .await;
    rig.received.wait_for(&["past".to_owned()]).await;
    assert_eq!(rig.ready().await.0, StatusCode::OK);
    lock.rollback().await.unwrap();
    rig.wait_for_status("ready").await;
    rig.report_and_close("disk hangs, broker back", &["spooled", "past"].map(str::to_owned)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reachable_broker_that_accepts_nothing_is_reported_when_the_spool_is_full() {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    let mut rig = Rig::open_on(&broker.url(), |edge, _| edge.spool_max_bytes = 20_000).await;
    let limit = json!({ "max-length": 1 }).to_string();
    broker.control(&["set_policy", "--apply-to", "queues", "full", ".*", &limit]).await;
    let (mut accepted, mut refused) = (Vec::new(), 0);
    while refused < 3 {
        let id = format!("e{}", accepted.len());
        match rig.post(&id).await {
            StatusCode::OK => accepted.push(id),
            _ => refused += 1,
        }
        assert!(accepted.len() < 1_000, "the broker still accepts");
    }
    // The edge stays connected and refuses events: its health route must never report that it is ready.
    for _ in 0..20 {
        let (status, reported) = rig.ready().await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{reported}");
        assert!(reported["reasons"].to_string().contains("did not accept the last message"), "{reported}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.control(&["clear_policy", "full"]).await;
    // A queue that was full accepts messages again after some have been removed.
    rig.received.wait_for(&accepted).await;
    rig.wait_for_status("ready").await;
    rig.report_and_close("broker's queue full, then the spool", &accepted).await;
}
