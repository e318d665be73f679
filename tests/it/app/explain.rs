//! Tests `hostmatch match explain`: its output, and that it neither changes anything nor blocks other
//! sessions.

use std::collections::BTreeMap;
use std::process::Output;
use std::time::Duration;

use hostmatch::event::{BookingRef, CompanyId, Decoded, Envelope, HostId, decode};
use hostmatch::matching::{HostKey, Target};
use hostmatch::store::{self, Lookup, Purpose};
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, World, event, host, load, shapes};

/// Creates a salon: Frida Alt is mapped, but has left; the host's name is that of Frida Spitz; Mara has the host's
/// address.
async fn create_salon(backend: Backend, shape: GatewayShape) -> World {
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(12, 15, "Frida Alt", "alt@salon.example").await;
    world.appointment(4710, 15, "Bk-first").await;
    world.outcome_of(event("e-first", "Bk-first", 1, host(1_420_209, "", "alt@salon.example"))).await;
    world.set_staff_active(12, false).await;
    world.staff(31, 15, "Frida Spitz", "other@salon.example").await;
    world.staff(32, 15, "Mara Lind", "mara@salon.example").await;
    for (id, reference) in [(4711, "Bk-mara"), (4712, "Bk-frida"), (4713, "Bk-nobody")] {
        world.appointment(id, 15, reference).await;
    }
    world
}

fn explain(world: &World, arguments: &[&str]) -> Output {
    command(&["match", "explain"])
        .args(arguments)
        .env("HOSTMATCH_DATABASE__URL", &world.test.url)
        .output()
        .unwrap()
}

/// Returns the explanations of a file with this content.
fn explanations(world: &World, content: &str, arguments: &[&str]) -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bookings");
    std::fs::write(&file, content).unwrap();
    let output = explain(world, &["--output", "json", "--booking", file.to_str().unwrap()]);
    let output = if arguments.is_empty() {
        output
    } else {
        explain(world, &[&["--output", "json", "--booking", file.to_str().unwrap()], arguments].concat())
    };
    json(&output)["explanations"].as_array().unwrap_or_else(|| panic!("{}", stderr(&output))).clone()
}

/// Returns every row of every table of an SQLite database.
async fn all_rows(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut all = BTreeMap::new();
    for table in world.test.strings("SELECT name FROM sqlite_master WHERE type = 'table'").await {
        let columns = world.test.strings(&format!("SELECT name FROM pragma_table_info('{table}')")).await;
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        all.insert(table.clone(), world.rows(&table, &columns).await);
    }
    all
}

#[tokio::test]
async fn a_host_is_explained_strategy_by_strategy() {
    let world = create_salon(Backend::Sqlite, GatewayShape::Roadmap).await;
    let host = ["--host", "1420209", "--email", "frida@salon.example", "--name", "Frida  SPITZ"];
    let output = explain(&world, &[&host[..], &["--company", "15"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines: Vec<String> =
        stdout(&output).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines[..7],
        [
            "Host 1420209 (company 15)",
            "PRIO STRATEGY LOOKED FOR FOUND CONF RESULT",
            "200 manual a mapping of host 1420209 made by a person - - nobody",
            "150 existing a mapping of host 1420209 made by an earlier match staff 12 - refused: the member of \
             staff is inactive, deleted, or in another company",
            "100 email frida@salon.example - - nobody",
            "50 name frida spitz staff 31 75 75 is below 80: a suggestion",
            "Decision: not assigned; suggested: staff 31.",
        ]
    );
    assert!(lines[7].starts_with("What to do: if the suggestion is right"), "{}", lines[7]);

    // The configured threshold applies, and other companies are not searched.
    let lower = ["--company", "15", "--set", "matching.auto_accept=75", "--output", "json"];
    let reported = json(&explain(&world, &[&host[..], &lower].concat()));
    let decision = &reported["explanations"][0]["decision"];
    assert_eq!(*decision, json!({ "result": "matched", "staff": 31, "strategy": "name", "confidence": 75 }));
    let other = json(&explain(&world, &[&host[..], &["--company", "16", "--output", "json"]].concat()));
    assert_eq!(other["explanations"][0]["decision"], json!({ "result": "unmatched" }));
}

#[tokio::test]
async fn a_booking_is_explained_completely_and_nothing_is_written() {
    let world = create_salon(Backend::Sqlite, GatewayShape::Roadmap).await;
    let before = all_rows(&world).await;
    assert!(before["appointments"].len() == 4 && before.len() > 8, "the comparison must cover the tables");

    let bare = json!({ "uid": "Bk-mara", "hosts": host(7, "Mara Lind", "mara@salon.example") });
    let reported = explanations(&world, &bare.to_string(), &[]);
    assert_eq!(reported.len(), 1);
    let expected = json!({
        "appointment": 4711, "delivery": "done", "outcome": "assigned", "reason": null, "why": null,
        "held_by": "nobody", "also_decided": 0, "found_by": "uid",
        "before": { "staff_id": null, "calcom_host_id": null }, "after": { "staff_id": 32, "calcom_host_id": 7 },
        "mappings": [{ "change": "made", "staff": 32 }],
    });
    assert_eq!(reported[0]["effect"], expected);
    assert_eq!((&reported[0]["booking"], &reported[0]["host_source"]), (&json!("Bk-mara"), &json!("hosts")));
    let results: Vec<&str> = reported[0]["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["result"].as_str().unwrap())
        .collect();
    assert_eq!(results, ["nobody", "nobody", "accepted", "not tried: an earlier strategy has decided"]);

    // The file has events of any kind, one per line, and each is explained alone.
    let lines = [
        event("e-1", "Bk-frida", 5, host(1_420_209, "Frida Spitz", "frida@salon.example")),
        event("e-2", "Bk-first", 0, host(7, "Mara Lind", "mara@salon.example")),
        event("e-3", "Bk-nobody", 5, json!([])),
        event("e-4", "Bk-unknown", 5, host(7, "Mara Lind", "mara@salon.example")),
        json!({ "triggerEvent": "PING" }),
        json!({ "event": "appointment.created", "calcom_booking": { "title": "Jane Roe" } }),
        json!({ "event": "appointment.created", "company_id": 16,
                "calcom_booking": { "uid": "Bk-mara", "hosts": host(7, "", "mara@salon.example") } }),
    ];
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    let reported = explanations(&world, &lines.join("\n"), &[]);
    let effects: Vec<String> = reported
        .iter()
        .map(|one| {
            let effect = &one["effect"];
            ["delivery", "outcome", "reason"].map(|key| effect[key].as_str().unwrap_or("-")).join(" ")
        })
        .collect();
    assert_eq!(
        effects,
        [
            "done needs_review below_threshold",
            "done stale -",
            "done no_host empty at /calcom_booking/hosts",
            "- - -",
            "done ignored -",
            "dead_letter - no_booking",
            "dead_letter - tenant_mismatch",
        ]
    );
    let company = explanations(&world, &lines[3], &["--company", "15"]);
    assert_eq!(company[0]["effect"]["delivery"], "retry");
    assert_eq!(company[0]["decision"]["staff"], 32);
    assert!(company[0]["next"].as_str().unwrap().contains("calcom_v2_booking_id"), "{company:?}");

    assert_eq!(all_rows(&world).await, before);
}

#[tokio::test]
async fn an_appointment_is_explained_from_stored_events() {
    let world = create_salon(Backend::Sqlite, GatewayShape::Roadmap).await;
    world.outcome_of(event("e-1", "Bk-mara", 5, host(7, "Mara Lind", "mara@salon.example"))).await;
    world.set_staff_externally(4711, Some(31)).await;
    for payload in ["kept", "purged"] {
        let output = explain(&world, &["--uid", "Bk-mara", "--output", "json"]);
        let reported = &json(&output)["explanations"][0];
        assert_eq!(reported["decision"]["strategy"], "existing", "{payload}");
        assert_eq!(
            (&reported["effect"]["outcome"], &reported["effect"]["held_by"]),
            (&json!("kept"), &json!("somebody_else"))
        );
        assert_eq!(reported["host"]["email"], "mara@salon.example", "{payload}");
        assert_eq!(reported["host"]["name"] == "Mara Lind", payload == "kept");
        world.run("UPDATE hostmatch_assignments SET payload = NULL").await;
    }
    let table = explain(&world, &["--uid", "Bk-mara"]);
    assert!(stdout(&table).starts_with("Booking Bk-mara, its newest event again\nHost 7  (company 15)"));
    assert!(
        stdout(&table).contains("staff_id stays 31 (set or cleared by somebody else)"),
        "{}",
        stdout(&table)
    );
}

#[tokio::test]
async fn an_impossible_explanation_ends_with_its_exit_code() {
    let world = create_salon(Backend::Sqlite, GatewayShape::Roadmap).await;
    for (arguments, code, text) in [
        (&["--uid", "Bk-none"][..], 3, "no appointment has the booking"),
        (&["--uid", "Bk-nobody"], 3, "no event with a host has been decided for appointment 4713"),
        (&["--booking", "/nowhere/booking.json"], 3, "cannot be read"),
        (&["--host", "7"], 2, "--company"),
        (&["--host", "0", "--company", "15"], 2, "0"),
        (&[], 2, "--booking"),
        (&["--uid", "Bk-mara", "--host", "7", "--company", "15"], 2, "cannot be used with"),
    ] {
        let output = explain(&world, arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(text), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
    // Without an appointment and without `--company` there is no company to search.
    let reported =
        explanations(&world, &json!({ "uid": "Bk-none", "hosts": [{ "id": 7 }] }).to_string(), &[]);
    assert!(reported[0]["next"].as_str().unwrap().contains("--company"), "{reported:?}");
}

on_engines!(explaining_reads_what_deciding_reads_and_waits_for_no_lock);
async fn explaining_reads_what_deciding_reads_and_waits_for_no_lock(backend: Backend) {
    for shape in shapes() {
        reads_what_deciding_reads(backend, shape).await;
    }
}

async fn reads_what_deciding_reads(backend: Backend, shape: GatewayShape) {
    let world = create_salon(backend, shape).await;
    let (db, schema) = (&world.test.db, world.test.schema().await);
    let body = event("e-1", "Bk-frida", 5, host(1_420_209, "Frida Spitz", "")).to_string();
    let event = decode_event(body.as_bytes());
    let locks = world.count("hostmatch_host_locks").await;

    // A worker is in the middle of a transaction. (SQLite's readers see the state before it, as they must.)
    let deciding = db.begin().await.unwrap();
    let lookups = [Lookup { event: &event, tried_before: false }];
    let purpose = Purpose::Write(store::HostLockMode::Exclusive);
    let (loaded, _) = load(&deciding, &schema, &lookups, purpose).await.unwrap();
    let reader = db.begin_reading().await.unwrap();
    let loading = load(&reader, &schema, &lookups, Purpose::ReadOnly);
    let (read, _) = tokio::time::timeout(Duration::from_secs(5), loading)
        .await
        .expect("the explanation must not wait for the worker")
        .unwrap();
    assert_eq!(read.targets, loaded.targets, "{backend:?}/{shape:?}");
    assert_eq!(read.loaded.appointments, loaded.loaded.appointments);
    let key = HostKey::new(CompanyId(15), HostId(1_420_209));
    assert_eq!(read.loaded.directory.mappings(key), loaded.loaded.directory.mappings(key));

    let directory = store::directory_for(&reader, &schema, key.company, Some(key.host)).await.unwrap();
    assert_eq!(directory.mappings(key).len(), 1, "{backend:?}/{shape:?}");
    assert!(!directory.is_mapped(key), "a mapping to staff who have left does not count");
    assert_eq!(directory.roster(key.company).unwrap().staff().len(), 2);
    let other_company = store::directory_for(&reader, &schema, CompanyId(16), None).await.unwrap();
    assert!(other_company.roster(CompanyId(16)).unwrap().staff().is_empty());

    let reference = |text| BookingRef::new(text).unwrap();
    let first = store::recorded_appointment(&reader, &schema, &reference("Bk-first")).await.unwrap().unwrap();
    let assignment = first.assignment.unwrap();
    assert_eq!(assignment.newest.unwrap().host_id, Some(1_420_209));
    assert!(assignment.payload.unwrap().contains("alt@salon.example"));
    let fresh = store::recorded_appointment(&reader, &schema, &reference("Bk-mara")).await.unwrap().unwrap();
    assert_eq!((fresh.appointment.0, fresh.assignment), (4711, None));
    let none = store::recorded_appointment(&reader, &schema, &reference("bk-mara")).await.unwrap();
    assert_eq!(none, Err(Target::Missing), "{backend:?}/{shape:?}");

    deciding.rollback().await.unwrap();
    if backend != Backend::Sqlite {
        let write = "INSERT INTO hostmatch_host_locks (company_id, host_id) VALUES (15, 1)";
        assert!(
            reader.execute_unprepared(write).await.is_err(),
            "{backend:?}: the transaction must be read-only"
        );
    }
    reader.rollback().await.unwrap();
    assert_eq!(world.count("hostmatch_host_locks").await, locks);
}

fn decode_event(body: &[u8]) -> hostmatch::event::BookingEvent {
    match decode(&Envelope::new(body, 1_772_500_000_000)).unwrap() {
        Decoded::Event(event) => *event,
        Decoded::Ignored(_) => panic!("the event was ignored"),
    }
}

#[tokio::test]
async fn times_without_a_zone_are_explained_in_the_gateways_zone() {
    let world = create_salon(Backend::Sqlite, GatewayShape::Roadmap).await;
    let at = |time: &str| {
        json!({ "uid": "Bk-mara", "updatedAt": time, "notes": "@half@",
            "hosts": [{ "id": 7, "name": "Mara Lind", "email": "mara@salon.example" }] })
    };
    let mut newest = event("e-1", "Bk-mara", 0, json!(null));
    newest["calcom_booking"] = at("2026-03-01T10:00:00Z");
    assert_eq!(world.outcome_of(newest).await, "assigned");
    // A bare booking keeps its bytes: half of a character in a field that nobody reads is no fault.
    let (before, after) = (at("2026-03-01 11:59:59"), at("2026-03-01 12:00:01"));
    let lines = format!("{before}\n{after}\n").replace("@half@", "\\ud83d");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("bookings");
    std::fs::write(&file, lines).unwrap();
    let explained = command(&["match", "explain", "--output", "json", "--booking"])
        .arg(&file)
        .env("HOSTMATCH_DATABASE__URL", &world.test.url)
        .env("HOSTMATCH_GATEWAY__TIMEZONE", "+02:00")
        .output()
        .unwrap();
    let explained = &json(&explained)["explanations"];
    let outcomes = [&explained[0]["effect"]["outcome"], &explained[1]["effect"]["outcome"]];
    assert_eq!(outcomes, ["stale", "unchanged"], "{explained}");
}

on_engines!(the_reference_that_found_an_appointment_and_notes_are_shown);
async fn the_reference_that_found_an_appointment_and_notes_are_shown(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    let mara = json!({ "id": 7, "name": "Mara Lind", "email": "mara@salon.example" });
    let reassigned = |id: &str, at: u32, payload: Value| {
        let mut payload = payload;
        payload["organizer"] = mara.clone();
        json!({ "triggerEvent": "BOOKING_REASSIGNED", "event_id": id, "attempt": 1,
            "createdAt": format!("2026-03-01T08:{at:02}:00Z"), "payload": payload })
    };
    let run = |arguments: &[&str]| {
        command(arguments).env("HOSTMATCH_DATABASE__URL", &world.test.url).output().unwrap()
    };
    let fixed = json!([8]);
    for (id, at, payload, found_by, text) in [
        ("e1", 1, json!({ "uid": "Bk-mara" }), "uid", "the booking's uid"),
        (
            "e2",
            2,
            json!({ "uid": "cB", "rescheduleUid": "Bk-mara" }),
            "reschedule_uid",
            "the uid of the booking that it replaced",
        ),
        ("e3", 3, json!({ "uid": "cB" }), "recorded_uid", "the booking's uid, as an earlier event named it"),
        (
            "e4",
            4,
            json!({ "uid": null, "rescheduleUid": "cB" }),
            "recorded_reschedule_uid",
            "the uid of the booking that it replaced, as an earlier event named it",
        ),
        (
            "e5",
            5,
            json!({ "uid": "cE", "rootBookingUid": "Bk-mara", "addedHostUserIds": fixed }),
            "root_booking_uid",
            "the first booking of its chain (rootBookingUid)",
        ),
    ] {
        let outcome = world.outcome_of(reassigned(id, at, payload)).await;
        assert!(["assigned", "unchanged"].contains(&outcome.as_str()), "{id}: {outcome}");
        let shown = json(&run(&["events", "show", id, "--output", "json"]));
        assert_eq!(shown["found_by"], found_by, "{backend:?} {shown}");
        assert_eq!(shown["notes"].as_array().unwrap().len(), usize::from(id == "e5"), "{shown}");
        let table = run(&["events", "show", id]);
        assert!(stdout(&table).contains(text), "{}", stdout(&table));
    }
    // The booking that is stored is explained with its notes.
    let explained = run(&["match", "explain", "--uid", "cE"]);
    let text = stdout(&explained);
    assert!(text.contains("Note: /addedHostUserIds is a list of other hosts"), "{text}");
    assert!(text.contains("Found by the booking's uid, as an earlier event named it."), "{text}");
    let explained =
        &json(&run(&["match", "explain", "--uid", "Bk-mara", "--output", "json"]))["explanations"][0];
    assert_eq!(explained["effect"]["found_by"], "uid", "{explained}");
    assert_eq!(explained["notes"].as_array().unwrap().len(), 1, "{explained}");
    let file = json!({ "uid": "cB", "hosts": [mara] }).to_string();
    assert_eq!(explanations(&world, &file, &[])[0]["effect"]["found_by"], "recorded_uid");
}
