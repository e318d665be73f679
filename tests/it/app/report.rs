//! Tests `hostmatch report`: its counts, on every engine, and that it never mixes companies.

use serde_json::{Value, json};

use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, Letter, World, decide, event, host};

fn report(world: &World, arguments: &[&str]) -> Value {
    let arguments = [&["report", "--output", "json"], arguments].concat();
    let output = command(&arguments).env("HOSTMATCH_DATABASE__URL", &world.test.url).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{:?}: {}", world.test, stderr(&output));
    json(&output)["report"].clone()
}

on_engines!(a_report_compares_decisions_with_the_appointments);
async fn a_report_compares_decisions_with_the_appointments(backend: Backend) {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
    world.staff(3, 16, "Somebody", "").await;
    for id in 1..=8 {
        world.appointment(id, if id == 8 { 16 } else { 15 }, &format!("Bk-{id}")).await;
    }
    let mara = || host(11, "Mara Lind", "mara@salon.example");
    // We assign one appointment. For the others, which we only observe, the other program chooses the same member of
    // staff, a different one, none, one where we found none, and none where we found none.
    assert_eq!(world.outcome_of(event("e-1", "Bk-1", 1, mara())).await, "assigned");
    let observing = World::processor_on(&world.test, &[("worker.mode", "observe")]).await;
    let boris = || host(12, "Boris", "boris@salon.example");
    let events = [
        event("e-2", "Bk-2", 1, mara()),
        event("e-3", "Bk-3", 1, mara()),
        event("e-4", "Bk-4", 1, boris()),
        event("e-5", "Bk-5", 1, host(13, "Boris Kamm", "")),
        event("e-6", "Bk-6", 1, host(14, "Nobody", "")),
        event("e-7", "Bk-7", 1, json!([])),
        event("e-8", "Bk-8", 1, host(15, "Nobody", "")),
    ];
    decide(&observing, &events).await;
    world.set_staff_externally(2, Some(1)).await;
    world.set_staff_externally(3, Some(2)).await;
    world.set_staff_externally(5, Some(2)).await;
    let decided_ms =
        world.test.number("SELECT decided_ms FROM hostmatch_assignments WHERE appointment_id = 1").await;
    let letter =
        Letter { id: "d", reason: "no_booking", state: "open", company: Some(15), times_ms: (1, decided_ms) };
    world.test.insert_letter(letter).await;

    let reported = report(&world, &["--company", "15", "--differences", "10"]);
    let appointments = json!({ "decided": 7, "observed": 5, "with_staff": 4, "with_staff_percent": 57.1 });
    assert_eq!(reported["appointments"], appointments, "{backend:?}: {reported}");
    let all = json!({
        "same": 2, "same_by_others": 1, "different": 1, "only_we": 1, "only_they": 1, "neither": 2,
        "not_compared": 0, "agreement_percent": 50.0,
    });
    assert_eq!(reported["comparison"], all, "{backend:?}");
    let strategies: Vec<String> = reported["strategies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {} {} {}",
                one["strategy"], one["confidence"], one["appointments"], one["comparison"]["same"]
            )
        })
        .collect();
    // Only the strategies that matched, both with the same confidence.
    assert_eq!(strategies, [r#""email" 95 2 1"#, r#""existing" 95 2 1"#], "{backend:?}");
    assert_eq!(reported["failed"]["reasons"], json!({ "below_threshold": 1, "unmatched": 1, "no_host": 1 }));
    assert_eq!(reported["failed"]["dead_letters"], json!({ "no_booking": 1 }));
    assert_eq!(
        (&reported["failed"]["appointments"], &reported["failed"]["percent"]),
        (&json!(3), &json!(42.9))
    );
    assert_eq!(reported["mappings"]["would_make"], 1, "{backend:?}");
    let days = reported["mappings"]["per_day"].as_array().unwrap();
    assert_eq!((days.len(), &days[0]["by_matching"], &days[0]["by_people"]), (1, &json!(1), &json!(0)));
    let differences: Vec<String> = reported["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["appointment"], one["agreement"]))
        .collect();
    assert_eq!(differences, [r#"3 "different""#, r#"4 "only_we""#, r#"5 "only_they""#], "{backend:?}");

    let other = report(&world, &["--company", "16", "--differences", "10"]);
    assert_eq!((&other["appointments"]["decided"], &other["differences"]), (&json!(1), &json!([])));
    assert_eq!((&other["mappings"]["per_day"], &other["failed"]["dead_letters"]), (&json!([]), &json!({})));
    let nothing = report(&world, &["--until", "2026-01-01", "--since", "2025-01-01"]);
    assert_eq!(nothing["appointments"]["decided"], 0);
    assert_eq!(nothing["appointments"]["with_staff_percent"], Value::Null);
    assert_eq!(report(&world, &[])["appointments"]["decided"], 8, "{backend:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_of_a_report_has_the_same_numbers_without_personal_data() {
    let world = World::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    world.company(15).await;
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    world.appointment(1, 15, "Bk-1").await;
    world.outcome_of(event("e-1", "Bk-1", 1, host(11, "Mara Lind", "mara@salon.example"))).await;
    let output = command(&["report"]).env("HOSTMATCH_DATABASE__URL", &world.test.url).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("With staff now: 1 (100 %; target 90 %)"), "{text}");
    assert!(text.contains("Failed matches: 0 (0 %; target below 10 %)"), "{text}");
    assert!(text.contains("NEW MAPPINGS") && !text.contains("Mara") && !text.contains("@"), "{text}");
}
