//! Tests what only the embedded queue can meet: expired leases, unusable files and other processes.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hostmatch::queue::{Batch, BatchLimits, Disposition, Queue, QueueError, Source, Spool, SpoolLimits};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};

use super::fixture::{
    LIMITS, QueueFixture, SHORT_DELAY, WAIT_TIMEOUT, assert_idle, bodies, config, drain, headers, message,
    next_batch, retry, settle_all,
};
use crate::support::{SmallDisk, eventually};

const SPOOL_LIMITS: SpoolLimits = SpoolLimits { max_bytes: 1 << 20, max_age: Duration::from_secs(3600) };

async fn sqlite(fixture: &QueueFixture) -> DatabaseConnection {
    Database::connect(fixture.config.url.expose()).await.unwrap()
}

/// Loses a batch as a crash would: it is neither settled nor returned.
fn forget(batch: Batch) {
    std::mem::forget(batch);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_crashed_process_are_redelivered_when_its_lease_ends() {
    let fixture = QueueFixture::embedded().await;
    fixture.publish(&["held", "free"]).await;
    let mut crashing = fixture.queue.consumer(Source::Bookings, BatchLimits { size: 1, bytes: 100 });
    forget(next_batch(&mut crashing).await);
    let other = fixture.reopen().await;
    let mut consumer = other.consumer(Source::Bookings, LIMITS);
    assert_eq!(
        drain(&mut consumer, 1).await,
        ["free"],
        "a leased message is not delivered to other processes"
    );
    assert_idle(&mut consumer).await;
    assert_eq!(other.depth().await.unwrap().in_flight, Some(1));
    sqlite(&fixture).await.execute_unprepared("UPDATE messages SET leased_until_ms = 1").await.unwrap();
    let again = next_batch(&mut consumer).await;
    assert_eq!(bodies(again.deliveries()), ["held"]);
    assert!(again.deliveries()[0].redelivered);
    assert_eq!(settle_all(again, Disposition::Ack).await.acked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_lease_has_ended_cannot_be_settled() {
    let fixture = QueueFixture::embedded().await;
    fixture.publish(&["slow"]).await;
    let slow = next_batch(&mut fixture.work_consumer()).await;
    sqlite(&fixture).await.execute_unprepared("UPDATE messages SET leased_until_ms = 1").await.unwrap();
    let quick = next_batch(&mut fixture.work_consumer()).await;
    let settled = settle_all(slow, Disposition::Ack).await;
    assert_eq!((settled.acked, settled.lost), (0, 1));
    assert_eq!(settle_all(quick, Disposition::Ack).await.acked, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_messages_survive_reopening_the_file() {
    let fixture = QueueFixture::embedded().await;
    fixture.publish(&["kept"]).await;
    fixture.queue.close().await;
    let queue = fixture.reopen().await;
    let mut consumer = queue.consumer(Source::Bookings, LIMITS);
    assert_eq!(drain(&mut consumer, 1).await, ["kept"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_waits_for_the_write_of_another_process() {
    let fixture = QueueFixture::embedded().await;
    let other = sqlite(&fixture).await;
    other.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let publisher = fixture.queue.publisher();
    let publishing = tokio::spawn(async move { publisher.publish(vec![message("waiting")]).await });
    let early = tokio::time::timeout(Duration::from_millis(300), fixture.queue.depth()).await;
    assert_eq!(early.unwrap().unwrap().ready, 0, "reading does not wait for the write");
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

    std::fs::write(&path, "This is text, and not a database. ".repeat(40)).unwrap();
    let error = open(url.clone()).await.to_string();
    assert!(error.contains("not a SQLite file") && error.contains("file.db"), "{error}");
    std::fs::remove_file(&path).unwrap();

    let foreign = Database::connect(format!("{url}?mode=rwc")).await.unwrap();
    foreign.execute_unprepared("CREATE TABLE invoices (id INTEGER)").await.unwrap();
    foreign.close().await.unwrap();
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
    assert!(matches!(open("sqlite://:memory:".to_owned()).await, QueueError::Config(_)));
}

/// Returns the modes of these files in a directory.
fn modes(directory: &Path, names: &[&str]) -> Vec<u32> {
    let mode = |name: &&str| directory.join(name).metadata().unwrap().permissions().mode() & 0o777;
    names.iter().map(mode).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_queue_and_spool_files_are_private_and_existing_ones_keep_their_mode() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    // SQLite creates the target of a link.
    symlink("target.db", at("link.db")).unwrap();
    let queue = Queue::open(&config(&format!("sqlite://{}", at("link.db").display()))).await.unwrap();
    queue.publisher().publish(vec![message("one")]).await.unwrap();
    assert_eq!(modes(directory.path(), &["target.db", "target.db-wal", "target.db-shm"]), [0o600; 3]);
    queue.close().await;
    let spool = Spool::open(at("spool.db"), SPOOL_LIMITS).await.unwrap();
    spool.append(vec![message("one")]).await.unwrap();
    let names = ["spool.db", "spool.db-wal", "spool.db-shm", "spool.db.lock", "spool.db.reserve"];
    assert_eq!(modes(directory.path(), &names), [0o600; 5]);
    spool.close().await;
    std::fs::set_permissions(at("spool.db"), Permissions::from_mode(0o640)).unwrap();
    drop(spool);
    let spool = Spool::open(at("spool.db"), SPOOL_LIMITS).await.unwrap();
    assert_eq!(spool.level().messages, 1);
    assert_eq!(modes(directory.path(), &["spool.db"]), [0o640], "a group may have been given access");
    spool.close().await;
}

#[tokio::test]
async fn the_lock_of_a_spool_follows_no_link() {
    let directory = tempfile::tempdir().unwrap();
    symlink("elsewhere", directory.path().join("spool.db.lock")).unwrap();
    let opened = Spool::open(directory.path().join("spool.db"), SPOOL_LIMITS).await;
    let error = opened.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("spool.db.lock is a symbolic link") && error.contains("remove it"), "{error}");
    assert!(!directory.path().join("elsewhere").exists());
}

#[tokio::test]
async fn a_queue_or_spool_of_another_user_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let queue = Queue::open(&config(&format!("sqlite://{}", at("queue.db").display()))).await.unwrap();
    queue.close().await;
    let spool = Spool::open(at("spool.db"), SPOOL_LIMITS).await.unwrap();
    spool.close().await;
    drop(spool);
    // Only root may give files away.
    if chown(at("queue.db"), Some(4242), None).is_err() {
        return;
    }
    let opened = Queue::open(&config(&format!("sqlite://{}", at("queue.db").display()))).await;
    let error = opened.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("belongs to the user with the id 4242") && error.contains("chown"), "{error}");
    for name in ["spool.db", "spool.db-wal", "spool.db.lock"] {
        std::fs::OpenOptions::new().create(true).append(true).open(at(name)).unwrap();
        chown(at(name), Some(4242), None).unwrap();
        let opened = Spool::open(at("spool.db"), SPOOL_LIMITS).await;
        let error = opened.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(&format!("{name} belongs to the user with the id 4242")), "{error}");
        chown(at(name), Some(0), None).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_is_renewed_while_its_batch_is_unsettled() {
    let fixture = QueueFixture::embedded().await;
    fixture.publish(&["long"]).await;
    let long = next_batch(&mut fixture.work_consumer()).await;
    let database = sqlite(&fixture).await;
    let lease_end = async || {
        let sql = "SELECT leased_until_ms FROM messages";
        let row = database.query_one_raw(Statement::from_string(DbBackend::Sqlite, sql)).await.unwrap();
        row.unwrap().try_get_by_index::<i64>(0).unwrap()
    };
    let first = lease_end().await;
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    assert!(first - now <= 10_000, "after a crash the message waits no longer than documented");
    eventually("the lease is renewed", Duration::from_secs(50), async || {
        (lease_end().await > first).then_some(())
    })
    .await;
    assert_eq!(settle_all(long, Disposition::Ack).await.acked, 1);
}

/// On a full disk nothing new is accepted until something is removed, and everything can be removed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_messages_can_still_be_settled() {
    let Some(disk) = SmallDisk::mount() else { return };
    let config = config(&format!("sqlite://{}", disk.path().join("queue.db").display()));
    let queue = Queue::open(&config).await.unwrap();
    let (publisher, large) = (queue.publisher(), message(&"x".repeat(3_000)));
    let mut published = 0;
    let mut fill = async |free: u64| {
        disk.fill(free);
        while publisher.publish(vec![large.clone()]).await.is_ok() {
            published += 1;
            assert!(published < 20_000, "the disk is never full");
        }
    };
    fill(8 << 20).await;
    fill(0).await;
    assert!(!publisher.is_ready());

    let mut consumer = queue.consumer(Source::Bookings, LIMITS);
    let dead_letter = Disposition::DeadLetter { headers: headers(&[("error", "unreadable")]) };
    assert_eq!(settle_all(next_batch(&mut consumer).await, dead_letter).await.dead, LIMITS.size);
    assert_eq!(settle_all(next_batch(&mut consumer).await, retry(SHORT_DELAY)).await.retried, LIMITS.size);
    drain(&mut consumer, LIMITS.size).await;
    // These fit into the pages of those that were removed.
    eventually("the queue is ready again", WAIT_TIMEOUT, async || publisher.is_ready().then_some(())).await;
    publisher.publish(vec![large.clone(); 20]).await.unwrap();
    drain(&mut consumer, published - 2 * LIMITS.size + 20).await;
    assert_eq!(drain(&mut queue.consumer(Source::Dead, LIMITS), LIMITS.size).await.len(), LIMITS.size);
    assert_idle(&mut consumer).await;
    let reserved = || disk.path().join("queue.db.reserve").metadata().unwrap().len() >> 20;
    assert!(reserved() < 16, "a part was used");
    disk.make_room();
    publisher.publish(vec![large]).await.unwrap();
    assert_eq!(reserved(), 16);
}
