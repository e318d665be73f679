//! A session of the gateway keeps a lock for a long time. This delays only the bookings that need the locked
//! row. It does not use up their attempts, and they are decided when the lock is released.

use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseTransaction};
use serde_json::Value;

use crate::support::{Backend, GatewayShape, Process, Stack, UpdatedAt, event, eventually, host};

const WAIT_TIMEOUT: Duration = Duration::from_secs(120);
const DEFERRED: &str = "another session keeps rows locked: these events are deferred";
const BOOKINGS: u32 = 20;

on_engines!(a_locked_appointment_delays_only_its_own_booking: mariadb, postgres);
async fn a_locked_appointment_delays_only_its_own_booking(backend: Backend) {
    assert_only_one_is_delayed(backend, "SELECT * FROM appointments WHERE id = 13 FOR UPDATE").await;
}

on_engines!(a_locked_staff_row_delays_only_its_own_bookings: mariadb, postgres);
/// Setting `staff_id` needs a lock on the row of the member of staff: here the whole transaction fails.
async fn a_locked_staff_row_delays_only_its_own_bookings(backend: Backend) {
    assert_only_one_is_delayed(backend, "SELECT * FROM staff WHERE name = 'Nadja Okafor' FOR UPDATE").await;
}

async fn assert_only_one_is_delayed(backend: Backend, lock: &str) {
    let (stack, events) = salon(backend).await;
    let mut worker = stack.worker().await;
    let theirs = lock_rows(&stack, lock).await;
    stack.publish(&events).await;
    let all = usize::try_from(BOOKINGS).unwrap();
    stack.wait_until_decided(all - 1).await;
    // The event is tried more often than a failing event would be.
    let tries = stack.config.retry_delays.len() + 2;
    eventually("the event is deferred repeatedly", WAIT_TIMEOUT, async || {
        (worker.log_lines(DEFERRED).len() >= tries).then_some(())
    })
    .await;
    let waiting = stack.world.rows("hostmatch_events WHERE event_id = 'e13'", &["outcome"]).await;
    assert!(waiting.is_empty(), "{backend:?}: {waiting:?}");
    assert!(worker.log_lines(DEFERRED).iter().all(|line| line["events"] == 1), "alone: {}", worker.stderr());

    theirs.rollback().await.unwrap();
    stack.wait_until_decided(all).await;
    assert_all_decided(&stack, &mut worker).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_delays_everything_and_counts_no_attempt() {
    for (backend, lock) in [
        (Backend::MariaDb, "LOCK TABLES appointments WRITE"),
        (Backend::Postgres, "LOCK TABLE appointments IN EXCLUSIVE MODE"),
    ] {
        let (mut stack, events) = salon(backend).await;
        stack.set("database.statement_timeout", "1s");
        let theirs = lock_rows(&stack, lock).await;
        let mut worker = stack.worker().await;
        stack.publish(&events).await;
        worker
            .wait_for_log(
                "another session keeps rows or tables locked: holding the batch without counting an attempt",
            )
            .await;
        assert_eq!(stack.decided().await, 0);
        assert!(!worker.stderr().contains("the database cannot be used"), "{}", worker.stderr());
        if backend == Backend::MariaDb {
            theirs.execute_unprepared("UNLOCK TABLES").await.unwrap();
        }
        theirs.rollback().await.unwrap();
        stack.wait_until_decided(events.len()).await;
        assert_all_decided(&stack, &mut worker).await;
    }
}

on_engines!(the_probe_does_not_mind_locked_rows: mariadb, postgres);
/// The doctor and a worker whose events were deferred try what a decision does: rows that other sessions lock
/// are no fault.
async fn the_probe_does_not_mind_locked_rows(backend: Backend) {
    let (stack, events) = salon(backend).await;
    stack.world.send(&events).await;
    stack.world.send(&[event("e-21", "B1", 1, host(3003, "Nobody", ""))]).await;
    for table in [
        "appointments",
        "staff",
        "calcom_host_mappings",
        "hostmatch_assignments",
        "hostmatch_events",
        "hostmatch_host_locks",
        "hostmatch_inbox",
    ] {
        let theirs = lock_rows(&stack, &format!("SELECT * FROM {table} FOR UPDATE")).await;
        let probed = stack.world.processor.probe().await;
        assert!(probed.is_ok(), "{backend:?}, {table}: {probed:?}");
        theirs.rollback().await.unwrap();
    }
}

on_engines!(a_table_that_is_locked_for_a_moment_is_no_fault: mariadb, postgres);
/// From the gateway's rows on, the probe waits for no lock.
async fn a_table_that_is_locked_for_a_moment_is_no_fault(backend: Backend) {
    let (stack, _) = salon(backend).await;
    let [lock, unlock] = match backend {
        Backend::MariaDb => ["LOCK TABLES hostmatch_inbox WRITE", "UNLOCK TABLES"],
        _ => ["LOCK TABLE hostmatch_inbox IN EXCLUSIVE MODE", "SELECT 1"],
    };
    let theirs = lock_rows(&stack, lock).await;
    let release = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        theirs.execute_unprepared(unlock).await.unwrap();
        theirs.rollback().await.unwrap();
    };
    let (probed, ()) = tokio::join!(stack.world.processor.probe(), release);
    assert!(probed.is_ok(), "{backend:?}: {probed:?}");
}

/// Creates two people; all bookings are with one of them, except number 13.
async fn salon(backend: Backend) -> (Stack, Vec<Value>) {
    let stack = Stack::new(backend, GatewayShape::Production(UpdatedAt::Local)).await;
    let world = &stack.world;
    world.company(1).await;
    world.staff(1, 1, "Frida Spitz", "frida@salon.example").await;
    world.staff(2, 1, "Nadja Okafor", "nadja@salon.example").await;
    for id in 1..=BOOKINGS {
        world.appointment(id, 1, &format!("B{id}")).await;
    }
    let one = |id: u32| {
        let who = match id {
            13 => host(2002, "Nadja O.", "nadja@salon.example"),
            _ => host(1001, "Frida S.", "frida@salon.example"),
        };
        event(&format!("e{id}"), &format!("B{id}"), 1, who)
    };
    (stack, (1..=BOOKINGS).map(one).collect())
}

async fn lock_rows(stack: &Stack, statement: &str) -> DatabaseTransaction {
    let theirs = stack.world.test.db.begin().await.unwrap();
    theirs.execute_unprepared(statement).await.unwrap();
    theirs
}

async fn assert_all_decided(stack: &Stack, worker: &mut Process) {
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    assert_eq!(stack.world.count("hostmatch_dead_letters").await, 0);
    assert!(worker.log_lines("an event is tried again later").is_empty(), "no attempt: {}", worker.stderr());
    for (id, state) in stack.world.appointments().await {
        assert_eq!(state, if id == 13 { "2/2002" } else { "1/1001" }, "{id}");
    }
}
