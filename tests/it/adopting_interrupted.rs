//! `hostmatch migrate` killed at each of its statements can be run again, to the same end.

use std::process::Stdio;
use std::time::Duration;

use crate::adopting::{gateway, same, state};
use crate::program::command;
use crate::support::adopted::Variant;
use crate::support::proxy::Proxy;
use crate::support::toll::{Side, Toll};
use crate::support::{Backend, GatewayShape, TestDatabase, eventually};

/// Runs the program up to its `nth` statement that changes anything, and kills it there. False
/// when it ended before.
async fn killed(test: &TestDatabase, arguments: &[&str], nth: usize, side: Side) -> bool {
    let target = Proxy::target(&test.url);
    let toll = Toll::start(&target, nth, side).await;
    let mut command = command(arguments);
    // In the clear, or the statements could not be seen.
    let clear = if test.backend == Backend::Postgres { "?sslmode=disable" } else { "" };
    command.env("HOSTMATCH_DATABASE__URL", test.url.replace(&target, &toll.address) + clear);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    tokio::select! {
        () = toll.reached() => {
            child.kill().unwrap();
            child.wait().unwrap();
            true
        }
        ended = eventually("it ends or is killed", Duration::from_secs(120), async || child.try_wait().unwrap()) => {
            let output = child.wait_with_output().unwrap();
            assert!(ended.success(), "{}", String::from_utf8_lossy(&output.stderr));
            false
        }
    }
}

/// Kills `up` at each statement; each time goes on with it, or takes it back at once.
async fn up_is_killed(test: &TestDatabase, side: Side, arguments: &[&str]) {
    let connection = test.db.connection();
    let before = state(test).await;
    migration::adopt(connection).await.unwrap();
    let wanted = state(test).await;
    migration::down(connection, None).await.unwrap();
    same("at first", &state(test).await, &before);
    let mut nth = 1;
    while killed(test, arguments, nth, side).await {
        let what = format!("{test:?}: killed {side:?} change {nth}");
        // Every third time it is given up instead.
        if nth % 3 > 0 {
            migration::adopt(connection).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            same(&what, &without_times(state(test).await), &without_times(wanted.clone()));
        }
        migration::down(connection, None).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        same(&what, &state(test).await, &before);
        nth += 1;
    }
    assert!(nth > 10, "it made {nth} changes only");
}

/// When a migration ran, or an adoption was recorded, differs; and so do counters.
fn without_times(mut lines: Vec<String>) -> Vec<String> {
    lines.retain(|line| !line.starts_with("hostmatch_migrations: ") && !line.contains("migration"));
    lines
}

async fn down_is_killed(test: &TestDatabase, side: Side) {
    let connection = test.db.connection();
    let before = state(test).await;
    let mut nth = 1;
    loop {
        migration::adopt(connection).await.unwrap();
        if !killed(test, &["migrate", "down", "--all", "--yes"], nth, side).await {
            break;
        }
        let what = format!("{test:?}: killed {side:?} change {nth}");
        migration::down(connection, None).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        same(&what, &state(test).await, &before);
        nth += 1;
    }
    assert!(nth > 10, "it made {nth} changes only");
    same("at last", &state(test).await, &before);
}

#[tokio::test]
async fn up_adopting_on_mariadb_before_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Living).await;
    up_is_killed(&test, Side::Before, &["migrate", "up", "--adopt"]).await;
}

#[tokio::test]
async fn up_adopting_on_mariadb_after_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Plan).await;
    up_is_killed(&test, Side::After, &["migrate", "up", "--adopt"]).await;
}

#[tokio::test]
async fn up_adopting_on_postgres() {
    let test = gateway(Backend::Postgres, Variant::Living).await;
    up_is_killed(&test, Side::After, &["migrate", "up", "--adopt"]).await;
}

#[tokio::test]
async fn up_on_mariadb_without_anything_to_adopt() {
    for side in [Side::Before, Side::After] {
        let test = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Living).await;
        up_is_killed(&test, side, &["migrate", "up"]).await;
    }
}

#[tokio::test]
async fn down_on_mariadb_before_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Living).await;
    down_is_killed(&test, Side::Before).await;
}

#[tokio::test]
async fn down_on_mariadb_after_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Bare).await;
    down_is_killed(&test, Side::After).await;
}

#[tokio::test]
async fn down_on_mariadb_without_anything_adopted() {
    let test = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Living).await;
    down_is_killed(&test, Side::After).await;
}

#[tokio::test]
async fn an_interrupted_down_is_finished_before_anything_else() {
    let test = gateway(Backend::MariaDb, Variant::Living).await;
    let connection = test.db.connection();
    migration::adopt(connection).await.unwrap();
    assert!(killed(&test, &["migrate", "down", "--all", "--yes"], 17, Side::After).await);
    let error = migration::adopt(connection).await.unwrap_err().to_string();
    assert!(error.contains("migrate down"), "{error}");
    let found = migration::examine(connection).await.unwrap();
    assert!(found.obstacles.iter().any(|one| one.remedy.contains("migrate down")), "{found:#?}");
    migration::down(connection, Some(1)).await.unwrap();
    migration::adopt(connection).await.unwrap();
}
