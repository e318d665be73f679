//! Obstacles to adoption are found before anything is changed, and are reported with their rows.

use migration::MigrateError;
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tempfile::TempDir;

use crate::migration::adopting::{gateway, same, state};
use crate::support::adopted::{Variant, staff};
use crate::support::program::{command, json, stderr};
use crate::support::{Backend, GatewayShape, TestDatabase};

fn insert_mapping(staff_number: u32, host: i64) -> String {
    format!(
        "INSERT INTO calcom_host_mappings (staff_id, calcom_host_id, calcom_name, calcom_email, mapping_source) \
         VALUES ({}, {host}, 'x', 'x@salon.example', 'manual')",
        staff(staff_number)
    )
}

/// Checks that adoption is refused with and without `--adopt`, that the error contains these texts, and that
/// nothing changed.
async fn assert_adoption_refused(test: &TestDatabase, words: &[&str]) {
    let before = state(test).await;
    let found = migration::examine(test.db.connection()).await.unwrap();
    for done in [migration::up(test.db.connection()).await, migration::adopt(test.db.connection()).await] {
        let error = done.unwrap_err();
        assert!(matches!(error, MigrateError::Obstacles(_)), "{test:?}: {error}");
        let text = error.to_string();
        for word in words {
            assert!(text.contains(word), "{test:?}: {word}: {text}");
        }
        assert!(!text.contains("@salon.example"), "{text}");
    }
    assert!(!found.obstacles.is_empty() && found.obstacles.iter().all(|one| !one.remedy.is_empty()));
    same(&format!("{test:?}"), &state(test).await, &before);
}

on_engines!(keys_and_checks_that_would_refuse_our_rows_are_named: mariadb, postgres);
async fn keys_and_checks_that_would_refuse_our_rows_are_named(backend: Backend) {
    let test = gateway(backend, Variant::Bare).await;
    let name = if backend == Backend::Postgres { "calcom_host_mappings_idx_active" } else { "idx_active" };
    test.run(&[
        "CREATE UNIQUE INDEX one_mail ON calcom_host_mappings (calcom_host_id, calcom_email)".to_owned(),
        format!("CREATE INDEX {name} ON calcom_host_mappings (is_active)"),
        "ALTER TABLE calcom_host_mappings ADD CONSTRAINT known CHECK (calcom_host_id > 5)".to_owned(),
    ])
    .await;
    assert_adoption_refused(&test, &["unique key one_mail", "idx_active on other columns", "known"]).await;
}

on_engines!(rows_that_violate_our_constraints_are_named: mariadb, postgres);
async fn rows_that_violate_our_constraints_are_named(backend: Backend) {
    let test = gateway(backend, Variant::Bare).await;
    test.run(&[
        // 6 and 7: two people for one host; 8 and 9: the same person twice; 10 and 11: not a Cal.com host.
        insert_mapping(901, 5010),
        insert_mapping(902, 5010),
        insert_mapping(901, 5011),
        insert_mapping(901, 5011),
        insert_mapping(901, 4_294_967_296),
        insert_mapping(901, 0),
        // 12: the member of staff does not exist.
        insert_mapping(999, 5012),
        "INSERT INTO calcom_host_mapping_audits (mapping_id, action) VALUES (4711, 'created')".into(),
    ])
    .await;
    assert_adoption_refused(
        &test,
        &[
            "company 901, host 5010: mappings 6, 7",
            "\n  host 5011: mappings 8, 9",
            "mapping 10\n",
            "mapping 11\n",
            "mapping 12\n",
            "audit 4 of mapping 4711",
        ],
    )
    .await;
}

on_engines!(a_mapping_of_another_company_than_its_staff_is_named: mariadb, postgres);
async fn a_mapping_of_another_company_than_its_staff_is_named(backend: Backend) {
    let test = gateway(backend, Variant::Live).await;
    test.run(&["UPDATE calcom_host_mappings SET company_id = 902 WHERE id = 1"]).await;
    assert_adoption_refused(&test, &["another company", "mapping 1\n"]).await;
    // After a person has corrected it, adoption succeeds.
    test.run(&["UPDATE calcom_host_mappings SET company_id = 901 WHERE id = 1"]).await;
    migration::adopt(test.db.connection()).await.unwrap();
}

on_engines!(unrelated_tables_with_our_names_are_not_adopted: mariadb, postgres);
async fn unrelated_tables_with_our_names_are_not_adopted(backend: Backend) {
    let cases = [
        ("CREATE VIEW calcom_host_mappings AS SELECT id FROM staff", "calcom_host_mappings"),
        (
            "CREATE TABLE calcom_host_mappings (id INT PRIMARY KEY, name TEXT)",
            "the column staff_id is missing",
        ),
        ("ALTER TABLE appointments ADD COLUMN calcom_host_id VARCHAR(20)", "appointments.calcom_host_id is"),
        ("CREATE TABLE hostmatch_inbox (id INT)", "hostmatch_inbox"),
        (
            "CREATE TABLE hostmatch_adopted_calcom_host_mappings (id INT)",
            "hostmatch_adopted_calcom_host_mappings",
        ),
    ];
    for (statement, word) in cases {
        let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
        test.run(&[statement]).await;
        assert_adoption_refused(&test, &[word]).await;
    }
    let test = gateway(backend, Variant::Live).await;
    test.run(&["ALTER TABLE calcom_host_mappings ADD COLUMN shop_id INT NOT NULL DEFAULT 3"]).await;
    test.run(&["ALTER TABLE calcom_host_mappings ALTER COLUMN shop_id DROP DEFAULT"]).await;
    assert_adoption_refused(&test, &["the column shop_id, which requires a value"]).await;
}

on_engines!(each_obstacle_to_adoption_is_named: mariadb, postgres);
/// The minimum that adoption requires, broken in one way after another.
async fn each_obstacle_to_adoption_is_named(backend: Backend) {
    let maria = backend == Backend::MariaDb;
    let pick = |mysql: &'static str, postgres: &'static str| if maria { mysql } else { postgres };
    let maps = "ALTER TABLE calcom_host_mappings";
    let company = format!("{maps} ADD COLUMN company_id BIGINT NULL");
    let mut cases = vec![
        (
            vec![company, "UPDATE calcom_host_mappings SET company_id = 777 WHERE id = 1".into()],
            "the company of a mapping",
        ),
        (
            vec![
                format!(
                    "{maps} {}",
                    pick("MODIFY calcom_host_id BIGINT NULL", "ALTER calcom_host_id DROP NOT NULL")
                ),
                "UPDATE calcom_host_mappings SET calcom_host_id = NULL WHERE id = 1".into(),
            ],
            "no host id",
        ),
        (vec!["DROP TABLE calcom_host_mappings".into()], "audit 1 of mapping 1"),
        (
            vec![format!("{maps} {}", pick("MODIFY id INT NOT NULL", "ALTER id DROP DEFAULT"))],
            "id has no auto-increment",
        ),
        (vec![format!("{maps} DROP COLUMN is_active, ADD COLUMN is_active VARCHAR(5)")], "is_active is"),
        (vec![format!("{maps} DROP COLUMN calcom_email")], "the column calcom_email is missing"),
        (
            vec!["CREATE UNIQUE INDEX one_audit ON calcom_host_mapping_audits (mapping_id, action)".into()],
            "unique key one_audit",
        ),
        (
            vec!["ALTER TABLE calcom_host_mapping_audits ADD CONSTRAINT few CHECK (mapping_id < 900)".into()],
            "few",
        ),
    ];
    if maria {
        let latin = "MODIFY calcom_name VARCHAR(100) CHARACTER SET latin1 NOT NULL";
        cases.push((vec![format!("{maps} {latin}")], "calcom_name is in latin1"));
        cases.push((vec![format!("{maps} ENGINE=MyISAM")], "a table that does not use InnoDB"));
    }
    for (statements, word) in cases {
        let test = gateway(backend, Variant::Bare).await;
        test.run(&statements).await;
        assert_adoption_refused(&test, &[word]).await;
    }
}

#[tokio::test]
async fn nothing_is_adopted_on_sqlite() {
    let test = TestDatabase::fresh(Backend::Sqlite, GatewayShape::Live).await;
    test.run(&["ALTER TABLE appointments ADD COLUMN calcom_host_id INT NULL"]).await;
    assert_adoption_refused(&test, &["SQLite"]).await;
}

on_engines!(adoption_does_not_wait_for_another_sessions_long_transaction: mariadb, postgres);
async fn adoption_does_not_wait_for_another_sessions_long_transaction(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
    let before = state(&test).await;
    let long = test.db.connection().begin().await.unwrap();
    long.execute_unprepared("SELECT COUNT(*) FROM appointments").await.unwrap();
    let error = migration::up(test.db.connection()).await.unwrap_err();
    assert!(matches!(error, MigrateError::Busy { .. }), "{backend:?}: {error}");
    long.rollback().await.unwrap();
    // A second run succeeds, and all of the adoption can be undone.
    migration::up(test.db.connection()).await.unwrap();
    migration::down(test.db.connection(), None).await.unwrap();
    same(&format!("{backend:?}"), &state(&test).await, &before);
}

#[tokio::test]
async fn the_command_exits_with_6_and_shows_the_obstacles() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    let test = gateway(Backend::MariaDb, Variant::Live).await;
    let migrate = |arguments: &[&str]| {
        let mut command = command(&["migrate"]);
        command.args(arguments).env("HOSTMATCH_DATABASE__URL", &test.url).current_dir(directory.path());
        command.output().unwrap()
    };
    let output = migrate(&["up"]);
    assert_eq!(output.status.code(), Some(6), "{}", stderr(&output));
    for word in ["found calcom_host_mappings\n", "mapping_source is an enumeration", "--adopt"] {
        assert!(stderr(&output).contains(word), "{word}: {}", stderr(&output));
    }
    let output = migrate(&["up", "--output", "json"]);
    assert_eq!(output.status.code(), Some(6));
    let found = json(&output);
    assert_eq!(found["adoptions"].as_array().unwrap().len(), 3, "{found}");
    assert!(
        !found["statements"].as_array().unwrap().is_empty()
            && found["obstacles"].as_array().unwrap().is_empty()
    );
    assert_eq!(migrate(&["sql"]).status.code(), Some(6));
    assert_eq!(migrate(&["sql", "--adopt"]).status.code(), Some(0));
    let output = migrate(&["up", "--adopt", "--output", "json"]);
    assert_eq!(json(&output)["applied"].as_array().unwrap().len(), 21, "{}", stderr(&output));
}
