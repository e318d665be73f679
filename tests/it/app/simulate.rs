//! Tests `hostmatch match simulate`: its predictions, on every engine, and that it does not write anything.

use serde_json::{Value, json};

use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, World, event, host};

fn run(world: &World, arguments: &[&str]) -> std::process::Output {
    command(&[&["match", "simulate"], arguments].concat())
        .env("HOSTMATCH_DATABASE__URL", &world.test.url)
        .output()
        .unwrap()
}

fn simulate(world: &World, arguments: &[&str]) -> Value {
    let output = run(world, &[&["--output", "json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{:?}: {}", world.test, stderr(&output));
    json(&output)["simulation"].clone()
}

on_engines!(a_simulation_predicts_the_decisions_of_another_threshold);
async fn a_simulation_predicts_the_decisions_of_another_threshold(backend: Backend) {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
    world.staff(3, 16, "Boris Kamm", "").await;
    for id in 1..=6 {
        world.appointment(id, if id == 6 { 16 } else { 15 }, &format!("Bk-{id}")).await;
    }
    let mara = || host(11, "Mara Lind", "mara@salon.example");
    let boris = |id| host(id, "Boris Kamm", "");
    world.insert_manual_mapping(15, 13, 1).await;
    world.set_staff_externally(4, Some(2)).await;
    for (id, of) in
        [(1, mara()), (2, boris(12)), (3, boris(13)), (4, mara()), (5, host(12, "", "")), (6, boris(14))]
    {
        world.outcome_of(event(&format!("e-{id}"), &format!("Bk-{id}"), 1, of)).await;
    }
    let before = world.all_decided_rows().await;

    let reported = simulate(&world, &["--auto-accept", "75", "--company", "15"]);
    assert_eq!(
        (&reported["bookings"], &reported["not_kept"]),
        (&json!(5), &json!(0)),
        "{backend:?}: {reported}"
    );
    assert_eq!(
        reported["recorded"],
        json!({ "matched": 3, "needs_review": 1, "unmatched": 1 }),
        "{backend:?}"
    );
    assert_eq!(reported["simulated"], json!({ "matched": 5, "needs_review": 0, "unmatched": 0 }));
    assert_eq!(
        (&reported["more"], &reported["fewer"], &reported["another"]),
        (&json!(2), &json!(0), &json!(0))
    );
    // The second booking of host 12 has no name: the mapping that the first one creates is used.
    let strategies = json!({
        "email": { "matched": 2, "more": 0, "against_people": 1 },
        "manual": { "matched": 1, "more": 0, "against_people": 0 },
        "name": { "matched": 2, "more": 2, "against_people": 0 },
    });
    assert_eq!(reported["strategies"], strategies, "{backend:?}");
    let people = json!({
        "mappings_same": 0, "mappings_differ": 1, "mappings_only": 0,
        "appointments_same": 0, "appointments_differ": 1,
    });
    assert_eq!(reported["people"], people, "{backend:?}");
    let mut what: Vec<String> = reported["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["appointment"], one["what"].as_str().unwrap()))
        .collect();
    what.sort();
    assert_eq!(what, ["2 more", "3 against_mapping", "4 against_appointment", "5 more"], "{backend:?}");

    // With the configured threshold the result is the same; a higher threshold finds fewer matches.
    let same = simulate(&world, &["--company", "15"]);
    assert_eq!((&same["auto_accept"], &same["more"], &same["fewer"]), (&json!(80), &json!(0), &json!(0)));
    let fewer = simulate(&world, &["--auto-accept", "96", "--order", "manual,existing,name,email"]);
    assert_eq!(
        (&fewer["fewer"], &fewer["order"]),
        (&json!(2), &json!(["manual", "existing", "name", "email"]))
    );
    let other = simulate(&world, &["--company", "16", "--auto-accept", "75"]);
    assert_eq!((&other["bookings"], &other["differences"][0]["simulated"]["len"]), (&json!(1), &Value::Null));
    assert_eq!(other["differences"].as_array().unwrap().len(), 1, "{backend:?}");

    assert_eq!(world.all_decided_rows().await, before, "{backend:?}: the simulation writes nothing");
    world.run("UPDATE hostmatch_assignments SET payload = NULL").await;
    let without_payloads = simulate(&world, &["--company", "15"]);
    assert_eq!(
        (&without_payloads["bookings"], &without_payloads["not_kept"]),
        (&json!(0), &json!(5)),
        "{backend:?}"
    );
    if backend == Backend::Sqlite {
        let shown = run(&world, &["--auto-accept", "75"]);
        let text = stdout(&shown);
        assert!(text.contains("Left out: 6") && !text.contains("Mara"), "{text}");
        let wrong = run(&world, &["--order", "email,email"]);
        assert_eq!(wrong.status.code(), Some(2));
        assert!(stderr(&wrong).contains("manual, existing, email, name"), "{}", stderr(&wrong));
    }
}
