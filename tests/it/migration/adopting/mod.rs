//! Adoption: tables that the gateway's own migrations created are changed to our shape, work for both
//! programs, and are restored to their original shape.

mod restored;
mod interrupted;
mod misfits;
mod raced;
mod refused;
mod privileges;

use serde_json::json;

use crate::migration::{dump, schema};
use crate::support::adopted::{Variant, existing_tables, gateway_continues, rows, tables, variants};
use crate::support::{Backend, GatewayShape, TestDatabase, World, event, host};

/// Creates a gateway with our tables in it.
pub(crate) async fn gateway(backend: Backend, variant: Variant) -> TestDatabase {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
    test.run(&tables(backend, variant)).await;
    test.run(&rows(backend, variant)).await;
    test
}

/// Returns the schema and all rows of the database.
pub(crate) async fn state(test: &TestDatabase) -> Vec<String> {
    comparable(dump(test).await)
}

/// Removes what may differ: counters, which only grow; the order of keys, which the server changes when a
/// foreign key is dropped and added again; and PostgreSQL's text of a check, which gets other casts when it
/// is created from its own text.
pub(crate) fn comparable(lines: Vec<String>) -> Vec<String> {
    let one = |line: String| {
        let line = match line.split_once(" AUTO_INCREMENT=") {
            Some((before, after)) => {
                format!("{before}{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => line,
        };
        if line.contains(" CHECK (((") {
            return ["::character varying", "::text", "[]", "(", ")"]
                .iter()
                .fold(line, |line, cast| line.replace(cast, ""));
        }
        let mut parts: Vec<&str> = line.split('\n').map(|part| part.trim_end_matches(',')).collect();
        let is_key = |part: &&str| part.trim_start().starts_with("KEY ") || part.starts_with("  UNIQUE KEY ");
        let first = parts.iter().position(is_key).unwrap_or(parts.len());
        let count = parts[first..].iter().take_while(|part| is_key(part)).count();
        parts[first..first + count].sort_unstable();
        parts.join("\n")
    };
    lines.into_iter().map(one).collect()
}

/// Fails with the differing lines only.
pub(crate) fn same(what: &str, found: &[String], wanted: &[String]) {
    let more: Vec<_> = found.iter().filter(|line| !wanted.contains(line)).collect();
    let less: Vec<_> = wanted.iter().filter(|line| !found.contains(line)).collect();
    assert!(more.is_empty() && less.is_empty(), "{what}\n  found: {more:#?}\n  wanted: {less:#?}");
}

pub(crate) fn of_gateway(lines: &[String]) -> Vec<String> {
    // What was assigned stays assigned.
    lines.iter().filter(|line| !line.starts_with("appointments: ")).cloned().collect()
}

/// Decides bookings that use, replace, respect and create mappings.
async fn decide(world: &World) {
    for id in 9003..=9006 {
        world.appointment(id, 901, &format!("bk-{id}")).await;
    }
    let sent = [
        ("bk-9003", host(5004, "Omar Falk", "omar@elsewhere.example"), "assigned"),
        ("bk-9004", host(5002, "Omar Falk", "omar@salon.example"), "assigned"),
        ("bk-9005", host(5003, "Omar Falk", "omar@salon.example"), "needs_review"),
        ("bk-9006", host(5009, "Jana Ruiz", "jana@salon.example"), "assigned"),
    ];
    for (n, (booking, host, outcome)) in (1_u32..).zip(sent) {
        assert_eq!(world.outcome_of(event(&format!("e{n}"), booking, n, host)).await, outcome, "{booking}");
    }
}

on_engines!(adopted_tables_work_and_are_restored: mariadb, postgres);
async fn adopted_tables_work_and_are_restored(backend: Backend) {
    for variant in variants() {
        let what = format!("{backend:?}/{variant:?}");
        let test = gateway(backend, variant).await;
        let before = state(&test).await;
        let error = migration::up(test.db.connection()).await.unwrap_err().to_string();
        assert!(error.contains("--adopt") && error.contains("company_id"), "{what}: {error}");
        same(&what, &state(&test).await, &before);

        assert_eq!(migration::adopt(test.db.connection()).await.unwrap().len(), 21, "{what}");
        assert_eq!(test.count("calcom_host_mappings").await, 5, "{what}");
        let unknown = "SELECT COUNT(*) FROM calcom_host_mappings WHERE company_id IS NULL";
        assert_eq!(test.number(unknown).await, 0, "{what}");
        let record = "SELECT reason FROM calcom_host_mapping_audits WHERE actor = 'migration'";
        let record = test.strings(record).await;
        assert!(record.len() == 1 && record[0].contains("calcom_host_mappings"), "{what}: {record:?}");
        let untold = "SELECT COUNT(*) FROM calcom_host_mapping_audits WHERE actor = 'gateway' \
                      AND company_id = 901 AND staff_id IS NOT NULL";
        assert_eq!(test.number(untold).await, 3, "{what}");
        assert_eq!(migration::up(test.db.connection()).await.unwrap().len(), 0, "{what}");

        let world = World::in_database(test, &[]).await;
        decide(&world).await;
        let test = world.test;
        test.run(&gateway_continues(backend, variant)).await;

        migration::down(test.db.connection(), None).await.unwrap();
        let after = of_gateway(&state(&test).await);
        let before = of_gateway(&before);
        let less: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
        let more: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
        let new = |table: &str| more.iter().filter(|line| line.starts_with(table)).count();
        assert!(less.is_empty(), "{what}: lost {less:#?}\n  found {more:#?}");
        assert_eq!(
            (new("calcom_host_mappings: "), new("calcom_host_mapping_audits: "), more.len()),
            (1, 1, 2),
            "{what}: exactly the gateway's new rows stay: {more:#?}"
        );
    }
}

on_engines!(a_mapping_that_the_gateway_creates_later_counts: mariadb, postgres);
/// A gateway that does not know the company, after adoption: its new mapping counts for the company of its
/// member of staff.
async fn a_mapping_that_the_gateway_creates_later_counts(backend: Backend) {
    let test = gateway(backend, Variant::Plan).await;
    migration::adopt(test.db.connection()).await.unwrap();
    test.run(&gateway_continues(backend, Variant::Plan)).await;
    let world = World::in_database(test, &[]).await;
    world.appointment(9003, 902, "bk-9003").await;
    let sent = event("e1", "bk-9003", 1, host(5102, "Somebody Else", "else@elsewhere.example"));
    assert_eq!(world.outcome_of(sent).await, "assigned", "{backend:?}");
    assert_eq!(world.assigned(9003).await, "904/5102", "{backend:?}");
}

on_engines!(tables_with_exactly_our_shape_are_adopted_too: mariadb, postgres);
async fn tables_with_exactly_our_shape_are_adopted_too(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Live).await;
    let ours = [
        "hostmatch_manual_assignments",
        "hostmatch_booking_references",
        "hostmatch_workers",
        "hostmatch_repair_items",
        "hostmatch_imports",
        "hostmatch_hand_overs",
        "hostmatch_repairs",
        "hostmatch_inbox_actions",
        "hostmatch_dead_letter_action_letters",
        "hostmatch_dead_letter_actions",
        "hostmatch_replay_items",
        "hostmatch_replays",
        "hostmatch_dead_letters",
        "hostmatch_events",
        "hostmatch_host_locks",
        "hostmatch_inbox",
        "hostmatch_assignments",
        "hostmatch_migrations",
    ];
    test.run(&ours.map(|table| format!("DROP TABLE {table}"))).await;
    let before = state(&test).await;
    let found = migration::examine(test.db.connection()).await.unwrap();
    let differing: Vec<_> = found.adoptions.iter().filter(|one| !one.differences.is_empty()).collect();
    assert_eq!((found.adoptions.len(), differing.len()), (3, 0), "{backend:?}: {found:#?}");
    migration::adopt(test.db.connection()).await.unwrap();
    migration::down(test.db.connection(), None).await.unwrap();
    same(&format!("{backend:?}"), &state(&test).await, &before);
}

on_engines!(the_printed_statements_adopt_too: mariadb, postgres);
async fn the_printed_statements_adopt_too(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
    test.run(&existing_tables(backend)).await;
    let before = state(&test).await;
    let refused = migration::sql(test.db.connection(), false).await.unwrap_err().to_string();
    assert!(refused.contains("--adopt"), "{refused}");
    test.run(&migration::sql(test.db.connection(), true).await.unwrap()).await;
    let printed = schema(&test).await;
    assert!(migration::status(test.db.connection()).await.unwrap().iter().all(|one| one.applied));
    migration::down(test.db.connection(), None).await.unwrap();
    same(&format!("{backend:?}"), &state(&test).await, &before);
    migration::adopt(test.db.connection()).await.unwrap();
    same(&format!("{backend:?}"), &comparable(schema(&test).await), &comparable(printed));
}

#[tokio::test]
async fn appointments_with_the_maximum_of_indexes_get_the_column_without_one() {
    let test = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Live).await;
    let have = "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics \
                WHERE table_schema = DATABASE() AND table_name = 'appointments'";
    let have = test.number(have).await;
    for n in have..64 {
        test.run(&[format!("CREATE INDEX filler_{n} ON appointments (status, calcom_booking_id)")]).await;
    }
    let before = state(&test).await;
    let found = migration::examine(test.db.connection()).await.unwrap();
    assert!(found.notes.iter().any(|note| note.contains("64")), "{found:#?}");
    migration::up(test.db.connection()).await.unwrap();
    let world = World::in_database(test, &[]).await;
    world.company(7).await;
    world.staff(1, 7, "Jana Ruiz", "jana@salon.example").await;
    world.appointment(100, 7, "bk-100").await;
    assert_eq!(
        world.outcome_of(event("e1", "bk-100", 1, host(5, "Jana Ruiz", "jana@salon.example"))).await,
        "assigned"
    );
    world.run("DELETE FROM appointments").await;
    world.run("DELETE FROM staff").await;
    world.run("DELETE FROM companies").await;
    migration::down(world.test.db.connection(), None).await.unwrap();
    same("down", &state(&world.test).await, &before);
}

on_engines!(metadata_that_was_encoded_twice_is_kept_unchanged: mariadb, postgres);
async fn metadata_that_was_encoded_twice_is_kept_unchanged(backend: Backend) {
    let test = gateway(backend, Variant::Live).await;
    let read = match backend {
        Backend::MariaDb => {
            "SELECT CAST(metadata AS CHAR) FROM calcom_host_mappings WHERE metadata IS NOT NULL"
        }
        _ => "SELECT metadata::text FROM calcom_host_mappings WHERE metadata IS NOT NULL",
    };
    let before = test.strings(read).await;
    migration::adopt(test.db.connection()).await.unwrap();
    assert_eq!(test.strings(read).await, before);
    assert!(
        serde_json::from_str::<String>(&before[0]).is_ok(),
        "a JSON string that contains JSON: {before:?}"
    );
    let world = World::in_database(test, &[]).await;
    world.appointment(9003, 901, "bk-9003").await;
    let hosts = json!([{ "id": 5001, "name": "Jana Ruiz", "email": "jana@salon.example" }]);
    assert_eq!(world.outcome_of(event("e1", "bk-9003", 1, hosts)).await, "assigned");
}
