//! Tests repairs: exactly the waiting appointments are assigned; a repair can be undone; neither changes people's
//! own decisions.

use hostmatch::app::{Command, repair};
use hostmatch::event::{CompanyId, HostId};
use hostmatch::matching::HostKey;
use hostmatch::store::{RepairRow, RepairScope, RepairState};
use sea_orm::ConnectionTrait as _;

use super::decisions::create_salon;
use super::{context_on, decide_as_anna, run_for_json, staff_of};
use crate::support::{Backend, GatewayShape, World, event, host};

const KEY: HostKey = HostKey::new(CompanyId(1), HostId(7));

fn boris() -> serde_json::Value {
    host(7, "boris kamm", "")
}

/// Returns the contents of the appointments and of our rows about them.
async fn appointments(world: &World) -> (Vec<String>, Vec<String>) {
    let columns = [
        "appointment_id",
        "staff_id",
        "mapping_id",
        "strategy",
        "confidence",
        "outcome",
        "reason",
        "decided_ms",
    ];
    (
        world.rows("appointments", &["id", "staff_id", "calcom_host_id"]).await,
        world.rows("hostmatch_assignments", &columns).await,
    )
}

on_engines!(accepting_assigns_exactly_the_waiting_appointments_and_undo_restores_them);
async fn accepting_assigns_exactly_the_waiting_appointments_and_undo_restores_them(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    world.appointment(14, 1, "B14").await;
    let sent = [
        event("e1", "B11", 1, boris()),
        event("e2", "B12", 2, boris()),
        event("e3", "B13", 3, host(8, "Nobody", "")),
        event("e4", "B21", 4, boris()),
        event("e5", "B14", 5, boris()),
    ];
    world.send(&sent).await;
    // A person has already chosen the staff of this appointment.
    world.set_staff_externally(12, Some(13)).await;
    let before = appointments(&world).await;
    let accept = ["inbox", "accept", "--company", "1", "--host", "7", "--repair", "all"];
    let accepted = run_for_json(&world, 0, &accept);
    let repair = accepted["repair"]["id"].to_string();
    assert_eq!((&accepted["waiting"]["past"], &accepted["repair"]["counts"]["done"]), (&2.into(), &2.into()));
    let all = world.appointments().await;
    let expected = [(11, "12/7"), (12, "13/7"), (13, "-/8"), (14, "12/7"), (21, "-/7")];
    for (id, state) in expected {
        assert_eq!(all[&id], state, "{backend:?}: {id}");
    }
    let strategies =
        world.rows("hostmatch_assignments WHERE staff_id IS NOT NULL", &["strategy", "outcome"]).await;
    assert_eq!(strategies, ["manual|assigned", "manual|assigned"], "{backend:?}");

    let undone = run_for_json(&world, 0, &["repair", "undo", &repair, "--yes", "--company", "1"]);
    assert_eq!(
        (&undone["repair"]["state"], &undone["repair"]["counts"]["undone"]),
        (&"undone".into(), &2.into())
    );
    assert_eq!(appointments(&world).await, before, "{backend:?}");
    assert_eq!(
        run_for_json(&world, 6, &["repair", "undo", &repair, "--yes"])["error"]["code"],
        "not_allowed"
    );

    // A second repair. Before its undo, a person changes one appointment and a newer event another.
    let applied = run_for_json(
        &world,
        0,
        &["repair", "apply", "--company", "1", "--host", "7", "--scope", "all", "--yes"],
    );
    let repair = applied["repair"]["id"].to_string();
    world.set_staff_externally(11, Some(13)).await;
    world.send(&[event("e6", "B14", 9, boris())]).await;
    let undone = run_for_json(&world, 5, &["repair", "undo", &repair, "--yes"]);
    assert_eq!(undone["repair"]["counts"]["kept"], 2, "{undone}");
    let all = world.appointments().await;
    assert_eq!((all[&11].as_str(), all[&12].as_str(), all[&14].as_str()), ("13/7", "13/7", "12/7"));
}

on_engines!(an_ignored_host_is_open_again_after_its_date);
async fn an_ignored_host_is_open_again_after_its_date(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    world.send(&[event("e1", "B11", 1, boris())]).await;
    let ignore = ["inbox", "ignore", "--company", "1", "--host", "7", "--reason", "left us"];
    run_for_json(&world, 2, &[&ignore[..], &["--until", "2020-01-01"]].concat());
    run_for_json(&world, 0, &[&ignore[..], &["--until", "1d"]].concat());
    world.send(&[event("e2", "B12", 2, boris())]).await;
    let state = async || world.rows("hostmatch_inbox", &["state"]).await.remove(0);
    assert_eq!(state().await, "ignored", "{backend:?}");
    let open = || super::read_for_json(&world, &["inbox", "list"])["hosts"].as_array().unwrap().len();
    assert_eq!(open(), 0, "{backend:?}");
    world.run("UPDATE hostmatch_inbox SET ignored_until_ms = 1").await;
    assert_eq!(open(), 1, "{backend:?}");
    world.send(&[event("e3", "B13", 3, boris())]).await;
    // The event does not change the row: whether the period has ended is determined when the row is read.
    assert_eq!(open(), 1, "{backend:?}");
    world.send(&[event("e4", "B11", 64, boris())]).await;
    assert_eq!(
        (state().await.as_str(), open()),
        ("open", 1),
        "{backend:?}: an event an hour later must open the host"
    );
    // A mapped host does not need a decision, so it cannot be ignored.
    decide_as_anna(&world, 7, Command::Set(staff_of(&world, 12))).await.unwrap();
    assert_eq!((state().await.as_str(), open()), ("resolved", 0), "{backend:?}");
    run_for_json(&world, 6, &ignore);
}

on_engines!(locked_appointments_are_reported_and_can_be_resumed: mariadb, postgres);
async fn locked_appointments_are_reported_and_can_be_resumed(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    world.send(&[event("e1", "B11", 1, boris()), event("e2", "B12", 2, boris())]).await;
    decide_as_anna(&world, 7, Command::Set(staff_of(&world, 12))).await.unwrap();
    let gateway = world.test.db.begin().await.unwrap();
    gateway.execute_unprepared("SELECT id FROM appointments WHERE id = 11 FOR UPDATE").await.unwrap();
    let apply = ["repair", "apply", "--company", "1", "--host", "7", "--scope", "all", "--yes"];
    let applied = run_for_json(&world, 5, &apply);
    assert_eq!(
        (&applied["repair"]["state"], &applied["repair"]["counts"]["pending"]),
        (&"running".into(), &1.into())
    );
    assert_eq!(world.assigned(12).await, "12/7", "{backend:?}");
    gateway.rollback().await.unwrap();
    let repair = applied["repair"]["id"].to_string();
    let applied = run_for_json(&world, 0, &["repair", "apply", &repair]);
    assert_eq!(
        (&applied["repair"]["state"], &applied["repair"]["counts"]["done"]),
        (&"done".into(), &2.into())
    );
    assert_eq!(world.assigned(11).await, "12/7", "{backend:?}");
}

on_engines!(a_repair_stops_when_the_mapping_changes_and_skips_deleted_appointments);
async fn a_repair_stops_when_the_mapping_changes_and_skips_deleted_appointments(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    let context = context_on(&world.test.db, &world.test.schema().await);
    world.send(&[event("e1", "B11", 1, boris()), event("e2", "B12", 2, boris())]).await;
    assert!(repair::begin(&context, KEY, RepairScope::All, None).await.is_err(), "the host has no mapping");
    decide_as_anna(&world, 7, Command::Set(staff_of(&world, 12))).await.unwrap();
    assert_eq!(repair::begin(&context, KEY, RepairScope::Future, None).await.unwrap(), None);
    let stopped = repair::begin(&context, KEY, RepairScope::All, None).await.unwrap().unwrap();
    decide_as_anna(&world, 7, Command::Set(staff_of(&world, 13))).await.unwrap();
    let state = |row: &RepairRow| row.state.known().unwrap();
    assert_eq!(state(&repair::apply(&context, stopped, |_| {}).await.unwrap()), RepairState::Stopped);
    assert_eq!(world.assigned(11).await, "-/7", "{backend:?}");

    let id = repair::begin(&context, KEY, RepairScope::All, None).await.unwrap().unwrap();
    world.run("DELETE FROM appointments WHERE id = 11").await;
    let done = repair::apply(&context, id, |_| {}).await.unwrap();
    assert_eq!((state(&done), done.counts.done, done.counts.left), (RepairState::Done, 1, 1), "{backend:?}");
    world.run("DELETE FROM appointments WHERE id = 12").await;
    let undone = repair::undo(&context, id, None, |_| {}).await.unwrap();
    assert_eq!((state(&undone), undone.counts.kept), (RepairState::Undone, 1), "{backend:?}");
}

#[cfg(feature = "crash-points")]
on_engines!(a_large_repair_is_resumed_after_a_kill);
/// A repair that was killed between two parts can be resumed by anyone, and so can its undo.
#[cfg(feature = "crash-points")]
async fn a_large_repair_is_resumed_after_a_kill(backend: Backend) {
    const MANY: u32 = 520;
    let world = create_salon(backend, GatewayShape::Roadmap).await;
    world.insert_appointments(1, 1000..=999 + MANY, "M").await;
    let sent: Vec<_> =
        (1000..1000 + MANY).map(|id| event(&format!("m{id}"), &format!("M{id}"), 1, boris())).collect();
    world.send(&sent).await;
    decide_as_anna(&world, 7, Command::Set(staff_of(&world, 12))).await.unwrap();
    let before = appointments(&world).await;
    let assigned = async || world.count("appointments WHERE staff_id IS NOT NULL").await;
    let run_and_kill = |arguments: &[&str]| {
        let mut command = crate::support::program::command(arguments);
        command.env("HOSTMATCH_DATABASE__URL", &world.test.url).env("HOSTMATCH_CRASH_AT", "repair_part:1");
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), None, "the repair was not killed: {output:?}");
    };
    run_and_kill(&["repair", "apply", "--company", "1", "--host", "7", "--scope", "all", "--yes"]);
    assert_eq!(assigned().await, 250, "{backend:?}");
    let applied = run_for_json(&world, 0, &["repair", "apply", "1"]);
    assert_eq!(applied["repair"]["counts"]["done"], MANY, "{applied}");
    assert_eq!(assigned().await, i64::from(MANY), "{backend:?}");
    run_and_kill(&["repair", "undo", "1", "--yes"]);
    assert_eq!(assigned().await, i64::from(MANY) - 250, "{backend:?}");
    let undone = run_for_json(&world, 0, &["repair", "undo", "1", "--yes"]);
    assert_eq!(undone["repair"]["counts"]["undone"], MANY, "{undone}");
    assert_eq!(appointments(&world).await, before, "{backend:?}");
}
