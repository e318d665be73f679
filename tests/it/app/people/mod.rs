//! Tests decisions of people: mappings, the inbox, repairs.

mod commands;
mod decisions;
mod history;
mod office;
mod races;
mod repairs;
mod tenants;
pub(crate) mod statements;

use std::sync::Arc;

use hostmatch::app::{
    Access, AppContext, Author, Command, Decided, Decision, DecisionBatch, Refusal, Scope, decide_now,
};
use hostmatch::event::{CompanyId, HostId, StaffId};
use hostmatch::store::{Database, GatewaySchema};

use crate::support::{World, settings_of};

/// Returns a new act of Anna, with the name that her audit rows have.
pub(crate) fn anna() -> DecisionBatch {
    DecisionBatch::new(Author::new("cli:anna@office").unwrap())
}

/// Returns the context of use cases for Anna and this company.
pub(crate) async fn context_of(world: &World, company: CompanyId) -> AppContext {
    let config = Arc::new(settings_of(&[("database.url", &world.test.url)]));
    let scope = Scope::of(Some(company));
    AppContext::open(&config, Access::Write, anna().author, scope).await.unwrap()
}

/// Returns the context for all companies, on existing connections.
pub(crate) fn context_on(database: &Database, schema: &GatewaySchema) -> AppContext {
    let config = Arc::new(settings_of(&[]));
    AppContext::of(database.clone(), schema.clone(), config, anna().author, Scope::All)
}

/// Returns the id of member of staff `n`, as this gateway has it.
pub(crate) fn staff_of(world: &World, n: u32) -> StaffId {
    match world.test.shape.has_uuids() {
        true => StaffId::Text(world.staff_id(n).trim_matches('\'').to_owned()),
        false => StaffId::Integer(n.into()),
    }
}

/// Makes a decision of Anna about a host of company 1, which may be new.
pub(crate) async fn decide_as_anna(world: &World, host: i64, command: Command) -> Result<Decided, Refusal> {
    let decision = Decision { allow_unseen_host: true, ..Decision::new(CompanyId(1), HostId(host), command) };
    make_decision(world, decision).await
}

pub(crate) async fn make_decision(world: &World, decision: Decision) -> Result<Decided, Refusal> {
    let schema = world.test.schema().await;
    decide_now(&world.test.db, &schema, &anna(), &[decision]).await.unwrap().remove(0)
}

/// Runs the program on this world's database.
pub(crate) fn run(world: &World, arguments: &[&str]) -> std::process::Output {
    crate::support::program::command(arguments)
        .env("HOSTMATCH_DATABASE__URL", &world.test.url)
        .output()
        .unwrap()
}

/// Returns the program's JSON; `code` is the expected exit code.
pub(crate) fn run_for_json(world: &World, code: i32, arguments: &[&str]) -> serde_json::Value {
    let output = run(world, &[arguments, &["--output", "json", "--actor", "cli:anna@office"]].concat());
    let text = if code == 0 || code == 5 { &output.stdout } else { &output.stderr };
    let described = || format!("{:?} {arguments:?}: {output:?}", world.test);
    assert_eq!(output.status.code(), Some(code), "{}", described());
    serde_json::from_slice(text).unwrap_or_else(|error| panic!("{error}: {}", described()))
}

/// Runs a read-only command, which has no actor, and returns its JSON.
pub(crate) fn read_for_json(world: &World, arguments: &[&str]) -> serde_json::Value {
    let output = run(world, &[arguments, &["--output", "json"]].concat());
    let described = || format!("{:?} {arguments:?}: {output:?}", world.test);
    assert_eq!(output.status.code(), Some(0), "{}", described());
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", described()))
}

/// Returns `event` with this start of the booking.
pub(crate) fn with_start(mut event: serde_json::Value, start: &str) -> serde_json::Value {
    event["calcom_booking"]["start"] = start.into();
    event
}
