//! Tests that faults of the database are counted once, and are visible as long as they last.

use super::{in_hours, mara, salon};
use crate::support::{Backend, Scrape, event, host};

/// One event of a batch is refused. The attempts at the other events, until it is isolated, are not counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_refused_counts_once() {
    let mut stack = salon(Backend::Sqlite).await;
    stack.set("queue.retry_delays", "1h");
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON appointments WHEN NEW.id = 3 \
                  BEGIN SELECT RAISE(ABORT, 'no'); END";
    stack.world.run(refuse).await;
    let events: Vec<_> = (1..=8).map(|n| event(&format!("e{n}"), &format!("Bk-{n}"), 1, mara())).collect();
    stack.publish(&events).await;
    let mut worker = stack.worker().await;
    let all = |scrape: &Scrape| {
        scrape.sum("hostmatch_events_processed_total") + scrape.sum("hostmatch_event_retries_total") == 8.0
    };
    let scrape = Scrape::until(&Scrape::base(&mut worker).await, "all events are settled", all).await;
    assert_eq!(scrape.nonzero("hostmatch_event_retries_total"), ["refused: 1"]);
    assert_eq!(scrape.samples_of("hostmatch_matches_total")["none error"], 1.0);
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

/// The sampler's queries succeed although events are waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_answers_but_cannot_be_used_is_reported_as_down() {
    let mut stack = salon(Backend::Sqlite).await;
    stack.set("worker.hold", "100ms");
    let mut worker = stack.worker().await;
    let base = Scrape::base(&mut worker).await;
    stack.publish(&[in_hours(2, "e1", 1, host(12, "Nobody", "x@else.example"))]).await;
    let unassigned = |count: f64| move |scrape: &Scrape| scrape.sum("hostmatch_unassigned_bookings") == count;
    Scrape::until(&base, "a booking without staff", unassigned(3.0)).await;

    stack.world.run("ALTER TABLE staff RENAME TO staff_renamed").await;
    stack.publish(&[event("e2", "Bk-2", 1, mara())]).await;
    Scrape::until(&base, "the database cannot be used", |scrape| scrape.value("hostmatch_db_up") == 0.0)
        .await;
    stack.world.set_staff_externally(1, Some(2)).await;
    let scrape = Scrape::until(&base, "another sample", unassigned(0.0)).await;
    assert_eq!(
        (scrape.value("hostmatch_db_up"), scrape.samples_of("hostmatch_sample_up")["database"]),
        (0.0, 1.0)
    );

    stack.world.run("ALTER TABLE staff_renamed RENAME TO staff").await;
    Scrape::until(&base, "the database can be used again", |scrape| scrape.value("hostmatch_db_up") == 1.0)
        .await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}
