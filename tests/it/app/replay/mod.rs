//! Tests the replay of dead letters: the predictions of a plan, the effects of a replay, and interruptions.

mod plans;
mod replays;
mod interrupted;
mod lost;
mod walk;
pub(crate) mod statements;

use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::program::{json, stderr, stdout};
use crate::support::{Backend, GatewayShape, Process, Stack, event, host};

/// The time limit of a replay; a passing test never waits this long.
const WAIT_TIMEOUT: Duration = Duration::from_secs(300);

/// Creates an installation with one salon, in which Mara (host 11) works.
async fn create_salon(backend: Backend) -> Stack {
    let stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.world.company(15).await;
    stack.world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    stack
}

/// Returns an event about booking `Bk-{n}`, with Mara.
fn with_mara(n: u32, at: u32) -> Value {
    event(&format!("e-{n}-{at}"), &format!("Bk-{n}"), at, host(11, "Mara Lind", "mara@salon.example"))
}

/// Adds the appointment of `Bk-{n}`.
async fn add_appointment(stack: &Stack, n: u32) {
    stack.world.appointment(n, 15, &format!("Bk-{n}")).await;
}

/// Makes these events become dead letters.
async fn create_dead_letters(stack: &Stack, events: &[Value]) {
    stack.publish(events).await;
    stack.drain().await;
    assert_eq!(usize::try_from(stack.world.count("hostmatch_dead_letters").await).unwrap(), events.len());
}

fn run(stack: &Stack, arguments: &[&str]) -> Output {
    stack.command(&[&["deadletters"], arguments].concat()).output().unwrap()
}

/// Makes a plan; returns its id and its report.
fn plan(stack: &Stack, arguments: &[&str]) -> (String, Value) {
    let output = run(stack, &[&["plan", "--output", "json"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let plan = json(&output);
    (plan["plan"].to_string(), plan["report"].clone())
}

/// Executes a plan at full speed; returns the exit code and the report.
fn replay(stack: &Stack, plan: &str, arguments: &[&str]) -> (Option<i32>, Value) {
    let usual = ["replay", "--plan", plan, "--rate", "1000/s", "--yes", "--output", "json"];
    let output = run(stack, &[&usual, arguments].concat());
    let code = output.status.code();
    assert!(!stdout(&output).is_empty(), "{code:?}: {}", stderr(&output));
    (code, json(&output))
}

/// Returns the id, the state and the number of replays of every letter.
async fn letters(stack: &Stack) -> Vec<String> {
    stack.world.rows("hostmatch_dead_letters", &["id", "state", "replays"]).await
}

/// Counts the letters by state.
async fn states(stack: &Stack) -> Vec<(String, i64)> {
    let mut all: std::collections::BTreeMap<String, i64> = std::collections::BTreeMap::new();
    for state in stack.world.rows("hostmatch_dead_letters", &["state"]).await {
        *all.entry(state).or_default() += 1;
    }
    all.into_iter().collect()
}

fn counts(pairs: &[(&str, i64)]) -> Value {
    pairs
        .iter()
        .map(|(name, count)| ((*name).to_owned(), json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

async fn stop(mut worker: Process) {
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}
