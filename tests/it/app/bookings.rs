//! Tests `hostmatch bookings`, and the lists of companies and staff: which bookings have no member of staff, what
//! would give them one, what happened to one, and assigning by hand.

use serde_json::{Value, json};

use crate::app::people::{read_for_json, run, run_for_json, with_start};
use crate::support::program::json as json_of;
use crate::support::{Backend, GatewayShape, World, event, host};

const START: &str = "2099-03-02T09:00:00Z";

/// Creates a salon with Mara (1), Boris (2) and four future bookings: 1 and 2 with Boris by his name, 3 with an unknown
/// host, 4 without a host.
async fn salon(backend: Backend) -> World {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
    world.staff(9, 16, "Somebody", "").await;
    for n in 1..=5 {
        world.appointment(n, 15, &format!("Bk-{n}")).await;
    }
    let boris = || host(209, "Boris Kamm", "boris@home.example");
    let sent = [
        event("e1", "Bk-1", 1, boris()),
        event("e2", "Bk-2", 2, boris()),
        event("e3", "Bk-3", 3, host(310, "Front Desk", "")),
        event("e4", "Bk-4", 4, json!([])),
        event("e5", "Bk-5", 5, host(310, "Front Desk", "")),
    ];
    let mut sent = sent.map(|event| with_start(event, START));
    sent[1]["calcom_booking"]["start"] = "2099-03-01T09:00:00Z".into();
    world.send(&sent).await;
    let mut cancelled = with_start(event("e6", "Bk-5", 6, host(310, "Front Desk", "")), START);
    cancelled["event"] = "appointment.cancelled".into();
    world.send(&[cancelled]).await;
    world
}

fn staff_id(world: &World, n: u32) -> String {
    world.staff_id(n).trim_matches('\'').to_owned()
}

/// Returns appointment, reason and command of each booking without staff.
fn unstaffed(world: &World) -> Vec<(i64, String, String)> {
    let list = read_for_json(world, &["bookings", "list", "--unstaffed", "--company", "15"]);
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| (row["appointment"].as_i64().unwrap(), text(row, "why"), text(row, "next"));
    list["bookings"].as_array().unwrap().iter().map(row).collect()
}

fn expected(rows: &[(i64, &str, &str)]) -> Vec<(i64, String, String)> {
    rows.iter().map(|(id, why, next)| (*id, (*why).to_owned(), (*next).to_owned())).collect()
}

on_engines!(every_booking_without_staff_is_listed_with_its_remedy);
async fn every_booking_without_staff_is_listed_with_its_remedy(backend: Backend) {
    let world = salon(backend).await;
    let accept = "hostmatch inbox accept --company 15 --host 209";
    let little = "somebody fits, but with too little confidence";
    let unknown = (3, "nobody was found", "hostmatch inbox assign --company 15 --host 310 --staff ID");
    let without_host = (4, "the booking names no host", "hostmatch bookings assign 4 --staff ID");
    // The soonest comes first; a cancelled one is not listed.
    let all = [(2, little, accept), (1, little, accept), unknown, without_host];
    assert_eq!(unstaffed(&world), expected(&all), "{backend:?}");

    // Once the host is mapped without a repair, the inbox is empty, and only the list names the bookings.
    run_for_json(
        &world,
        0,
        &[&accept.split(' ').skip(1).collect::<Vec<_>>()[..], &["--repair", "none"]].concat(),
    );
    let apply = "hostmatch repair apply --company 15 --host 209";
    let later = "its host was mapped later";
    let all = [(2, later, apply), (1, later, apply), unknown, without_host];
    assert_eq!(unstaffed(&world), expected(&all), "{backend:?}");
    let explained = read_for_json(&world, &["match", "explain", "--uid", "Bk-1"]);
    let next = explained["explanations"][0]["next"].as_str().unwrap();
    assert!(
        next.starts_with("the appointment has no member of staff now") && next.ends_with(apply),
        "{next}"
    );

    run_for_json(&world, 0, &[&apply.split(' ').skip(1).collect::<Vec<_>>()[..], &["--yes"]].concat());
    assert_eq!(unstaffed(&world), expected(&[unknown, without_host]), "{backend:?}");
    // Somebody removes a member of staff in the gateway.
    world.set_staff_externally(1, None).await;
    let removed = (1, "somebody removed its member of staff", "hostmatch bookings assign 1 --staff ID");
    assert_eq!(unstaffed(&world), expected(&[removed, unknown, without_host]), "{backend:?}");

    // No worker runs, so the exit code is 10.
    let status = json_of(&run(&world, &["status", "--company", "15", "--output", "json"]));
    assert_eq!(status["status"]["unassigned"]["all"], 3, "{backend:?}: the list and the status agree");
    let list = |arguments: &[&str]| {
        let list = read_for_json(&world, &[&["bookings", "list"], arguments].concat());
        let rows = list["bookings"].as_array().unwrap().iter();
        (rows.map(|row| row["appointment"].as_i64().unwrap()).collect::<Vec<_>>(), list["next_after"].clone())
    };
    let (first, next) = list(&["--company", "15", "--limit", "2"]);
    assert_eq!(first, [2, 1], "{backend:?}");
    assert_eq!(list(&["--company", "15", "--after", next.as_str().unwrap()]).0, [3, 4, 5], "{backend:?}");
    assert_eq!(list(&["--email", "Boris@Home.example"]).0, [2, 1], "{backend:?}");
    assert_eq!(list(&["--host", "310"]).0, [3, 5], "{backend:?}");
    assert_eq!(list(&["--staff", &staff_id(&world, 2)]).0, [2], "{backend:?}");
    assert_eq!(list(&["--until", "2099-03-02"]).0, [2], "{backend:?}");
    assert_eq!(list(&["--starts-within", "24h"]).0, [0; 0], "{backend:?}");
    assert_eq!(list(&["--company", "16"]).0, [0; 0], "{backend:?}");
}

on_engines!(appointments_are_assigned_by_hand_and_restored);
async fn appointments_are_assigned_by_hand_and_restored(backend: Backend) {
    let world = salon(backend).await;
    let (mara, boris, other) = (staff_id(&world, 1), staff_id(&world, 2), staff_id(&world, 9));
    let now = async || world.rows("appointments WHERE staff_id IS NOT NULL", &["id", "staff_id"]).await;

    // Nothing is assigned if one of them is missing, of another company, or if the member of staff is.
    for (arguments, code) in [
        (vec!["3", "99", "--staff", &mara], 3),
        (vec!["3", "--staff", &other], 3),
        (vec!["3", "--staff", &mara, "--company", "16"], 3),
    ] {
        run_for_json(&world, code, &[vec!["bookings", "assign"], arguments].concat());
    }
    assert_eq!(now().await, [""; 0], "{backend:?}");

    let dry = read_for_json(&world, &["bookings", "assign", "3", "4", "--staff", &mara, "--dry-run"]);
    assert_eq!((&dry["assignment"], now().await.len()), (&Value::Null, 0), "{backend:?}");
    let assigned = run_for_json(
        &world,
        0,
        &["bookings", "assign", "3", "4", "--staff", &mara, "--reason", "She knows them"],
    );
    assert_eq!(now().await, ["3|1", "4|1"], "{backend:?}");
    let again = run_for_json(&world, 0, &["bookings", "assign", "3", "--staff", &mara]);
    assert_eq!(again["unchanged"], json!([3]), "{backend:?}");
    // Replacing somebody needs a confirmation.
    run_for_json(&world, 4, &["bookings", "assign", "4", "--staff", &boris]);
    run_for_json(&world, 0, &["bookings", "assign", "4", "--staff", &boris, "--yes"]);

    // A later event keeps what a person chose.
    let newer = with_start(event("e7", "Bk-3", 7, host(7, "Boris Kamm", "boris@salon.example")), START);
    assert_eq!(world.outcome_of(newer).await, "kept", "{backend:?}");

    let shown = read_for_json(&world, &["bookings", "show", "Bk-3"]);
    assert_eq!((&shown["staff_name"], &shown["held_by"]), (&"Mara Lind".into(), &"somebody_else".into()));
    let history = shown["history"].as_array().unwrap().iter();
    let history: Vec<_> =
        history.map(|it| (it["kind"].as_str().unwrap(), it["id"].as_str().unwrap())).collect();
    let id = assigned["assignment"].to_string();
    assert!(history.contains(&("event", "e3")) && history.contains(&("assigned", &id)), "{history:?}");
    assert!(shown.to_string().contains("She knows them"), "{shown}");
    assert_eq!(read_for_json(&world, &["bookings", "show", "--appointment", "3"]), shown, "{backend:?}");

    // Appointment 4 has been changed since.
    let undone = run_for_json(&world, 5, &["bookings", "undo", &id, "--yes"]);
    assert_eq!((&undone["appointments"], &undone["left"]), (&json!([3]), &json!([4])), "{backend:?}");
    assert_eq!(now().await, ["4|2"], "{backend:?}");
    run_for_json(&world, 6, &["bookings", "undo", &id, "--yes"]);
    run_for_json(&world, 3, &["bookings", "undo", &id, "--yes", "--company", "16"]);
    let shown = read_for_json(&world, &["bookings", "show", "Bk-3"]);
    assert_eq!(shown["history"].as_array().unwrap().last().unwrap()["kind"], "undone", "{shown}");
}

on_engines!(the_history_of_a_booking_names_events_people_and_repairs);
async fn the_history_of_a_booking_names_events_people_and_repairs(backend: Backend) {
    let world = salon(backend).await;
    let (mara, boris) = (staff_id(&world, 1), staff_id(&world, 2));
    let accept = ["inbox", "accept", "--company", "15", "--host", "209", "--repair", "future"];
    run_for_json(&world, 0, &accept);
    let hand_over = ["staff", "hand-over", "--company", "15", "--from", &boris, "--to", &mara, "--yes"];
    run_for_json(&world, 0, &hand_over);
    run_for_json(&world, 0, &["staff", "hand-over-undo", "1", "--company", "15", "--yes"]);
    run_for_json(&world, 0, &["repair", "undo", "1", "--yes"]);
    let shown = read_for_json(&world, &["bookings", "show", "Bk-1", "--company", "15"]);
    let kinds = shown["history"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap());
    let of = |wanted: &str| kinds.clone().filter(|kind| *kind == wanted).count();
    assert_eq!(
        [of("event"), of("repair"), of("hand_over"), of("undone")],
        [1, 1, 1, 2],
        "{backend:?} {shown}"
    );
    assert!(of("mapping") >= 3, "{backend:?} {shown}");
    let by = shown["history"].as_array().unwrap().iter().filter(|it| it["kind"] != "event");
    assert!(by.clone().all(|it| it["by"] == "cli:anna@office"), "{backend:?} {shown}");
    assert_eq!(run(&world, &["bookings", "show", "Bk-1", "--company", "16"]).status.code(), Some(3));
    assert_eq!(run(&world, &["bookings", "show", "Bk-77"]).status.code(), Some(3));
}

on_engines!(companies_and_staff_are_listed);
async fn companies_and_staff_are_listed(backend: Backend) {
    let world = salon(backend).await;
    world.set_staff_active(1, false).await;
    run_for_json(&world, 0, &["inbox", "accept", "--company", "15", "--host", "209"]);
    let companies = read_for_json(&world, &["companies", "list"]);
    let of = |n: usize| (&companies["companies"][n]["company"], &companies["companies"][n]["staff"]);
    assert_eq!((of(0), of(1)), ((&15.into(), &1.into()), (&16.into(), &1.into())), "{companies}");
    let staff = |arguments: &[&str]| {
        let list = read_for_json(&world, &[&["staff", "list", "--company", "15"], arguments].concat());
        let row = |row: &Value| format!("{} {} {}", row["name"], row["state"], row["hosts"]).replace('"', "");
        list["staff"].as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    assert_eq!(staff(&[]), ["Boris Kamm active [209]"], "{backend:?}");
    let mut all = staff(&["--all"]);
    all.sort();
    assert_eq!(all, ["Boris Kamm active [209]", "Mara Lind inactive []"], "{backend:?}");
}
