//! Tests `hostmatch staff hand-over` and its undo: it hands over hosts and future appointments in one action,
//! except those that a person decided.

use std::process::Output;
use std::time::Duration;

use hostmatch::app::{AppError, Command, Decision, HandOver, decide, hand_over, undo_hand_over};
use hostmatch::event::{CompanyId, HostId};
use hostmatch::matching::HostKey;
use hostmatch::store::{StoreError, lock_hosts};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction};
use serde_json::{Value, json};

use crate::app::people::{anna, context_of, staff_of};
use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, World, event, eventually, host};

fn staff(world: &World, arguments: &[&str]) -> Output {
    let mut command = command(&[&["staff"], arguments].concat());
    command.env("HOSTMATCH_DATABASE__URL", &world.test.url).output().unwrap()
}

fn json_report(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
    json(output)
}

fn staff_id(world: &World, n: u32) -> String {
    world.staff_id(n).trim_matches('\'').to_owned()
}

async fn hosts(world: &World) -> Vec<String> {
    let columns = ["calcom_host_id", "staff_id", "mapping_source"];
    world.rows("calcom_host_mappings WHERE is_active", &columns).await
}

async fn assignments(world: &World) -> Vec<String> {
    world.appointments().await.into_values().collect()
}

on_engines!(hosts_and_future_appointments_are_handed_over_and_restored);
async fn hosts_and_future_appointments_are_handed_over_and_restored(backend: Backend) {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
    world.staff(3, 15, "Gone", "").await;
    world.staff(9, 16, "Somebody", "").await;
    world.set_staff_active(3, false).await;
    for n in 1..=5 {
        world.appointment(n, 15, &format!("Bk-{n}")).await;
    }
    // Appointment 3 is before the date of the hand-over, a person has assigned 4 to Mara, and 5 has no known start.
    world.set_staff_externally(4, Some(1)).await;
    world.set_staff_externally(5, Some(1)).await;
    for n in 1..=4 {
        let mut event =
            event(&format!("e-{n}"), &format!("Bk-{n}"), 1, host(11, "Mara Lind", "mara@salon.example"));
        event["calcom_booking"]["start"] =
            json!(if n == 3 { "2026-02-01T09:00:00Z" } else { "2026-03-02T09:00:00Z" });
        world.outcome_of(event).await;
    }
    let before = (assignments(&world).await, hosts(&world).await);
    assert_eq!(before.0, ["1/11", "1/11", "1/11", "1/11", "1/-"], "{backend:?}");
    let (mara, boris, inactive, foreign) =
        (staff_id(&world, 1), staff_id(&world, 2), staff_id(&world, 3), staff_id(&world, 9));
    let run_hand_over = |company: &str, from: &str, to: &str, more: &[&str]| {
        let usual =
            ["hand-over", "--company", company, "--from", from, "--to", to, "--from-date", "2026-03-01"];
        staff(&world, &[&usual[..], &["--output", "json"], more].concat())
    };
    let preview = json_report(&run_hand_over("15", &mara, &boris, &["--dry-run"]), 0);
    let ids = |list: &Value| -> Vec<i64> {
        list.as_array().unwrap().iter().map(|one| one["appointment"].as_i64().unwrap()).collect()
    };
    assert_eq!((ids(&preview["appointments"]), ids(&preview["left"])), (vec![1, 2], vec![4]), "{backend:?}");
    assert_eq!((&preview["hosts"], &preview["undated"]), (&json!([11]), &json!(1)), "{backend:?}: {preview}");
    assert_eq!(
        (assignments(&world).await, hosts(&world).await),
        before,
        "{backend:?}: the dry run changes nothing"
    );
    assert_eq!(
        run_hand_over("15", &mara, &boris, &[]).status.code(),
        Some(4),
        "the command must ask for confirmation"
    );
    for (company, from, to) in [
        ("16", &mara, &boris),
        ("15", &mara, &foreign),
        ("15", &foreign, &boris),
        ("15", &mara, &inactive),
        ("15", &mara, &mara),
    ] {
        let refused = run_hand_over(company, from, to, &["--yes"]);
        assert_eq!(refused.status.code(), Some(6), "{backend:?} {company} {from} {to}: {}", stdout(&refused));
    }
    assert_eq!(
        (assignments(&world).await, hosts(&world).await),
        before,
        "{backend:?}: a refused hand-over changes nothing"
    );

    let done = json_report(
        &run_hand_over("15", &mara, &boris, &["--yes", "--actor", "office:anna", "--reason", "she leaves"]),
        0,
    );
    assert_eq!(assignments(&world).await, ["2/11", "2/11", "1/11", "1/11", "1/-"], "{backend:?}");
    assert_eq!(hosts(&world).await, ["11|2|admin"], "{backend:?}");
    let by = "calcom_host_mapping_audits WHERE actor = 'office:anna' AND reason = 'she leaves'";
    assert_eq!(world.count(by).await, 2, "{backend:?}: one deactivation and one activation");
    // The hand-over's assignment may be changed by a newer event. The undo then leaves this appointment unchanged.
    let carla = host(12, "Mara Lind", "mara@salon.example");
    world.outcome_of(event("e-9", "Bk-2", 9, carla)).await;
    assert_eq!(world.assigned(2).await, "1/12", "{backend:?}");

    let hand_over_id = done["hand_over"].to_string();
    let undo = |company: &str| {
        staff(&world, &["hand-over-undo", &hand_over_id, "--company", company, "--yes", "--output", "json"])
    };
    assert_eq!(undo("16").status.code(), Some(3), "{backend:?}");
    let undone = json_report(&undo("15"), 5);
    assert_eq!(
        (&undone["hosts"], &undone["appointments"]),
        (&json!([11]), &json!([1])),
        "{backend:?}: {undone}"
    );
    assert_eq!((&undone["hosts_left"], &undone["appointments_left"]), (&json!([]), &json!([2])));
    assert_eq!(assignments(&world).await, ["1/11", "1/12", "1/11", "1/11", "1/-"], "{backend:?}");
    let restored = hosts(&world).await;
    assert_eq!(restored, ["11|1|auto_email", "12|1|auto_email"], "{backend:?}");
    assert_eq!(undo("15").status.code(), Some(6), "{backend:?}: a hand-over is undone only once");
}

/// Opens a transaction that locks appointment 1, as one of the gateway would.
async fn lock_as_gateway(world: &World) -> DatabaseTransaction {
    let tx = world.test.db.begin().await.unwrap();
    tx.execute_unprepared("UPDATE appointments SET staff_id = staff_id WHERE id = 1").await.unwrap();
    tx
}

fn is_lock_conflict(error: &AppError) -> bool {
    matches!(error, AppError::Store(StoreError::Conflict(_)))
}

/// Runs on MariaDB, the only server that cannot combine SKIP LOCKED and NOWAIT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_yields_to_the_gateways_locks_and_to_an_earlier_decision() {
    let world = World::new(Backend::MariaDb, GatewayShape::Live).await;
    world.company(15).await;
    for (n, name) in [(1, "Mara"), (2, "Boris"), (3, "Carla")] {
        world.staff(n, 15, name, &format!("{name}@salon.example")).await;
    }
    world.appointment(1, 15, "Bk-1").await;
    world.outcome_of(event("e-1", "Bk-1", 1, host(11, "Mara", "mara@salon.example"))).await;
    world.run("UPDATE hostmatch_assignments SET starts_ms = 1").await;
    let (db, schema, company) = (&world.test.db, world.test.schema().await, CompanyId(15));
    let context = context_of(&world, company).await;
    let [from, to, carla] = [1, 2, 3].map(|n| staff_of(&world, n));
    let request = HandOver { company, from, to, from_ms: 0, reason: None };

    let gateway = lock_as_gateway(&world).await;
    let refused = hand_over(&context, &request).await.unwrap_err();
    assert!(is_lock_conflict(&refused), "{refused}");
    gateway.rollback().await.unwrap();
    assert_eq!(
        (assignments(&world).await, hosts(&world).await),
        (vec!["1/11".into()], vec!["11|1|auto_email".into()])
    );
    assert_eq!(world.count("hostmatch_hand_overs").await, 0);

    let person = db.begin().await.unwrap();
    lock_hosts(&person, &schema, &[HostKey::new(company, HostId(11))].into()).await.unwrap();
    let (result, ()) = tokio::join!(hand_over(&context, &request), async {
        let waits = async || world.has_session_waiting_for_host_lock().await.then_some(());
        eventually("the hand-over waits for the host's lock", Duration::from_secs(30), waits).await;
        let decision = Decision::new(company, HostId(11), Command::Set(carla));
        decide(&person, &schema, &anna(), &[decision]).await.unwrap().remove(0).unwrap();
        person.commit().await.unwrap();
    });
    let result = result.unwrap();
    assert_eq!((result.hosts.len(), result.appointments.len()), (0, 1));
    assert_eq!(
        (assignments(&world).await, hosts(&world).await),
        (vec!["2/11".into()], vec!["11|3|admin".into()])
    );

    let hand_over_id = result.hand_over.unwrap();
    let gateway = lock_as_gateway(&world).await;
    let refused = undo_hand_over(&context, hand_over_id, None).await.unwrap_err();
    assert!(is_lock_conflict(&refused), "{refused}");
    gateway.rollback().await.unwrap();
    undo_hand_over(&context, hand_over_id, None).await.unwrap();
    assert_eq!(
        (assignments(&world).await, hosts(&world).await),
        (vec!["1/11".into()], vec!["11|3|admin".into()])
    );
    context.close().await;
}
