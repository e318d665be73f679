//! A worker that only observes decides and records everything without changing the gateway's rows. The switch
//! to assigning does not lose anything, and does not overwrite people's decisions.

use hostmatch::decide::Processor;
use serde_json::{Value, json};

use crate::install::privileges::{gateway, run};
use crate::support::{Backend, GatewayShape, TestDatabase, User, World, decide, event, host};

const OBSERVE: (&str, &str) = ("worker.mode", "observe");

/// Creates Mara and Boris, and appointments 1 to 6; another program has given 5 to Boris and 6 to Mara.
async fn salon(backend: Backend) -> World {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
    for id in 1..=6 {
        world.appointment(id, 15, &format!("Bk-{id}")).await;
    }
    world.set_staff_externally(5, Some(2)).await;
    world.set_staff_externally(6, Some(1)).await;
    world
}

async fn observer(test: &TestDatabase) -> Processor {
    World::processor_on(test, &[OBSERVE]).await
}

fn mara() -> Value {
    host(11, "Mara Lind", "mara@salon.example")
}

async fn outcomes(processor: &Processor, events: &[Value]) -> Vec<String> {
    decide(processor, events).await.iter().map(|answer| format!("{answer:?}")).collect()
}

on_engines!(an_observer_changes_nothing_and_the_switch_loses_and_overwrites_nothing);
async fn an_observer_changes_nothing_and_the_switch_loses_and_overwrites_nothing(backend: Backend) {
    let world = salon(backend).await;
    let observer = observer(&world.test).await;
    let all = ["id", "staff_id", "calcom_host_id", "updated_at"];
    let before = world.rows("appointments", &all).await;

    let events = [
        event("e-1", "Bk-1", 1, mara()),
        event("e-2", "Bk-2", 1, host(12, "Boris Kamm", "private@else.example")),
        event("e-3", "Bk-3", 1, mara()),
        event("e-4", "Bk-4", 1, json!([{ "email": "boris@salon.example" }])),
        event("e-5", "Bk-5", 1, mara()),
        event("e-6", "Bk-6", 1, mara()),
    ];
    let expected = ["WouldAssign", "NeedsReview", "WouldAssign", "WouldAssign", "Kept", "Unchanged"];
    let mut outcomes_seen = outcomes(&observer, &events[..2]).await;
    outcomes_seen.extend(outcomes(&observer, &events[2..]).await);
    assert_eq!(outcomes_seen, expected.map(|outcome| format!("Done({outcome})")), "{backend:?}");

    assert_eq!(world.rows("appointments", &all).await, before, "{backend:?}");
    for table in ["calcom_host_mappings", "calcom_host_mapping_audits"] {
        assert_eq!(world.count(table).await, 0, "{backend:?}: {table}");
    }
    let row = ["appointment_id", "staff_id", "found_staff_id", "observed", "strategy", "outcome"];
    assert_eq!(
        world.rows("hostmatch_assignments", &row).await,
        [
            "1|-|1|decided|email|would_assign",
            "2|-|-|decided|-|needs_review",
            "3|-|1|decided|email|would_assign",
            "4|-|2|decided|email|would_assign",
            "5|-|1|decided|email|kept",
            "6|-|1|decided|email|unchanged",
        ]
    );
    assert_eq!(world.count("hostmatch_inbox").await, 1);
    let rows = world.all_decided_rows().await;
    outcomes_seen = outcomes(&observer, &events).await;
    assert_eq!(outcomes_seen, expected.map(|outcome| format!("Done({outcome})")), "{backend:?}: again");
    assert_eq!(world.all_decided_rows().await, rows, "{backend:?}: the same events leave the same rows");

    // Meanwhile the other program continues: it assigns appointment 3, and clears 5.
    world.set_staff_externally(3, Some(2)).await;
    hostmatch::decide::write_observed(&observer).await.unwrap();
    assert_eq!(world.assigned(1).await, "-/-", "{backend:?}: an observer never switches");
    hostmatch::decide::write_observed(&world.processor).await.unwrap();
    let switched: Vec<String> = world.appointments().await.into_values().collect();
    assert_eq!(switched, ["1/11", "-/12", "2/11", "2/-", "2/11", "1/11"], "{backend:?}");
    assert_eq!(world.rows("calcom_host_mappings", &["calcom_host_id", "staff_id"]).await, ["11|1"]);
    assert_eq!(world.count("calcom_host_mapping_audits").await, 1, "{backend:?}");
    let rows = world.rows("hostmatch_assignments", &["appointment_id", "staff_id", "observed"]).await;
    assert_eq!(rows, ["1|1|-", "2|-|-", "3|-|-", "4|2|-", "5|-|-", "6|-|-"], "{backend:?}");
    let rows = world.all_decided_rows().await;
    hostmatch::decide::write_observed(&world.processor).await.unwrap();
    assert_eq!(world.all_decided_rows().await, rows, "{backend:?}: a second switch changes nothing");

    // We may change what the switch wrote, but not what it kept.
    let boris = host(13, "Boris Kamm", "boris@salon.example");
    world.send(&[event("e-7", "Bk-1", 9, boris), event("e-8", "Bk-3", 9, mara())]).await;
    assert_eq!((world.assigned(1).await, world.assigned(3).await), ("2/13".into(), "2/11".into()));
}

on_engines!(an_assignment_that_an_observer_would_withdraw_is_withdrawn_after_the_switch);
async fn an_assignment_that_an_observer_would_withdraw_is_withdrawn_after_the_switch(backend: Backend) {
    let world = salon(backend).await;
    let observer = observer(&world.test).await;
    world.send(&[event("e-1", "Bk-1", 1, mara()), event("e-2", "Bk-2", 1, mara())]).await;
    for (id, at) in [("e-3", 2), ("e-4", 3)] {
        let stranger = host(99, "A Stranger", "stranger@else.example");
        decide(&observer, &[event(id, "Bk-1", at, stranger)]).await;
    }
    // The second event brings nothing new, so the decision stays.
    decide(&observer, &[event("e-2", "Bk-2", 1, mara())]).await;
    assert_eq!((world.assigned(1).await, world.assigned(2).await), ("1/11".into(), "1/11".into()));
    let rows =
        world.rows("hostmatch_assignments", &["appointment_id", "staff_id", "observed", "outcome"]).await;
    assert_eq!(rows, ["1|1|withdrawal|unmatched", "2|1|-|assigned"], "{backend:?}");
    hostmatch::decide::write_observed(&world.processor).await.unwrap();
    assert_eq!((world.assigned(1).await, world.assigned(2).await), ("-/99".into(), "1/11".into()));
}

on_engines!(an_observer_needs_no_privilege_to_write_to_the_gateways_tables: mariadb, postgres);
async fn an_observer_needs_no_privilege_to_write_to_the_gateways_tables(backend: Backend) {
    let [owner, observing_user] = [User::new(backend).await, User::new(backend).await];
    let test = gateway(backend, &owner).await;
    migration::up(test.db.connection()).await.unwrap();
    crate::install::privileges::grant(&test, &observing_user, "observe").await;
    let world = World::in_database(test, &[]).await;
    world.company(15).await;
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    world.appointment(1, 15, "Bk-1").await;
    let database = hostmatch::store::Database::connect(&observing_user.config(&world.test)).await.unwrap();
    let settings = crate::support::settings_of(&[OBSERVE]);
    let schema = world.test.schema().await;
    let observer = Processor::new(database.clone(), schema, &settings);
    observer.probe().await.unwrap();
    assert_eq!(outcomes(&observer, &[event("e-1", "Bk-1", 1, mara())]).await, ["Done(WouldAssign)"]);
    let writes = ["UPDATE appointments SET staff_id = NULL", "DELETE FROM calcom_host_mappings"];
    for write in writes {
        let refused = sea_orm::ConnectionTrait::execute_unprepared(database.connection(), write).await;
        assert!(refused.is_err(), "{backend:?}: {write}");
    }
    let (code, text) = run(&world.test, &observing_user, &["report", "--since", "1d"]);
    assert_eq!(code, Some(0), "{backend:?}: {text}");
    database.close().await;
}
