//! Tables of a build from before the first release, which had other names: refused and left unchanged.

use crate::migration::{dump, same};
use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, TestDatabase};

/// A few of its 22 migrations are enough.
const MIGRATIONS: [&str; 3] =
    ["m0001_calcom_host_mappings", "m0005_unmatched_hosts", "m0022_hostmatch_workers"];

/// Creates a database as such a build left it.
async fn migrated_by_it(backend: Backend) -> TestDatabase {
    let test = TestDatabase::fresh(backend, GatewayShape::Roadmap).await;
    test.run(&[
        "CREATE TABLE hostmatch_migrations (version VARCHAR(255) NOT NULL PRIMARY KEY, applied_at BIGINT NOT NULL)",
        "CREATE TABLE calcom_host_mappings (id BIGINT NOT NULL PRIMARY KEY, company_id BIGINT NOT NULL)",
        "CREATE TABLE unmatched_hosts (company_id BIGINT NOT NULL, host_id INT NOT NULL)",
        "INSERT INTO unmatched_hosts VALUES (15, 1420)",
    ])
    .await;
    let note = |name| format!("INSERT INTO hostmatch_migrations VALUES ('{name}', 1)");
    test.run(&MIGRATIONS.map(note)).await;
    test
}

on_engines!(a_database_from_before_the_baseline_is_refused_and_left_as_it_is);
async fn a_database_from_before_the_baseline_is_refused_and_left_as_it_is(backend: Backend) {
    let test = migrated_by_it(backend).await;
    let before = dump(&test).await;
    for (arguments, code) in [
        (&["migrate", "status"][..], 6),
        (&["migrate", "sql"], 6),
        (&["migrate", "up"], 6),
        (&["migrate", "up", "--adopt"], 6),
        (&["migrate", "down", "--all", "--yes"], 6),
        (&["serve", "worker"], 1),
        (&["mappings", "list"], 1),
    ] {
        let output = command(arguments).env("HOSTMATCH_DATABASE__URL", &test.url).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{backend:?} {arguments:?}: {text}");
        for what in
            ["m0001_calcom_host_mappings to m0022_hostmatch_workers", "migrate down --all", "migrate up"]
        {
            assert!(text.contains(what), "{backend:?} {arguments:?}: {what}: {text}");
        }
    }
    let doctor = command(&["doctor", "--role", "worker", "--output", "json"])
        .env("HOSTMATCH_DATABASE__URL", &test.url)
        .output()
        .unwrap();
    let found = json(&doctor);
    let blocked =
        found["findings"].as_array().unwrap().iter().find(|one| one["code"] == "migrations_blocked");
    let blocked = blocked.unwrap_or_else(|| panic!("{backend:?}: {}", stdout(&doctor))).to_string();
    assert!(blocked.contains("before its first release"), "{blocked}");
    same(&test, dump(&test).await, &before);
}

/// On MySQL the program records what it is about to do before it records the first migration.
#[tokio::test]
async fn an_interrupted_migration_from_before_the_baseline_is_refused_too() {
    let test = migrated_by_it(Backend::MariaDb).await;
    test.run(&[
        "DELETE FROM hostmatch_migrations",
        "CREATE TABLE hostmatch_journal (seq BIGINT NOT NULL PRIMARY KEY, migration VARCHAR(255) NOT NULL, \
         state VARCHAR(16) NOT NULL, is_kept BOOLEAN NOT NULL, to_make LONGTEXT, to_undo LONGTEXT, to_probe LONGTEXT)",
        "INSERT INTO hostmatch_journal VALUES (4000, 'm0005_unmatched_hosts', 'made', FALSE, NULL, NULL, NULL)",
    ])
    .await;
    let before = dump(&test).await;
    for arguments in [&["migrate", "up"][..], &["migrate", "down", "--all", "--yes"]] {
        let output = command(arguments).env("HOSTMATCH_DATABASE__URL", &test.url).output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(6), "{arguments:?}: {text}");
        assert!(text.contains("m0005_unmatched_hosts") && text.contains("migrate down --all"), "{text}");
    }
    same(&test, dump(&test).await, &before);
}
