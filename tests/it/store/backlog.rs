//! Tests that the backlog is counted correctly on every engine and by company, and read through an index.

use std::collections::BTreeMap;
use std::time::Duration;

use hostmatch::config::DatabaseConfig;
use hostmatch::event::CompanyId;
use hostmatch::store::{
    Database, InboxKind, Scope, StoreError, Unassigned, WaitingCount, Work, Worker, ages_since,
    last_decided_ms, open_dead_letters, open_inbox, outcomes_since, purge_workers, record_heartbeat,
    remove_worker, sum_waiting, unassigned, workers,
};
use serde_json::{Value, json};

use crate::decide::reading::{UNRELATED_ROWS, create_filled_database, most_read_tables, rows_read, run};
use crate::support::{Backend, GatewayShape, Letter, World, config, event, host};

/// 2026-03-01T10:00:00Z, 23 hours before most of the bookings here start.
const NOW_MS: i64 = 1_772_359_200_000;
const HOUR_MS: i64 = 3_600_000;

async fn salon(backend: Backend) -> World {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    for id in 1..=12 {
        world.appointment(id, if id == 12 { 16 } else { 15 }, &format!("Bk-{id}")).await;
    }
    world
}

fn with_start(mut event: Value, start: &str) -> Value {
    event["calcom_booking"]["start"] = json!(start);
    event
}

fn cancelled(event: &Value, id: &str) -> Value {
    let mut event = event.clone();
    event["event_id"] = json!(id);
    event["event"] = json!("appointment.cancelled");
    event
}

on_engines!(bookings_without_staff_are_counted_by_when_they_start);
async fn bookings_without_staff_are_counted_by_when_they_start(backend: Backend) {
    let world = salon(backend).await;
    let mara = || host(11, "Mara Lind", "mara@salon.example");
    let nobody = || host(14, "Nobody", "");
    let called_off = event("e-3", "Bk-3", 1, nobody());
    let alive_again = event("e-11", "Bk-11", 1, nobody());
    world
        .send(&[
            event("e-1", "Bk-1", 1, mara()),
            event("e-2", "Bk-2", 1, host(13, "Mara Lind", "")),
            called_off.clone(),
            event("e-4", "Bk-4", 1, json!([])),
            event("e-5", "Bk-5", 1, mara()),
            event("e-6", "Bk-6", 1, nobody()),
            with_start(event("e-7", "Bk-7", 1, nobody()), "2026-03-01T09:59:00Z"),
            with_start(event("e-8", "Bk-8", 1, nobody()), "2026-03-04T09:00:00Z"),
            with_start(event("e-9", "Bk-9", 1, nobody()), "2026-04-04T09:00:00Z"),
            cancelled(&event("e-10", "Bk-10", 1, nobody()), "c-10"),
            cancelled(&alive_again, "c-11"),
            event("e-12", "Bk-12", 1, nobody()),
        ])
        .await;
    world.send(&[cancelled(&called_off, "c-3"), alive_again]).await;
    // Meanwhile a person, or the gateway, has decided.
    world.set_staff_externally(5, None).await;
    world.set_staff_externally(6, Some(1)).await;

    let db = world.test.db.connection();
    let ask = async |company: Option<i64>| {
        unassigned(db, &Scope::of(company.map(CompanyId)), NOW_MS).await.unwrap()
    };
    let next_ms = Some(NOW_MS + 23 * HOUR_MS);
    // Appointments 2, 4, 5 and 11; then 8; then 9.
    assert_eq!(ask(Some(15)).await, Unassigned { day: 4, week: 5, all: 6, next_ms }, "{backend:?}");
    assert_eq!(ask(Some(16)).await, Unassigned { day: 1, week: 1, all: 1, next_ms }, "{backend:?}");
    assert_eq!(ask(None).await, Unassigned { day: 5, week: 6, all: 7, next_ms }, "{backend:?}");
    assert_eq!(ask(Some(17)).await, Unassigned::default(), "{backend:?}");
}

on_engines!(inbox_items_are_counted_by_kind);
async fn inbox_items_are_counted_by_kind(backend: Backend) {
    let world = salon(backend).await;
    world
        .send(&[
            event("e-1", "Bk-1", 1, host(13, "Mara Lind", "")),
            event("e-2", "Bk-2", 1, host(14, "Nobody", "")),
            event("e-3", "Bk-3", 1, host(15, "Nobody", "")),
            event("e-4", "Bk-4", 1, host(16, "Nobody", "")),
            event("e-12", "Bk-12", 1, host(14, "Nobody", "")),
        ])
        .await;
    // Host 15 is ignored permanently; the ignore period of host 16 is over, and it is a conflict.
    for change in [
        "state_changed_ms = company_id * 100 + host_id",
        "state = 'ignored' WHERE host_id = 15",
        "state = 'ignored', ignored_until_ms = 7 WHERE host_id = 16",
        "kind = 'ambiguous', suggestions = '[{\"field\":\"mapping\"}]' WHERE host_id = 16",
    ] {
        world.run(&format!("UPDATE hostmatch_inbox SET {change}")).await;
    }
    let db = world.test.db.connection();
    let waits = |count, oldest_ms: i64| WaitingCount { count, oldest_ms: (count > 0).then_some(oldest_ms) };
    let found = open_inbox(db, &Scope::of(Some(CompanyId(15))), NOW_MS).await.unwrap();
    let expected = BTreeMap::from([
        (InboxKind::Suggestion, waits(1, 1_513)),
        (InboxKind::Ambiguous, waits(0, 0)),
        (InboxKind::Unknown, waits(1, 1_514)),
        (InboxKind::Conflict, waits(1, 7)),
    ]);
    assert_eq!(found, expected, "{backend:?}");
    assert_eq!(sum_waiting(found.values()), waits(3, 7));
    let found = open_inbox(db, &Scope::All, 6).await.unwrap();
    assert_eq!(found[&InboxKind::Unknown], waits(2, 1_514), "{backend:?}");
    assert_eq!(found[&InboxKind::Conflict], waits(0, 0), "not yet: {backend:?}");
    world.run("UPDATE hostmatch_inbox SET state = 'resolved'").await;
    assert_eq!(
        sum_waiting(open_inbox(db, &Scope::All, NOW_MS).await.unwrap().values()),
        WaitingCount::default()
    );
}

on_engines!(dead_letters_are_counted_by_reason_while_they_are_open);
async fn dead_letters_are_counted_by_reason_while_they_are_open(backend: Backend) {
    let world = salon(backend).await;
    for (n, company, reason, state) in [
        (5, Some(15), "malformed", "open"),
        (4, Some(15), "malformed", "open"),
        (3, Some(16), "malformed", "open"),
        (2, Some(15), "malformed", "resolved"),
        (1, Some(15), "poison", "discarded"),
        (9, None, "poison", "open"),
    ] {
        let id = format!("d-{n}");
        world.test.insert_letter(Letter { id: &id, reason, state, company, times_ms: (n, 100) }).await;
    }
    let db = world.test.db.connection();
    let waits = |reason: &str, count, oldest_ms| {
        (reason.to_owned(), WaitingCount { count, oldest_ms: Some(oldest_ms) })
    };
    let all = open_dead_letters(db, &Scope::All).await.unwrap();
    assert_eq!(all, BTreeMap::from([waits("malformed", 3, 3), waits("poison", 1, 9)]), "{backend:?}");
    let one = open_dead_letters(db, &Scope::of(Some(CompanyId(15)))).await.unwrap();
    assert_eq!(one, BTreeMap::from([waits("malformed", 2, 4)]), "{backend:?}");
}

/// Runs every statement of workers and of read-only commands, with only the privileges of a running program.
pub(crate) async fn run_every_statement(database: &Database) -> Result<(), StoreError> {
    let me = Worker {
        id: uuid::Uuid::new_v4(),
        host: "worker.salon.example".into(),
        pid: 1,
        role: "worker".into(),
        version: "0.1.0".into(),
        revision: None,
        mode: "assign".into(),
        pipelines: 2,
    };
    record_heartbeat(database, &me, Duration::from_secs(1), Work::default()).await?;
    let work = Work { finished: 3, retried: 2, failed: 1, settled_seconds: Some(2) };
    record_heartbeat(database, &me, Duration::from_secs(5), work).await?;
    let reported = workers(database).await?;
    let mine = reported.iter().find(|row| row.worker == me).expect("the worker has no row");
    assert_eq!(Work { settled_seconds: None, ..mine.work }, Work { settled_seconds: None, ..work });
    let near = |age: u64, seconds: u64| age.abs_diff(seconds) <= 1;
    assert!(near(mine.seen_seconds, 0) && near(mine.up_seconds, 1) && !mine.gone, "{mine:?}");
    assert!(mine.work.settled_seconds.is_some_and(|ago| near(ago, 2)), "{mine:?}");
    assert_eq!(purge_workers(database, Duration::from_secs(3600)).await?, 0);
    remove_worker(database.connection(), me.id).await?;
    read(database, &Scope::All).await
}

/// Reads everything that a screen of `hostmatch status` needs from the database.
async fn read(database: &Database, scope: &Scope) -> Result<(), StoreError> {
    let db = database.connection();
    unassigned(db, scope, NOW_MS).await?;
    open_inbox(db, scope, NOW_MS).await?;
    open_dead_letters(db, scope).await?;
    outcomes_since(db, scope, [NOW_MS - HOUR_MS, NOW_MS]).await?;
    ages_since(db, scope, NOW_MS - HOUR_MS, 100).await?;
    last_decided_ms(db).await?;
    workers(database).await?;
    Ok(())
}

on_engines!(the_number_of_rows_read_does_not_grow_with_closed_rows: mariadb, postgres);
async fn the_number_of_rows_read_does_not_grow_with_closed_rows(backend: Backend) {
    let (world, database) = create_filled_database(backend).await;
    // These rows are closed: last year's, resolved, or with staff.
    for change in
        ["hostmatch_inbox SET state = 'resolved'", "hostmatch_assignments SET starts_ms = appointment_id"]
    {
        run(&database, &format!("UPDATE {change}")).await;
    }
    match backend {
        Backend::MariaDb => {
            // Rows from before stay in the indexes until they are purged, and estimates count them.
            for table in ["hostmatch_inbox", "hostmatch_assignments"] {
                run(&database, &format!("ALTER TABLE {table} FORCE")).await;
            }
            run(&database, "ANALYZE TABLE hostmatch_inbox, hostmatch_assignments, hostmatch_events").await;
        }
        _ => run(&database, "VACUUM ANALYZE").await,
    }
    database.close().await;
    let one = DatabaseConfig { max_connections: 1, ..config(&world.test.url) };
    let database = Database::connect_read_only(&one).await.unwrap();
    for scope in [Scope::All, Scope::of(Some(CompanyId(2)))] {
        // The first read sets up sessions and prepares statements, which also reads rows.
        read(&database, &scope).await.unwrap();
        let before = rows_read(&database).await;
        let again = rows_read(&database).await;
        read(&database, &scope).await.unwrap();
        let read = rows_read(&database).await - again - (again - before);
        assert!(
            read < i64::from(UNRELATED_ROWS) / 4,
            "{backend:?}: {read} rows, {:#?}",
            most_read_tables(&database).await
        );
    }
    database.close().await;
}
