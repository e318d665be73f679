//! PostgreSQL sequences that are behind imported ids do not cause any loss, and `migrate up` sets them.

use hostmatch::decide::DeliveryResult;

use crate::install::privileges::run;
use crate::support::adopted::{Variant, rows, tables};
use crate::support::{Backend, GatewayShape, TestDatabase, User, World, event, host};

/// Creates a salon whose mappings and audits were inserted with their ids, as from a copy of another
/// database.
async fn imported(backend: Backend, mappings: bool, audits: bool) -> World {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(15).await;
    world.staff(1, 15, "Omar Falk", "omar@salon.example").await;
    world.appointment(100, 15, "bk-100").await;
    for id in 1..=40 {
        if mappings {
            world
                .run(&format!(
                    "INSERT INTO calcom_host_mappings (id, company_id, staff_id, calcom_host_id, calcom_name, \
                     calcom_email, mapping_source) VALUES ({id}, 15, 1, {}, 'Omar', '', 'manual')",
                    7000 + id
                ))
                .await;
        }
        if audits {
            world
                .run(&format!(
                    "INSERT INTO calcom_host_mapping_audits (id, action, actor) VALUES ({id}, 'created', 'cli:import')"
                ))
                .await;
        }
    }
    world
}

fn new_host() -> serde_json::Value {
    event("e1", "bk-100", 1, host(1420, "Omar Falk", "omar@salon.example"))
}

async fn lagging_tables(test: &TestDatabase) -> Vec<String> {
    let found = migration::lagging_sequences(test.db.connection()).await.unwrap();
    found.into_iter().map(|one| one.table).collect()
}

#[tokio::test]
async fn rows_that_a_lagging_sequence_blocks_are_retried_and_reported() {
    for (mappings, audits, table) in
        [(true, false, "calcom_host_mappings"), (false, true, "calcom_host_mapping_audits")]
    {
        let world = imported(Backend::Postgres, mappings, audits).await;
        let DeliveryResult::Retry(reason, error) = world.send(&[new_host()]).await.remove(0) else {
            panic!("{table}: the insert was accepted");
        };
        assert_eq!(reason.as_str(), "refused");
        for what in [&format!("{table}_id_seq"), "INSERT INTO", table, "hostmatch migrate up"] {
            assert!(error.contains(what), "{what}: {error}");
        }
        assert_eq!(world.assigned(100).await, "-/-", "{table}");
        assert_eq!(world.count("hostmatch_assignments").await, 0);

        assert_eq!(lagging_tables(&world.test).await, [table]);
        migration::up(world.test.db.connection()).await.unwrap();
        assert_eq!(lagging_tables(&world.test).await, Vec::<String>::new());
        assert_eq!(world.outcome_of(new_host()).await, "assigned", "{table}");
        let reported = "SELECT COUNT(*) FROM calcom_host_mapping_audits a JOIN calcom_host_mappings m \
                    ON m.id = a.mapping_id WHERE m.calcom_host_id = 1420";
        assert_eq!(world.test.number(reported).await, 1, "{table}");
    }
}

/// The migration is applied, and the error does not claim that nothing was changed.
#[tokio::test]
async fn a_user_who_may_not_set_a_sequence_gets_an_error_that_lists_what_was_done() {
    let user = User::new(Backend::Postgres).await;
    let world = imported(Backend::Postgres, false, true).await;
    let last = migration::down(world.test.db.connection(), Some(1)).await.unwrap().remove(0);
    for right in [
        "USAGE, CREATE ON SCHEMA public",
        "SELECT, INSERT, UPDATE, DELETE, REFERENCES ON ALL TABLES IN SCHEMA public",
        "SELECT ON ALL SEQUENCES IN SCHEMA public",
    ] {
        world.run(&format!("GRANT {right} TO {}", user.quoted())).await;
    }
    let up = || run(&world.test, &user, &["migrate", "up"]);
    let (code, text) = up();
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains(&format!("applied: {last}")) && !text.contains("nothing was changed"), "{text}");
    assert!(text.contains("the sequence calcom_host_mapping_audits_id_seq is at "), "{text}");
    assert_eq!(world.count("hostmatch_booking_references").await, 0);
    let (code, text) = up();
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
    // The printed statement repairs it.
    world.run(text.lines().find(|line| line.starts_with("DO $$")).unwrap()).await;
    assert_eq!(up().0, Some(0));
    assert_eq!(lagging_tables(&world.test).await, Vec::<String>::new());
    drop(world);
}

on_engines!(other_engines_continue_ids_after_the_rows: sqlite, mariadb);
async fn other_engines_continue_ids_after_the_rows(backend: Backend) {
    let world = imported(backend, true, true).await;
    assert_eq!(world.outcome_of(new_host()).await, "assigned", "{backend:?}");
    let reported = "SELECT COUNT(*) FROM calcom_host_mapping_audits a JOIN calcom_host_mappings m \
                ON m.id = a.mapping_id WHERE m.calcom_host_id = 1420 AND a.id > 40 AND m.id > 40";
    assert_eq!(world.test.number(reported).await, 1, "{backend:?}");
}

/// Tests a `serial` column, and a sequence that only the column's default refers to.
#[tokio::test]
async fn the_sequence_of_an_adopted_table_is_set_by_the_adoption() {
    for owned in [true, false] {
        let test = TestDatabase::fresh(Backend::Postgres, GatewayShape::Live).await;
        test.run(&tables(Backend::Postgres, Variant::Live)).await;
        test.run(&rows(Backend::Postgres, Variant::Live)).await;
        test.run(&["SELECT setval('calcom_host_mappings_id_seq', 1)"]).await;
        if !owned {
            test.run(&["ALTER SEQUENCE calcom_host_mappings_id_seq OWNED BY NONE"]).await;
        }
        assert_eq!(lagging_tables(&test).await, ["calcom_host_mappings"], "{owned}");
        let printed = migration::sql(test.db.connection(), true).await.unwrap();
        assert!(printed.iter().any(|sql| sql.contains("setval")), "{printed:#?}");
        migration::adopt(test.db.connection()).await.unwrap();
        assert_eq!(lagging_tables(&test).await, Vec::<String>::new());
        let next = "SELECT nextval('calcom_host_mappings_id_seq') - max(id) FROM calcom_host_mappings";
        assert_eq!(test.number(next).await, 1, "{owned}");
    }
}
