//! Tests adoption with only the privileges that `hostmatch gateway grants` prints, and on a read-only server.

use std::time::Duration;

use serde_json::Value;

use crate::install::privileges::{GATEWAY, grant, run};
use crate::migration::adopting::{gateway, same, state};
use crate::support::adopted::{Variant, rows, tables};
use crate::support::mariadb::MariaDb;
use crate::support::program::{command, stderr, stdout};
use crate::support::{
    Backend, GatewayShape, Stack, TestDatabase, User, World, amqp_url, event, eventually, host,
};

const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Creates a gateway whose tables, including ours, belong to a separate user.
async fn owned(backend: Backend, variant: Variant, owner: &User) -> TestDatabase {
    let test = gateway(backend, variant).await;
    if backend == Backend::Postgres {
        let owner = owner.quoted();
        test.run(&[
            "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned(),
            format!("GRANT USAGE ON SCHEMA public TO {owner}"),
        ])
        .await;
        for table in GATEWAY.iter().chain(&["calcom_host_mappings", "calcom_host_mapping_audits"]) {
            test.run(&[format!("ALTER TABLE {table} OWNER TO {owner}")]).await;
        }
    }
    test
}

on_engines!(the_printed_privileges_suffice_to_adopt_use_and_restore_tables: mariadb, postgres);
async fn the_printed_privileges_suffice_to_adopt_use_and_restore_tables(backend: Backend) {
    for variant in [Variant::Live, Variant::Plan] {
        let [owner, migrates, runs] =
            [User::new(backend).await, User::new(backend).await, User::new(backend).await];
        let test = owned(backend, variant, &owner).await;
        let before = state(&test).await;
        let what = format!("{backend:?}/{variant:?}");

        grant(&test, &migrates, "migrate").await;
        for arguments in [
            &["migrate", "up", "--adopt"][..],
            &["migrate", "down", "--all", "--yes"],
            &["migrate", "up", "--adopt"],
        ] {
            let (code, text) = run(&test, &migrates, arguments);
            assert_eq!(code, Some(0), "{what}: {arguments:?}: {text}");
            if arguments.contains(&"down") {
                same(&what, &state(&test).await, &before);
            }
        }

        grant(&test, &runs, "run").await;
        let test = a_worker_runs(World::in_database(test, &[]).await, &runs, &what).await;

        let (code, text) = run(&test, &migrates, &["migrate", "down", "--all", "--yes"]);
        assert_eq!(code, Some(0), "{what}: {text}");
        drop(test);
    }
}

/// Uses an adopted mapping, supersedes another and creates a new one: changes and adds rows, and takes ids
/// from counters, in tables of another user.
async fn a_worker_runs(world: World, user: &User, what: &str) -> TestDatabase {
    let hosts: [(u32, Value); 3] = [
        (9003, host(5001, "J.", "j@elsewhere.example")),
        (9004, host(5002, "Omar Falk", "omar@salon.example")),
        (9005, host(5009, "Jana Ruiz", "jana@salon.example")),
    ];
    for (id, _) in &hosts {
        world.appointment(*id, 901, &format!("bk-{id}")).await;
    }
    let mut stack = Stack::on(world, Some(amqp_url())).await;
    let url = user.url(&stack.world.test);
    stack.set("database.url", &url);
    let mut worker = stack.worker().await;
    let events: Vec<Value> = hosts
        .iter()
        .map(|(id, host)| event(&format!("e-{id}"), &format!("bk-{id}"), 1, host.clone()))
        .collect();
    stack.publish(&events).await;
    eventually("all events are decided", WAIT_TIMEOUT, async || {
        (stack.decided().await >= i64::try_from(events.len()).unwrap()).then_some(())
    })
    .await;
    assert_eq!(worker.stop().await, Some(0), "{what}: {}", worker.stderr());
    let states = stack.world.appointments().await;
    let states: Vec<&str> = hosts.iter().map(|(id, _)| states[id].as_str()).collect();
    assert_eq!(states, ["901/5001", "902/5002", "901/5009"], "{what}: {}", worker.stderr());
    assert_eq!(stack.world.count("calcom_host_mappings").await, 7, "{what}");
    assert_eq!(stack.world.count("calcom_host_mapping_audits WHERE actor = 'worker'").await, 3, "{what}");
    let Stack { world, .. } = stack;
    world.test
}

/// Checks that this user is refused on a read-only server, and that nothing was changed.
async fn assert_refused(test: &TestDatabase, url: &str, why: &str) {
    let before = state(test).await;
    let output = command(&["migrate", "up", "--adopt"]).env("HOSTMATCH_DATABASE__URL", url).output().unwrap();
    let text = format!("{}{}", stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(6), "{test:?}: {text}");
    for words in ["nothing was changed", "does not accept writes", why] {
        assert!(text.contains(words), "{test:?}: {words}: {text}");
    }
    same("read-only", &state(test).await, &before);
}

#[tokio::test]
async fn a_read_only_mariadb_is_refused() {
    let Some(server) = MariaDb::start().await else { return };
    let test = TestDatabase::fresh_on(server.url(), Backend::MariaDb, GatewayShape::Live).await;
    test.run(&tables(Backend::MariaDb, Variant::Live)).await;
    test.run(&rows(Backend::MariaDb, Variant::Live)).await;
    let name = test.name();
    test.run(&[
        "CREATE USER adopts@'127.0.0.1'".to_owned(),
        // The user has all privileges except the one to write on a read-only server.
        format!("GRANT ALL ON {name}.* TO adopts@'127.0.0.1'"),
    ])
    .await;
    server.set("read_only = 1").await;
    assert_refused(&test, &test.url.replace("root@", "adopts@"), "read_only is ON").await;
}

#[tokio::test]
async fn a_read_only_postgresql_is_refused() {
    let test = gateway(Backend::Postgres, Variant::Live).await;
    let name = test.name().to_owned();
    test.run(&[format!("ALTER DATABASE {name} SET default_transaction_read_only = on")]).await;
    assert_refused(&test, &test.url, "default_transaction_read_only is on").await;
}
