//! `hostmatch migrate`, killed at each of its statements, reaches the same result when it is run again.

use std::process::{Child, Stdio};
use std::time::Duration;

use crate::migration::adopting::{gateway, same, state};
use crate::support::address::with_parameter;
use crate::support::adopted::Variant;
use crate::support::breakpoint::{Breakpoint, Side};
use crate::support::program::command;
use crate::support::proxy::Proxy;
use crate::support::{Backend, GatewayShape, TestDatabase, eventually, is_full};

/// Starts the program with a proxy that stops the `nth` statement that changes anything.
pub(crate) async fn start_with_breakpoint(
    test: &TestDatabase,
    arguments: &[&str],
    nth: usize,
    side: Side,
) -> (Breakpoint, Child) {
    let target = Proxy::target(&test.url);
    let breakpoint = Breakpoint::start(&target, nth, side).await;
    let mut command = command(arguments);
    let mut url = test.url.replace(&target, &breakpoint.address);
    if test.backend == Backend::Postgres {
        // Unencrypted, because the proxy must see the statements.
        url = with_parameter(&url, "sslmode=disable");
    }
    command.env("HOSTMATCH_DATABASE__URL", url);
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    (breakpoint, child)
}

/// Runs the program up to its `nth` statement that changes anything, and kills it there. Returns false if
/// it ended before.
async fn killed(test: &TestDatabase, arguments: &[&str], nth: usize, side: Side) -> bool {
    let (breakpoint, mut child) = start_with_breakpoint(test, arguments, nth, side).await;
    tokio::select! {
        () = breakpoint.wait_until_reached() => {
            child.kill().unwrap();
            child.wait().unwrap();
            true
        }
        ended = eventually("the program has ended", Duration::from_secs(120), async || child.try_wait().unwrap()) => {
            let output = child.wait_with_output().unwrap();
            assert!(ended.success(), "{}", String::from_utf8_lossy(&output.stderr));
            false
        }
    }
}

/// The statements at which a normal run kills `up`: every n-th, to resume it, or to undo it immediately.
struct Sample {
    resumed: usize,
    undone: usize,
}

const EVERY_STATEMENT: Sample = Sample { resumed: 1, undone: 5 };
const DENSE: Sample = Sample { resumed: 2, undone: 3 };
const SPARSE: Sample = Sample { resumed: 6, undone: 9 };

/// Kills `up` at each statement and resumes it; then kills it there again and undoes it.
async fn up_is_killed(test: &TestDatabase, side: Side, arguments: &[&str], sample: Sample) {
    let connection = test.db.connection();
    let before = state(test).await;
    // One run down and up first: PostgreSQL writes a re-created check in other words.
    migration::adopt(connection).await.unwrap();
    migration::down(connection, None).await.unwrap();
    migration::adopt(connection).await.unwrap();
    let wanted = state(test).await;
    let recorded = records(test).await;
    assert_eq!(recorded, i64::from(arguments.contains(&"--adopt")), "{test:?}");
    migration::down(connection, None).await.unwrap();
    same("the initial state", &state(test).await, &before);
    let (mut nth, mut tried) = (1, 0);
    'statements: loop {
        for (resumed, every) in [(true, sample.resumed), (false, sample.undone)] {
            if !is_full() && nth % every > 0 {
                continue;
            }
            if !killed(test, arguments, nth, side).await {
                break 'statements;
            }
            tried += 1;
            let what = format!("{test:?}: killed {side:?} change {nth}, resumed: {resumed}");
            if resumed {
                migration::adopt(connection).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                same(&what, &without_times(&state(test).await), &without_times(&wanted));
                assert_eq!(records(test).await, recorded, "{what}: the adoption is recorded once");
            }
            migration::down(connection, None).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            same(&what, &state(test).await, &before);
        }
        nth += 1;
    }
    migration::down(connection, None).await.unwrap();
    same("the final state", &state(test).await, &before);
    assert!(nth > 10 && tried >= 4, "only {nth} changes and {tried} kills");
}

/// Counts the audits of the adoption itself.
async fn records(test: &TestDatabase) -> i64 {
    test.count("calcom_host_mapping_audits WHERE actor = 'migration'").await
}

/// Removes what differs between runs: when a migration ran, times that were filled in for rows without one,
/// and the number and time of the row that records an adoption. (The gateway's rows have times at the start
/// of that year.)
fn without_times(lines: &[String]) -> Vec<String> {
    let is_record =
        |line: &str| line.starts_with("calcom_host_mapping_audits: ") && line.contains("\"migration\"");
    let is_now = |part: &str| part.len() >= 19 && part.starts_with("20") && !part.starts_with("2026-0");
    let one = |line: &String| match line.starts_with("hostmatch_migrations: ") {
        true => line.trim_end_matches(|c: char| !c.is_alphabetic()).to_owned(),
        false => line.split('"').map(|part| if is_now(part) { "now" } else { part }).collect(),
    };
    lines.iter().filter(|line| !is_record(line)).map(one).collect()
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
    assert!(nth > 10, "only {nth} changes");
    same("the final state", &state(test).await, &before);
}

#[tokio::test]
async fn up_adopting_on_mariadb_before_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Live).await;
    up_is_killed(&test, Side::Before, &["migrate", "up", "--adopt"], EVERY_STATEMENT).await;
}

#[tokio::test]
async fn up_adopting_on_mariadb_after_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Plan).await;
    up_is_killed(&test, Side::After, &["migrate", "up", "--adopt"], DENSE).await;
}

#[tokio::test]
async fn up_adopting_little_more_than_rows_on_mariadb() {
    for side in [Side::Before, Side::After] {
        let test = gateway(Backend::MariaDb, Variant::Bare).await;
        up_is_killed(&test, side, &["migrate", "up", "--adopt"], SPARSE).await;
    }
}

#[tokio::test]
async fn up_adopting_on_postgres() {
    let test = gateway(Backend::Postgres, Variant::Live).await;
    up_is_killed(&test, Side::After, &["migrate", "up", "--adopt"], SPARSE).await;
}

#[tokio::test]
async fn up_on_mariadb_without_anything_to_adopt() {
    for side in [Side::Before, Side::After] {
        let test = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Live).await;
        up_is_killed(&test, side, &["migrate", "up"], DENSE).await;
    }
}

#[tokio::test]
async fn down_on_mariadb_before_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Live).await;
    down_is_killed(&test, Side::Before).await;
}

#[tokio::test]
async fn down_on_mariadb_after_a_statement() {
    let test = gateway(Backend::MariaDb, Variant::Bare).await;
    down_is_killed(&test, Side::After).await;
}

#[tokio::test]
async fn down_on_mariadb_without_anything_adopted() {
    let test = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Live).await;
    down_is_killed(&test, Side::After).await;
}

#[tokio::test]
async fn an_interrupted_down_is_finished_before_anything_else() {
    let test = gateway(Backend::MariaDb, Variant::Live).await;
    let connection = test.db.connection();
    migration::adopt(connection).await.unwrap();
    // The program is killed after it has recorded what it is about to undo.
    assert!(killed(&test, &["migrate", "down", "--all", "--yes"], 60, Side::After).await);
    let error = migration::adopt(connection).await.unwrap_err().to_string();
    assert!(error.contains("migrate down"), "{error}");
    let found = migration::examine(connection).await.unwrap();
    assert!(found.obstacles.iter().any(|one| one.remedy.contains("migrate down")), "{found:#?}");
    migration::down(connection, Some(1)).await.unwrap();
    migration::adopt(connection).await.unwrap();
}
