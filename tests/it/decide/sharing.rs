//! Workers that meet the same unknown host at the same time: those that only add waiting appointments do
//! not wait for each other, and one that changes something about the host is alone.

use std::time::Duration;

use hostmatch::event::{BookingEvent, Decoded, Envelope, decode};
use hostmatch::matching::{ChangeSet, Item, Plan, Policy, Resolver};
use hostmatch::store::{HostLockMode, Lookup, Purpose, StoreError};
use sea_orm::DatabaseTransaction;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{Backend, GatewayShape, World, event, host, load};

/// Far longer than loading takes, and far shorter than the lock timeout.
const LOAD_TIMEOUT: Duration = Duration::from_secs(4);
/// Enough time to get the lock if it is free.
const LOCK_WAIT: Duration = Duration::from_millis(400);

const HOUR: u32 = 60;

fn nobody() -> Value {
    host(104, "Nobody", "nobody@else.example")
}

fn read(body: &Value) -> BookingEvent {
    let text = body.to_string();
    match decode(&Envelope::new(text.as_bytes(), 1_772_323_200_000)) {
        Ok(Decoded::Event(event)) => *event,
        other => panic!("{other:?}"),
    }
}

/// Loads and plans one event in an open transaction; returns whether the plan may be committed in it.
async fn load_and_plan(
    world: &World,
    tx: &DatabaseTransaction,
    body: &Value,
    hosts: HostLockMode,
) -> Result<ChangeSet, StoreError> {
    let (event, resolver, schema) = (read(body), Resolver::new(80), world.test.schema().await);
    let lookups = [Lookup { event: &event, tried_before: false }];
    let (mut batch, resolved) = load(tx, &schema, &lookups, Purpose::Write(hosts)).await?;
    let overwrite = hostmatch::config::Overwrite::Ours;
    let loaded = std::mem::take(&mut batch.loaded);
    let mut plan =
        Plan::new(loaded, &resolver, Policy { overwrite, now_ms: 1, mode: hostmatch::config::Mode::Assign })
            .with_resolutions(resolved);
    let targets = &batch.targets[0];
    plan.decide_event(&Item {
        event: &event,
        targets,
        received_ms: 1,
        ignore_if_missing: false,
        publisher: None,
    });
    let changes = plan.finish();
    batch.locked.allow(&changes)?;
    Ok(changes)
}

async fn salon(backend: Backend) -> World {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(1).await;
    for n in 1..=4 {
        world.appointment(n, 1, &format!("B{n}")).await;
    }
    world.send(&[event("e1", "B1", 1, nobody())]).await;
    assert_eq!(world.count("hostmatch_inbox").await, 1);
    world
}

on_engines!(adding_waiting_appointments_shares_the_host_lock_and_a_change_is_exclusive: mariadb, postgres);
async fn adding_waiting_appointments_shares_the_host_lock_and_a_change_is_exclusive(backend: Backend) {
    let world = salon(backend).await;
    let [one, two, exclusive] = [(); 3].map(|()| world.test.db.begin());
    let (one, two, exclusive) = (one.await.unwrap(), two.await.unwrap(), exclusive.await.unwrap());
    let (first, second) = (event("e2", "B2", 2, nobody()), event("e3", "B3", 3, nobody()));
    let changes = load_and_plan(&world, &one, &first, HostLockMode::Shared).await.unwrap();
    assert_eq!((changes.assignments.len(), changes.inbox.len()), (1, 0), "{backend:?}");
    let shared = timeout(LOAD_TIMEOUT, load_and_plan(&world, &two, &second, HostLockMode::Shared)).await;
    shared.expect("loading waited for the other transaction").unwrap();
    let third = event("e4", "B4", 4, nobody());
    {
        let loading = load_and_plan(&world, &exclusive, &third, HostLockMode::Exclusive);
        tokio::pin!(loading);
        assert!(
            timeout(LOCK_WAIT, &mut loading).await.is_err(),
            "{backend:?}: loading waits for both transactions"
        );
        one.rollback().await.unwrap();
        assert!(
            timeout(LOCK_WAIT, &mut loading).await.is_err(),
            "{backend:?}: loading waits for the other transaction"
        );
        two.rollback().await.unwrap();
        timeout(LOAD_TIMEOUT, loading)
            .await
            .expect("loading waited although no other transaction was left")
            .unwrap();
    }
    exclusive.rollback().await.unwrap();
}

on_engines!(a_change_under_a_shared_host_lock_is_refused_and_decided_again_alone);
async fn a_change_under_a_shared_host_lock_is_refused_and_decided_again_alone(backend: Backend) {
    let world = salon(backend).await;
    let later = event("e2", "B2", HOUR + 1, nobody());
    if backend != Backend::Sqlite {
        let tx = world.test.db.begin().await.unwrap();
        let refused = load_and_plan(&world, &tx, &later, HostLockMode::Shared).await;
        assert!(matches!(refused, Err(StoreError::SharedHost)), "{backend:?}: the inbox row changes");
        tx.rollback().await.unwrap();
    }
    world.send(&[later]).await;
    let seen = "SELECT last_seen_ms - first_seen_ms FROM hostmatch_inbox";
    let hours = world.test.number(seen).await / 3_600_000;
    assert_eq!(hours, 1, "{backend:?}: the row is up to date anyway");
    // A new member of staff matches the host in the inbox: the host is mapped, and the waiting appointments
    // are decided in the same transaction.
    world.staff(9, 1, "Nobody", "nobody@else.example").await;
    let known = event("e3", "B3", HOUR + 2, nobody());
    if backend != Backend::Sqlite {
        let tx = world.test.db.begin().await.unwrap();
        let refused = load_and_plan(&world, &tx, &known, HostLockMode::Shared).await;
        assert!(matches!(refused, Err(StoreError::SharedHost)), "{backend:?}: a mapping is created");
        tx.rollback().await.unwrap();
    }
    world.send(&[known]).await;
    assert_eq!(world.count("calcom_host_mappings").await, 1);
    let all = world.appointments().await;
    for id in 1..=3 {
        assert_eq!(all[&id].as_str(), "9/104", "{backend:?}: appointment {id}");
    }
}
