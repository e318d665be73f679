//! Tests conditions that only the embedded queue meets: crashes, foreign files and other processes.

use std::time::Duration;

use hostmatch::queue::{Batch, BatchLimits, Disposition, Queue, QueueError, Source};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use super::rig::{LIMITS, Rig, WAIT_TIMEOUT, all, assert_idle, batch, bodies, config, drain, message};
use crate::support::eventually;

async fn sqlite(rig: &Rig) -> DatabaseConnection {
    Database::connect(rig.config.url.expose()).await.unwrap()
}

/// Drops a batch as a crashed holder would.
fn crash(batch: Batch) {
    std::mem::forget(batch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_crashed_process_are_redelivered_when_its_lease_ends() {
    let rig = Rig::embedded().await;
    rig.publish(&["held", "free"]).await;
    let mut crashing = rig.queue.consumer(Source::Bookings, BatchLimits { size: 1, bytes: 100 });
    crash(batch(&mut crashing).await);
    let other = rig.other().await;
    let mut consumer = other.consumer(Source::Bookings, LIMITS);
    assert_eq!(drain(&mut consumer, 1).await, ["free"], "a lease excludes other processes");
    assert_idle(&mut consumer).await;
    assert_eq!(other.depth().await.unwrap().in_flight, Some(1));
    sqlite(&rig).await.execute_unprepared("UPDATE messages SET leased_until_ms = 1").await.unwrap();
    let again = batch(&mut consumer).await;
    assert_eq!(bodies(again.deliveries()), ["held"]);
    assert!(again.deliveries()[0].redelivered);
    assert_eq!(all(again, Disposition::Ack).await.acked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_lease_has_ended_cannot_be_settled() {
    let rig = Rig::embedded().await;
    rig.publish(&["slow"]).await;
    let slow = batch(&mut rig.work()).await;
    sqlite(&rig).await.execute_unprepared("UPDATE messages SET leased_until_ms = 1").await.unwrap();
    let quick = batch(&mut rig.work()).await;
    let settled = all(slow, Disposition::Ack).await;
    assert_eq!((settled.acked, settled.lost), (0, 1));
    assert_eq!(all(quick, Disposition::Ack).await.acked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_messages_are_there_after_a_reopening() {
    let rig = Rig::embedded().await;
    rig.publish(&["kept"]).await;
    rig.queue.close().await;
    let queue = rig.other().await;
    let mut consumer = queue.consumer(Source::Bookings, LIMITS);
    assert_eq!(drain(&mut consumer, 1).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_another_process() {
    let rig = Rig::embedded().await;
    let other = sqlite(&rig).await;
    other.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let publisher = rig.queue.publisher();
    let publishing = tokio::spawn(async move { publisher.publish(vec![message("patient")]).await });
    let early = tokio::time::timeout(Duration::from_millis(300), rig.queue.depth()).await;
    assert_eq!(early.unwrap().unwrap().ready, 0, "reading was blocked");
    assert!(!publishing.is_finished());
    other.execute_unprepared("COMMIT").await.unwrap();
    tokio::time::timeout(WAIT_TIMEOUT, publishing).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_file_that_cannot_be_the_queue_is_refused_with_an_explanation() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file.db");
    let open = async |url: String| Queue::open(&config(&url)).await.map(|_| ()).unwrap_err();
    let url = format!("sqlite://{}", path.display());

    std::fs::write(&path, "this is a letter to my grandmother, and quite long enough. ".repeat(40)).unwrap();
    let error = open(url.clone()).await.to_string();
    assert!(error.contains("not a SQLite file") && error.contains("file.db"), "{error}");
    std::fs::remove_file(&path).unwrap();

    let stranger = Database::connect(format!("{url}?mode=rwc")).await.unwrap();
    stranger.execute_unprepared("CREATE TABLE invoices (id INTEGER)").await.unwrap();
    stranger.close().await.unwrap();
    let error = open(url.clone()).await.to_string();
    assert!(error.contains("not a hostmatch queue"), "{error}");
    std::fs::remove_file(&path).unwrap();

    let queue = Queue::open(&config(&url)).await.unwrap();
    queue.close().await;
    let newer = Database::connect(&url).await.unwrap();
    newer.execute_unprepared("PRAGMA user_version = 99").await.unwrap();
    newer.close().await.unwrap();
    let error = open(url).await.to_string();
    assert!(error.contains("another version"), "{error}");

    let error = open(format!("sqlite://{}/no/such/directory/q.db", directory.path().display())).await;
    assert!(matches!(error, QueueError::File { .. }), "{error}");
    assert!(error.to_string().contains("directory"), "{error}");
    assert!(matches!(open("sqlite://:memory:".to_owned()).await, QueueError::Url(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_while_its_batch_is_in_hand() {
    let rig = Rig::embedded().await;
    rig.publish(&["long"]).await;
    let long = batch(&mut rig.work()).await;
    let database = sqlite(&rig).await;
    let ends = async || {
        let sql = "SELECT leased_until_ms FROM messages";
        let row = database.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
        row.unwrap().try_get_by_index::<i64>(0).unwrap()
    };
    let first = ends().await;
    eventually("renewed", Duration::from_secs(50), async || (ends().await > first).then_some(())).await;
    assert_eq!(all(long, Disposition::Ack).await.acked, 1);
}
