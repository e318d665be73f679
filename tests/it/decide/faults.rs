//! Tests the effect of one event on the others: failing messages, a database that refuses changes, and
//! settings.

use hostmatch::decide::DeliveryResult;

use crate::support::{Backend, GatewayShape, World, event, host};

fn frida() -> serde_json::Value {
    host(1_420_209, "Frida Spitz", "frida@salon.example")
}

#[tokio::test]
async fn a_fault_of_the_whole_database_does_not_count_against_events() {
    let world = World::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    world.company(15).await;
    world.appointment(1, 15, "ABC123").await;
    world.run("CREATE TRIGGER full BEFORE INSERT ON hostmatch_host_locks BEGIN SELECT RAISE(ABORT, 'full'); END").await;
    world
        .run("CREATE TRIGGER all_full BEFORE UPDATE ON appointments BEGIN SELECT RAISE(ABORT, 'full'); END")
        .await;
    world.try_send(&[event("e1", "ABC123", 1, frida())]).await.expect_err("the event is held, not decided");
}

on_engines!(one_failing_message_among_good_ones_is_dead_lettered_alone);
async fn one_failing_message_among_good_ones_is_dead_lettered_alone(backend: Backend) {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(15).await;
    world.staff(1, 15, "Frida Spitz", "frida@salon.example").await;
    // The database refuses changes to one appointment.
    for n in 1..=20 {
        world.appointment(n, 15, &format!("B{n}")).await;
    }
    let refuse = match world.test.db.backend() {
        sea_orm::DbBackend::Sqlite => {
            "CREATE TRIGGER refuse BEFORE UPDATE ON appointments WHEN NEW.id = 13 BEGIN SELECT RAISE(ABORT, 'no'); END"
        }
        sea_orm::DbBackend::MySql => {
            "CREATE TRIGGER refuse BEFORE UPDATE ON appointments FOR EACH ROW BEGIN IF NEW.id = 13 THEN \
             SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF; END"
        }
        _ => "ALTER TABLE appointments ADD CONSTRAINT refuse CHECK (id <> 13 OR staff_id IS NULL)",
    };
    world.run(refuse).await;
    let events: Vec<_> = (1..=20).map(|n| event(&format!("e{n}"), &format!("B{n}"), 1, frida())).collect();
    let results = world.send(&events).await;
    for (n, result) in (1..).zip(&results) {
        match (n, result) {
            (13, DeliveryResult::Retry(reason, _)) => assert_eq!(reason.as_str(), "refused"),
            (13, other) => panic!("{other:?}"),
            (_, result) => {
                assert_eq!(*result, DeliveryResult::Done(hostmatch::matching::Outcome::Assigned), "{n}")
            }
        }
    }
    assert_eq!(world.count("appointments WHERE staff_id = 1").await, 19);
}

#[tokio::test]
async fn policies_and_thresholds_are_applied() {
    for (settings, expected) in [
        (&[("appointments.overwrite", "never")][..], ["kept", "assigned"]),
        (&[("appointments.overwrite", "always")][..], ["assigned", "assigned"]),
        (&[("matching.auto_accept", "99")][..], ["kept", "needs_review"]),
    ] {
        let world = World::with_settings(Backend::Sqlite, GatewayShape::Roadmap, settings).await;
        world.company(15).await;
        world.staff(1, 15, "Frida Spitz", "frida@salon.example").await;
        world.staff(2, 15, "Boris Kamm", "").await;
        world.appointment(1, 15, "ABC123").await;
        world.appointment(2, 15, "DEF456").await;
        world.set_staff_externally(1, Some(2)).await;
        assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, expected[0], "{settings:?}");
        assert_eq!(world.outcome_of(event("e2", "DEF456", 1, frida())).await, expected[1], "{settings:?}");
    }
}
