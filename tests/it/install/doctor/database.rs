//! Tests findings about the gateway's database, on every engine on which a fault can occur.

use super::{Installation, Report};
use crate::install::privileges::{gateway, grant};
use crate::support::address::with_database;
use crate::support::mariadb::MariaDb;
use crate::support::{Backend, GatewayShape, Server, TestDatabase, UpdatedAt, User};

/// Runs the doctor on this database.
async fn examine(test: &TestDatabase) -> Report {
    run_doctor(&test.url, &[]).await
}

async fn run_doctor(url: &str, settings: &[(&str, &str)]) -> Report {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    // Other tests use the same servers at the same time.
    installation.set("database.max_connections", "4");
    installation.set("database.url", url);
    for (key, value) in settings {
        installation.set(key, value);
    }
    installation.doctor(&["--role", "worker"])
}

async fn create_migrated(backend: Backend) -> TestDatabase {
    TestDatabase::migrated(backend, GatewayShape::Roadmap).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_database_is_reported() {
    for url in
        ["mysql://u:hush@127.0.0.1:1/g", "postgres://u:hush@127.0.0.1:1/g", "sqlite:///nowhere/gateway.db"]
    {
        let report = run_doctor(url, &[("database.acquire_timeout", "1s")]).await;
        report.finds("database_unreachable", "", "hostmatch config show database.url");
        assert!(
            report.reason_not_checked("migrations_pending").contains("database_unreachable"),
            "{:#}",
            report.json
        );
    }
}

on_engines!(missing_outdated_newer_and_incomplete_tables_are_reported);
async fn missing_outdated_newer_and_incomplete_tables_are_reported(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    let report = examine(&test).await;
    report.finds("gateway_tables_missing", "", "hostmatch migrate baseline");

    let test = TestDatabase::fresh(backend, GatewayShape::Roadmap).await;
    let report = examine(&test).await;
    report.finds("migrations_pending", "", "hostmatch migrate up").only(&["migrations_pending"]);

    let test = create_migrated(backend).await;
    let newer =
        |name: &str| format!("INSERT INTO hostmatch_migrations (version, applied_at) VALUES ('{name}', 1)");
    // Additions of a newer program are not a problem.
    test.run(&[newer("m9998_more")]).await;
    assert_eq!(examine(&test).await.code, Some(0), "{backend:?}");
    test.run(&[newer("m9999_contract_less")]).await;
    let report = examine(&test).await;
    report.finds("migrations_newer", "", "hostmatch migrate down").only(&["migrations_newer"]);

    let test = create_migrated(backend).await;
    test.run(&["DROP TABLE hostmatch_inbox_actions"]).await;
    let report = examine(&test).await;
    report.finds("migrations_halfway", "", "hostmatch_migrations");
}

on_engines!(a_missing_index_is_reported_with_the_statement_that_creates_it);
async fn a_missing_index_is_reported_with_the_statement_that_creates_it(backend: Backend) {
    let test = create_migrated(backend).await;
    assert_eq!(examine(&test).await.code, Some(0), "{backend:?}");
    let drops = match backend {
        Backend::MariaDb => [
            "DROP INDEX calcom_v2_booking_id_index ON appointments",
            "DROP INDEX idx_booking ON hostmatch_events",
        ],
        _ => {
            ["DROP INDEX appointments_calcom_v2_booking_id_index", "DROP INDEX hostmatch_events_idx_booking"]
        }
    };
    test.run(&drops).await;
    let report = examine(&test).await;
    report.only(&["index_missing"]);
    let remedies: Vec<&str> = report.findings().iter().map(|one| one["remedy"].as_str().unwrap()).collect();
    assert_eq!(remedies.len(), 2, "{remedies:?}");
    // The printed statement repairs it. (SQLite's other connections may still know the index by its name.)
    let test = test.reconnected().await;
    for remedy in remedies {
        test.run(&[remedy.split_once(", ").unwrap().0]).await;
    }
    assert_eq!(examine(&test).await.code, Some(0), "{backend:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lagging_sequence_is_reported_until_a_migration_sets_it() {
    let test = create_migrated(Backend::Postgres).await;
    test.run(&["INSERT INTO calcom_host_mapping_audits (id, action, actor) VALUES (40, 'created', 'cli:x')"])
        .await;
    let report = examine(&test).await;
    report.finds("sequence_lags", "", "hostmatch migrate up").only(&["sequence_lags"]);
    let what = report.finding("sequence_lags")["what"].as_str().unwrap();
    assert!(what.contains("calcom_host_mapping_audits_id_seq is at 0"), "{what}");
    migration::up(test.db.connection()).await.unwrap();
    assert_eq!(examine(&test).await.code, Some(0));
}

on_engines!(the_printed_grants_suffice_and_each_missing_privilege_is_named: mariadb, postgres);
async fn the_printed_grants_suffice_and_each_missing_privilege_is_named(backend: Backend) {
    let (owner, user) = (User::new(backend).await, User::new(backend).await);
    let test = gateway(backend, &owner).await;
    migrate(&test).await;
    grant(&test, &user, "run").await;
    // The live gateway lacks indexes.
    run_doctor(&user.url(&test), &[]).await.only(&["index_missing"]);
    let who = user.quoted();
    for (revoke, named) in [
        (format!("REVOKE UPDATE (staff_id) ON appointments FROM {who}"), "UPDATE (staff_id) on appointments"),
        (format!("REVOKE DELETE ON hostmatch_dead_letters FROM {who}"), "DELETE on hostmatch_dead_letters"),
    ] {
        test.run(&[revoke]).await;
        let report = run_doctor(&user.url(&test), &[]).await;
        report.finds("rights_missing", "user", "hostmatch gateway grants --role run");
        assert!(
            report.finding("rights_missing")["what"].as_str().unwrap().contains(named),
            "{:#}",
            report.json
        );
    }
    drop(test);
}

async fn migrate(test: &TestDatabase) {
    migration::up(test.db.connection()).await.unwrap();
}

on_engines!(a_missing_email_column_is_reported);
async fn a_missing_email_column_is_reported(backend: Backend) {
    let test = create_migrated(backend).await;
    match backend {
        Backend::Sqlite => {
            test.run(&["DROP INDEX staff_company_email_index", "CREATE INDEX s ON staff (company_id)"]).await;
        }
        Backend::MariaDb | Backend::Postgres => {
            test.run(&["CREATE INDEX s ON staff (company_id)"]).await;
        }
    }
    test.run(&["ALTER TABLE staff DROP COLUMN email"]).await;
    let report = examine(&test).await;
    report.finds("staff_email_hidden", "staff.email", "hostmatch gateway grants");
    report.only(&["staff_email_hidden"]);
}

on_engines!(an_unknown_or_wrong_time_zone_is_reported);
async fn an_unknown_or_wrong_time_zone_is_reported(backend: Backend) {
    // MariaDB needs a shape whose `updated_at` is local time: a TIMESTAMP, as in the minimal shape, needs no
    // time zone.
    let shape = match backend {
        Backend::MariaDb => GatewayShape::Production(UpdatedAt::Local),
        _ => GatewayShape::Roadmap,
    };
    let test = TestDatabase::migrated(backend, shape).await;
    let report = run_doctor(&test.url, &[("gateway.timezone", "Europe/Nowhere")]).await;
    report.finds("timezone_unknown", "", "gateway.timezone");
    let test = create_migrated(backend).await;
    let later = match backend {
        Backend::MariaDb => "UTC_TIMESTAMP() + INTERVAL 2 HOUR",
        Backend::Postgres => "(now() AT TIME ZONE 'UTC') + INTERVAL '2 hours'",
        Backend::Sqlite => "datetime('now', '+2 hours')",
    };
    test.run(&[
        "INSERT INTO companies (id, name) VALUES (15, 'Salon')".to_owned(),
        format!("INSERT INTO appointments (id, company_id, updated_at) VALUES (1, 15, {later})"),
    ])
    .await;
    let report = run_doctor(&test.url, &[("gateway.timezone", "+00:00")]).await;
    report.finds("timezone_wrong", "", "gateway.timezone").only(&["timezone_wrong"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_reported() {
    let test = create_migrated(Backend::Postgres).await;
    let name = test.strings("SELECT current_database()::text").await.remove(0);
    test.run(&[format!("ALTER DATABASE {name} SET default_transaction_read_only = on")]).await;
    examine(&test).await.finds("database_read_only", "", "primary").only(&["database_read_only"]);

    let Some(server) = MariaDb::start().await else { return };
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, GatewayShape::Roadmap).await;
    test.run(&["ALTER TABLE calls ENGINE=MyISAM"]).await;
    server.set("max_prepared_stmt_count = 100").await;
    server.set("max_allowed_packet = 1048576").await;
    let report = examine(&test).await;
    report.finds("engine_unsafe", "", "ENGINE=InnoDB");
    report.finds("statements_scarce", "database.max_connections", "max_prepared_stmt_count");
    report.finds("packet_small", "max_allowed_packet", "edge.body_limit");
    report.only(&["engine_unsafe", "statements_scarce", "packet_small"]);
    server.set("read_only = 1").await;
    examine(&test).await.finds("database_read_only", "", "primary");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_clock_is_reported() {
    let Some(server) = MariaDb::start().await else { return };
    let stopped = server.at("2026-03-01T12:00:00Z").await;
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, GatewayShape::Roadmap).await;
    let report = run_doctor(&with_database(&stopped, test.name()), &[]).await;
    report.finds("clock_skew", "clock", "chronyc").only(&["clock_skew"]);
    assert!(report.finding("clock_skew")["what"].as_str().unwrap().contains("behind"), "{:#}", report.json);
}

on_engines!(a_server_with_too_few_connections_is_reported: mariadb, postgres);
async fn a_server_with_too_few_connections_is_reported(backend: Backend) {
    let Some(server) = Server::start(backend, 20).await else { return };
    let test = TestDatabase::migrated_on(server.address(), backend, GatewayShape::Roadmap).await;
    let report = run_doctor(&test.url, &[("database.max_connections", "30")]).await;
    report.finds("connections_scarce", "database.max_connections", "max_connections");
    report.only(&["connections_scarce"]);
}

on_engines!(a_write_that_fails_despite_all_privileges_is_reported);
async fn a_write_that_fails_despite_all_privileges_is_reported(backend: Backend) {
    let test = create_migrated(backend).await;
    let refuses = match backend {
        Backend::Sqlite => vec![
            "CREATE TRIGGER no BEFORE INSERT ON hostmatch_host_locks BEGIN SELECT RAISE(ABORT, 'no'); END"
                .to_owned(),
        ],
        Backend::MariaDb => vec![
            "CREATE TRIGGER no BEFORE INSERT ON hostmatch_host_locks FOR EACH ROW SIGNAL SQLSTATE '45000'"
                .to_owned(),
        ],
        Backend::Postgres => vec![
            "CREATE FUNCTION no() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''no''; END' LANGUAGE plpgsql"
                .to_owned(),
            "CREATE TRIGGER no BEFORE INSERT ON hostmatch_host_locks FOR EACH ROW EXECUTE FUNCTION no()"
                .to_owned(),
        ],
    };
    test.run(&refuses).await;
    let report = examine(&test).await;
    report.finds("database_probe_failed", "", "hostmatch gateway inspect").only(&["database_probe_failed"]);
    assert_eq!(test.count("hostmatch_host_locks").await, 0, "the trial run leaves no row");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_gets_no_findings_about_the_database() {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    installation.set("database.url", "mysql://u:hush@db.invalid/gateway");
    let report = installation.doctor(&["--role", "edge"]);
    assert_eq!((report.code, report.codes()), (Some(0), vec![]), "{:#}", report.json);
    let passed = report.json["passed"].as_array().unwrap();
    assert!(!passed.contains(&"database_unreachable".into()), "{passed:?}");
}
