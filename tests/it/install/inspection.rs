//! Tests `hostmatch gateway inspect`: its findings in every state of a database, and that it changes nothing.
//! Also tests that a migration refuses a schema that it would break.

use std::process::Output;

use hostmatch::store::Database;
use sea_orm::ConnectionTrait as _;
use serde_json::Value;

use crate::support::mariadb::MariaDb;
use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, TestDatabase, config};

fn run(url: &str, arguments: &[&str]) -> Output {
    command(arguments).env("HOSTMATCH_DATABASE__URL", url).output().unwrap()
}

fn inspect(test: &TestDatabase) -> Value {
    let output = run(&test.url, &["gateway", "inspect", "--output", "json"]);
    assert!(matches!(output.status.code(), Some(0 | 10)), "{test:?}: {}", stderr(&output));
    let found = json(&output);
    assert_eq!(output.status.code() == Some(0), found["verdict"] == "ready", "{found}");
    found
}

/// Returns the texts of the findings with this level.
fn findings(found: &Value, level: &str) -> Vec<String> {
    let findings = found["findings"].as_array().unwrap().iter().filter(|one| one["level"] == level);
    findings
        .map(|one| {
            assert_ne!(one["remedy"], "", "{one}");
            one["what"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn count(found: &Value, name: &str) -> i64 {
    let all = found["data"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}: {all:?}"))["count"]
        .as_i64()
        .unwrap()
}

fn table<'a>(found: &'a Value, name: &str) -> &'a Value {
    found["tables"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

on_engines!(an_empty_database_is_not_ready_and_a_new_gateway_is);
async fn an_empty_database_is_not_ready_and_a_new_gateway_is(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    let found = inspect(&test);
    assert_eq!(found["verdict"], "not_ready", "{found}");
    assert!(findings(&found, "problem")[0].contains("no table companies"), "{found}");
    assert_eq!(found["uses"], Value::Null);

    let test = TestDatabase::fresh(backend, GatewayShape::Roadmap).await;
    let found = inspect(&test);
    assert_eq!(found["verdict"], "ready", "{backend:?}: {found}");
    assert_eq!(found["migration"]["pending"].as_array().unwrap().len(), 21);
    let sql = json(&run(&test.url, &["migrate", "sql", "--output", "json"]));
    assert_eq!(found["migration"]["statements"], sql["statements"]);

    migration::up(test.db.connection()).await.unwrap();
    let found = inspect(&test);
    assert_eq!(found["verdict"], "ready", "{backend:?}: {found}");
    assert_eq!(found["migration"]["statements"].as_array().unwrap().len(), 0);
    assert_eq!(table(&found, "hostmatch_dead_letters")["of"], "hostmatch");
    let text = stdout(&run(&test.url, &["gateway", "inspect"])).to_owned();
    assert!(text.starts_with("READY") && text.contains("nothing: everything exists"), "{text}");
}

/// Inserts staff and bookings that make matching difficult, and names that must not be shown.
async fn insert_difficult_rows(test: &TestDatabase) {
    let staff = |n: u32, company: &str, email: &str, more: &str| {
        format!(
            "INSERT INTO staff (id, company_id, name, email{}) VALUES ('00000000-0000-4000-8000-{n:012}', {company}, \
             'Secretive Person', {email}{})",
            if more.is_empty() { "" } else { ", calcom_user_id" },
            if more.is_empty() { String::new() } else { format!(", '{more}'") },
        )
    };
    let booking = |id: u32, reference: &str, model: &str| {
        format!(
            "INSERT INTO appointments (id, company_id, calcom_v2_booking_id, assignment_model_used) \
             VALUES ({id}, 7, '{reference}', {model})"
        )
    };
    test.run(&[
        "INSERT INTO companies (id, name) VALUES (7, 'Salon Sieben'), (8, 'Salon Acht')".to_owned(),
        staff(1, "7", "'Secret@salon.example'", "4711"),
        staff(2, "7", "' secret@salon.example'", ""),
        staff(3, "8", "'secret@salon.example'", ""),
        staff(4, "7", "'   '", ""),
        staff(5, "7", "NULL", ""),
        booking(1, "Bk-aaa", "'manual'"),
        booking(2, "bk-AAA", "'any_staff'"),
        booking(3, "123456", "NULL"),
        booking(4, "twice", "NULL"),
        booking(5, "twice", "NULL"),
        "UPDATE appointments SET staff_id = '00000000-0000-4000-8000-000000000001' WHERE id = 1".to_owned(),
    ])
    .await;
}

async fn create_trigger(test: &TestDatabase) {
    match test.backend {
        Backend::Sqlite => {
            test.run(&["CREATE TRIGGER notes AFTER UPDATE ON appointments BEGIN SELECT 1; END"]).await;
        }
        Backend::MariaDb => {
            test.run(&["CREATE TRIGGER notes AFTER UPDATE ON appointments FOR EACH ROW SET @x = 1"]).await;
        }
        Backend::Postgres => {
            test.run(&[
                "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
                "CREATE TRIGGER notes AFTER UPDATE ON appointments FOR EACH ROW EXECUTE FUNCTION noted()",
            ])
            .await;
        }
    }
}

on_engines!(a_live_gateway_is_described_with_its_matching_problems_and_without_names);
async fn a_live_gateway_is_described_with_its_matching_problems_and_without_names(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
    insert_difficult_rows(&test).await;
    create_trigger(&test).await;
    let found = inspect(&test);
    assert_eq!(found["verdict"], "ready_with_notes", "{backend:?}: {found}");
    let notes = findings(&found, "note").join("\n");
    for what in [
        "the trigger notes runs AFTER every UPDATE",
        "1 e-mail addresses",
        "1 booking references that several",
    ] {
        assert!(notes.contains(what), "{what}: {notes}");
    }
    for (name, expected) in [
        ("staff_emails_shared", 1),
        ("staff_without_email", 2),
        ("staff_without_company", 0),
        ("staff_with_calcom_user", 1),
        ("appointments_with_staff", 1),
        ("booking_ids_numeric", 1),
        ("booking_ids_text", 4),
        ("booking_ids_differing_in_case", 1),
        ("booking_ids_repeated", 1),
        ("appointments_assigned_by_gateway", 2),
        ("appointments_assigned_by_person", 1),
    ] {
        assert_eq!(count(&found, name), expected, "{backend:?}: {name}");
    }
    let uses = &found["uses"];
    assert_eq!(uses["staff_id"], if backend == Backend::Postgres { "uuid" } else { "text" });
    assert_eq!(uses["booking_references"][2]["column"], "calcom_booking_id");
    assert_eq!(uses["booking_references"][2]["numeric"], true);
    let appointments = table(&found, "appointments");
    assert_eq!(appointments["rows"]["count"], 5);
    assert_eq!(appointments["rows"]["exact"], true);
    assert_eq!(appointments["triggers"][0]["event"], "UPDATE");
    if backend == Backend::MariaDb {
        assert_eq!(appointments["engine"], "InnoDB");
        assert_eq!(found["server"]["collation"], "utf8mb4_general_ci");
        let id = &table(&found, "staff")["columns"][0];
        assert_eq!((&id["name"], &id["collation"]), (&"id".into(), &"utf8mb4_unicode_ci".into()));
    }
    let text = format!("{found}{}", stdout(&run(&test.url, &["gateway", "inspect"])));
    for secret in ["Secretive", "secret@", "4711", "Salon Sieben"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

on_engines!(a_read_only_connection_cannot_write);
async fn a_read_only_connection_cannot_write(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Roadmap).await;
    let reader = Database::connect_read_only(&config(&test.url)).await.unwrap();
    for statement in ["INSERT INTO companies (id, name) VALUES (1, 'x')", "CREATE TABLE x (id INT)"] {
        let done = reader.connection().execute_unprepared(statement).await;
        let text = done.unwrap_err().to_string().to_lowercase();
        assert!(
            text.contains("read-only") || text.contains("read only") || text.contains("readonly"),
            "{text}"
        );
    }
    reader.close().await;
    assert_eq!(test.count("companies").await, 0);
}

on_engines!(the_gateways_time_zone_is_checked: mariadb, postgres);
async fn the_gateways_time_zone_is_checked(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
    if backend == Backend::MariaDb {
        test.run(&["ALTER TABLE appointments MODIFY updated_at DATETIME NULL"]).await;
    }
    let ahead = match backend {
        Backend::MariaDb => "UTC_TIMESTAMP() + INTERVAL 2 HOUR",
        _ => "now() AT TIME ZONE 'UTC' + INTERVAL '2 hours'",
    };
    test.run(&[
        "INSERT INTO companies (id, name) VALUES (7, 'x')".to_owned(),
        format!("INSERT INTO appointments (company_id, updated_at) VALUES (7, {ahead})"),
    ])
    .await;
    let inspect_in = |zone: &str| {
        let set = format!("gateway.timezone={zone}");
        json(&run(&test.url, &["gateway", "inspect", "--output", "json", "--set", &set]))
    };
    let found = inspect_in("+00:00");
    assert_eq!(found["verdict"], "ready_with_notes", "{found}");
    assert!(findings(&found, "note")[0].contains("minutes ahead"), "{found}");
    assert_eq!(inspect_in("+02:00")["verdict"], "ready", "{backend:?}: {}", inspect_in("+02:00"));
    let found = inspect_in("Nowhere/At_All");
    assert_eq!(found["verdict"], "not_ready");
    assert!(findings(&found, "problem")[0].contains("Nowhere/At_All"), "{found}");
}

#[tokio::test]
async fn limits_and_unsafe_engines_of_mysql_are_reported() {
    let test = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Live).await;
    let used = test
        .number(
            "SELECT COUNT(DISTINCT index_name) FROM information_schema.statistics \
             WHERE table_schema = DATABASE() AND table_name = 'appointments'",
        )
        .await;
    for n in used..64 {
        test.run(&[format!("CREATE INDEX more_{n} ON appointments (starts_at)")]).await;
    }
    test.run(&["ALTER TABLE branches ENGINE=MyISAM", "ALTER TABLE users MODIFY name VARCHAR(9)"]).await;
    let found = inspect(&test);
    assert_eq!(table(&found, "appointments")["keys"], 64);
    assert!(findings(&found, "note").iter().any(|what| what.contains("64")), "{found}");
    assert!(findings(&found, "problem")[0].contains("MyISAM"), "{found}");
}

on_engines!(tables_missing_after_a_migration_are_named_and_nothing_is_changed);
async fn tables_missing_after_a_migration_are_named_and_nothing_is_changed(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    test.run(&["DROP TABLE hostmatch_host_locks", "ALTER TABLE hostmatch_dead_letters DROP COLUMN error"])
        .await;
    for arguments in [&["migrate", "up"][..], &["migrate", "down", "--all", "--yes"]] {
        let output = run(&test.url, arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{backend:?} {arguments:?}: {text}");
        for what in [
            "nothing was changed",
            "m1007_hostmatch_host_locks",
            "m1009_hostmatch_dead_letters",
            "lacks error",
        ] {
            assert!(text.contains(what), "{what}: {text}");
        }
    }
    assert_eq!(test.count("hostmatch_migrations").await, 21);
    let found = inspect(&test);
    assert_eq!(found["verdict"], "not_ready");
    assert!(
        findings(&found, "problem").iter().any(|what| what.contains("m1007_hostmatch_host_locks")),
        "{found}"
    );

    // The remedy in the message works.
    test.run(&[
        "DROP TABLE hostmatch_dead_letters",
        "DELETE FROM hostmatch_migrations WHERE version = 'm1009_hostmatch_dead_letters'",
    ])
    .await;
    test.run(&["DELETE FROM hostmatch_migrations WHERE version = 'm1007_hostmatch_host_locks'"]).await;
    assert_eq!(run(&test.url, &["migrate", "up"]).status.code(), Some(0), "{backend:?}");
    assert_eq!(inspect(&test)["verdict"], "ready");
}

async fn check_read_only(test: &TestDatabase, url: &str) {
    for arguments in [&["migrate", "up"][..], &["migrate", "down", "--all", "--yes"]] {
        let output = run(url, arguments);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(6), "{test:?} {arguments:?}: {text}");
        assert!(text.contains("nothing was changed") && text.contains("does not accept writes"), "{text}");
    }
    let found = json(&run(url, &["gateway", "inspect", "--output", "json"]));
    assert!(findings(&found, "problem")[0].contains("accepts no writes"), "{found}");
    assert_eq!(
        migration::status(test.db.connection()).await.unwrap().iter().filter(|one| one.applied).count(),
        20
    );
}

#[tokio::test]
async fn a_read_only_server_is_not_migrated() {
    let test = TestDatabase::migrated(Backend::Postgres, GatewayShape::Roadmap).await;
    migration::down(test.db.connection(), Some(1)).await.unwrap();
    let name = test.strings("SELECT current_database()::text").await.remove(0);
    test.run(&[format!("ALTER DATABASE {name} SET default_transaction_read_only = on")]).await;
    check_read_only(&test, &test.url).await;

    let Some(server) = MariaDb::start().await else { return };
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, GatewayShape::Roadmap).await;
    migration::down(test.db.connection(), Some(1)).await.unwrap();
    test.run(&["SET GLOBAL read_only = 1"]).await;
    check_read_only(&test, &test.url).await;
    test.run(&["SET GLOBAL read_only = 0"]).await;

    let test = TestDatabase::fresh(Backend::Sqlite, GatewayShape::Roadmap).await;
    let output = run(&format!("{}?mode=ro", test.url), &["migrate", "up"]);
    assert!(stderr(&output).contains("nothing was changed"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(6));
    assert!(migration::status(test.db.connection()).await.unwrap().iter().all(|one| !one.applied));
}

#[test]
fn a_mistyped_path_creates_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", directory.path().join("mistyped.db").display());
    for arguments in [
        &["gateway", "inspect"][..],
        &["gateway", "grants"],
        &["migrate", "status"],
        &["migrate", "sql"],
        &["migrate", "down", "--yes"],
        &["match", "explain", "--host", "1", "--company", "1"],
        &["deadletters", "list"],
    ] {
        let output = run(&url, arguments);
        assert_eq!(output.status.code(), Some(8), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("mistyped.db"), "{}", stderr(&output));
        assert_eq!(directory.path().read_dir().unwrap().count(), 0, "{arguments:?}");
    }
}
