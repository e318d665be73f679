//! The full path of a booking, from every entry point to every outcome, on each combination of database and
//! queue and each shape of gateway. No log contains personal data.

use serde_json::{Value, json};

use super::clocks::Clocks;
use super::scenarios::{self as scenario, CALCOM_SECRET, GARBAGE, Sender};
use crate::support::program::json;
use crate::support::{Backend, GatewayShape, Stack, TestDatabase, UpdatedAt, World, amqp_url};

/// The most verbose level, for libraries too.
const VERBOSE_LEVEL: &str = "trace,lapin=trace,sqlx=trace,sea_orm=trace,hyper=trace,tower_http=trace";

/// Only this suite's appointments are counted at the end.
pub(super) const WITHOUT_THEIR_APPOINTMENTS: [&str; 1] = ["DELETE FROM appointments WHERE id > 9000"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite_with_the_embedded_queue() {
    run_full_path(Backend::Sqlite, GatewayShape::Roadmap, &["all"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_with_rabbitmq() {
    run_full_path(Backend::MariaDb, GatewayShape::Roadmap, &["edge", "worker"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_with_rabbitmq() {
    run_full_path(Backend::Postgres, GatewayShape::Roadmap, &["edge", "worker"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_live_gateway_on_sqlite_with_the_embedded_queue_between_two_processes() {
    run_full_path(Backend::Sqlite, GatewayShape::Live, &["edge", "worker"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_live_gateway_on_mariadb_with_rabbitmq() {
    run_full_path(Backend::MariaDb, GatewayShape::Live, &["all"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_live_gateway_on_postgresql_with_rabbitmq() {
    run_full_path(Backend::Postgres, GatewayShape::Live, &["all"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_production_gateway_on_mariadb_with_rabbitmq() {
    run_full_path(Backend::MariaDb, GatewayShape::Production(UpdatedAt::Instant), &["edge", "worker"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_production_gateway_on_postgresql_with_rabbitmq() {
    run_full_path(Backend::Postgres, GatewayShape::Production(UpdatedAt::Local), &["all"]).await;
}

on_engines!(on_a_production_gateway_with_adopted_tables: mariadb, postgres);
/// Runs beside tables of ours that the gateway's own migrations created.
async fn on_a_production_gateway_with_adopted_tables(backend: Backend) {
    let shape = GatewayShape::Production(UpdatedAt::Local);
    let test = TestDatabase::fresh(backend, shape).await.with_adopted().await;
    test.run(&WITHOUT_THEIR_APPOINTMENTS).await;
    run_full_path_on(Stack::on(World::in_database(test, &[]).await, Some(amqp_url())).await, &["all"], None)
        .await;
}

async fn run_full_path(backend: Backend, shape: GatewayShape, roles: &[&str]) {
    run_full_path_on(Stack::new(backend, shape).await, roles, None).await;
}

/// With `clocks`, the database's clocks change after the first booking.
pub(super) async fn run_full_path_on(mut stack: Stack, roles: &[&str], clocks: Option<&Clocks>) {
    let backend = stack.world.test.backend;
    scenario::open_salon(&stack.world).await;
    std::fs::write(stack.home().join("secrets"), CALCOM_SECRET).unwrap();
    stack.set("edge.allow_unsigned", "true");
    stack.set("edge.calcom_secrets_file", "secrets");
    stack.set("log.level", VERBOSE_LEVEL);

    let (edge, base) = stack.edge(roles[0]).await;
    let mut processes = vec![edge];
    for role in &roles[1..] {
        processes.push(stack.start(&["serve", role]));
    }
    let to = Sender::new(&stack, base);

    let roadmap = scenario::roadmap(&to).await;
    stack.until_decided(1).await;
    assert_eq!(stack.world.assigned(1).await, "1/1420209", "{}", name(&stack));
    if let Some(clocks) = clocks {
        clocks.change(&stack.world).await;
    }
    scenario::late_appointment(&to).await;
    let webhook = scenario::signed_webhook(&to).await;
    if backend != Backend::Sqlite {
        scenario::plain_amqp(&to).await;
    }
    scenario::from_file(&to).await;
    scenario::name_only(&to).await;
    let missing = scenario::missing_appointment(&to).await;
    let garbage = scenario::garbage(&to).await;
    scenario::foreign_tenant(&to).await;
    scenario::no_host(&to).await;
    scenario::send_repeats(&to).await;
    scenario::send_ping(&to).await;

    let mut outcomes = vec![
        format!("{roadmap}|assigned|-"),
        format!("{webhook}|assigned|-"),
        "file-1|assigned|-".into(),
        "late-1|assigned|-".into(),
        "name-1|needs_review|below_threshold".into(),
        "hostless-1|no_host|-".into(),
        "missing-1|dead_letter|appointment_not_found".into(),
        format!("{garbage}|dead_letter|malformed"),
        "tenant-1|dead_letter|tenant_mismatch".into(),
    ];
    if backend != Backend::Sqlite {
        outcomes.push("amqp-1|assigned|-".into());
    }
    // The repeats may have been decided in one batch or in three.
    let is_the_repeat = |row: &String| row.starts_with("twice-1|");
    outcomes.sort();
    stack.until_decided(outcomes.len() + 1).await;
    let mut rows = stack.world.rows("hostmatch_events", &["event_id", "outcome", "reason"]).await;
    let repeat: Vec<String> = rows.extract_if(.., |row| is_the_repeat(row)).collect();
    assert_eq!(rows, outcomes, "{}", name(&stack));
    assert!(repeat == ["twice-1|assigned|-"] || repeat == ["twice-1|unchanged|-"], "{repeat:?}");

    publishers(&stack, &webhook, &garbage);

    for process in &mut processes {
        assert_eq!(process.stop().await, Some(0), "{}", process.stderr());
    }
    assert!(stack.is_empty().await, "{}", name(&stack));
    assignments(&stack).await;
    mappings(&stack).await;
    dead_letters(&stack, &missing).await;
    if let Some(clocks) = clocks {
        clocks.were_right(&stack.world).await;
    }
    assert_no_personal_data(&stack, &to);
}

/// Checks that the sender of every event is recorded, for every entry point, for decided events and for
/// rejected ones.
fn publishers(stack: &Stack, webhook: &str, garbage: &str) {
    let events = json(&stack.command(&["events", "list", "--output", "json"]).output().unwrap());
    let all = [&events["rejected"], &events["events"]].map(|rows| rows.as_array().unwrap().clone()).concat();
    let publisher = |id: &str| all.iter().find(|row| row["id"] == id).map(|row| row["publisher"].clone());
    for (id, expected) in [
        ("late-1", "gateway"),
        ("tenant-1", "gateway"),
        ("file-1", "hostmatch publish"),
        (webhook, "calcom"),
        (garbage, "calcom"),
    ] {
        assert_eq!(publisher(id), Some(expected.into()), "{}: {id} {events}", name(stack));
    }
    let amqp = (stack.world.test.backend != Backend::Sqlite).then(|| "salon app".into());
    assert_eq!(publisher("amqp-1"), amqp, "{}", name(stack));
}

fn name(stack: &Stack) -> String {
    format!("{:?}", stack.world.test)
}

async fn assignments(stack: &Stack) {
    let amqp = if stack.world.test.backend == Backend::Sqlite { "-/-" } else { "1/1420209" };
    let expected = [
        (1, "1/1420209"),
        (2, "2/2000002"),
        (3, amqp),
        (4, "1/1420209"),
        (5, "-/3000003"),
        (6, "1/1420209"),
        (7, "-/-"),
        (8, "-/-"),
        (9, "2/2000002"),
    ];
    let expected = expected.map(|(id, state)| (id, state.to_owned()));
    assert_eq!(stack.world.appointments().await, expected.into(), "{}", name(stack));

    let columns = ["appointment_id", "staff_id", "strategy", "confidence", "host_source", "outcome"];
    let rows = stack.world.rows("hostmatch_assignments", &columns).await;
    let mut expected = vec![
        "1|1|email|95|hosts|assigned",
        "2|2|email|95|organizer|assigned",
        "3|1|existing|95|hosts|assigned",
        "4|1|existing|95|hosts|assigned",
        "5|-|-|-|hosts|needs_review",
        "6|1|existing|95|hosts|assigned",
        "8|-|-|-|-|no_host",
        "9|2|existing|95|hosts|assigned",
    ];
    expected.retain(|row| !row.starts_with("3|") || stack.world.test.backend != Backend::Sqlite);
    assert_eq!(rows, expected, "{}", name(stack));
}

async fn mappings(stack: &Stack) {
    let world = &stack.world;
    let columns = ["company_id", "calcom_host_id", "staff_id", "mapping_source", "confidence_score"];
    let rows = world.rows("calcom_host_mappings WHERE is_active AND company_id = 1", &columns).await;
    assert_eq!(rows, ["1|1420209|1|auto_email|95", "1|2000002|2|auto_email|95"], "{}", name(stack));
    let columns = ["company_id", "calcom_host_id", "staff_id", "action", "actor"];
    let rows = world.rows("calcom_host_mapping_audits WHERE company_id = 1", &columns).await;
    assert_eq!(rows, ["1|1420209|1|auto_matched|worker", "1|2000002|2|auto_matched|worker"]);

    let rows = world.rows("hostmatch_inbox", &["company_id", "host_id", "kind", "state"]).await;
    assert_eq!(rows, ["1|3000003|below_threshold|open"], "{}", name(stack));
    let suggestions = world.test.texts("SELECT suggestions FROM hostmatch_inbox").await;
    assert!(suggestions[0].contains(world.staff_id(3).trim_matches('\'')), "{suggestions:?}");
}

async fn dead_letters(stack: &Stack, missing: &Value) {
    let letters = hostmatch::store::dead_letters(
        &stack.world.test.db,
        &hostmatch::store::Scope::All,
        &Default::default(),
        100,
    )
    .await;
    let letters: Vec<_> = letters.unwrap();
    let of = |reason: &str| {
        let mut found = letters.iter().filter(|letter| letter.reason == reason);
        let letter = found.next().unwrap_or_else(|| panic!("{}: no dead letter {reason}", name(stack)));
        assert!(found.next().is_none(), "{}: two dead letters {reason}", name(stack));
        letter
    };
    assert_eq!(letters.len(), 3, "{}", name(stack));
    let (never, garbage, foreign) = (of("appointment_not_found"), of("malformed"), of("tenant_mismatch"));

    assert_eq!(never.attempts, 4, "the first attempt, and one after each delay");
    let history: Vec<Value> = serde_json::from_str(&never.history).unwrap();
    assert_eq!(history.len(), 4);
    assert!(history.iter().all(|attempt| attempt["reason"] == "appointment_not_found"), "{history:?}");
    let times: Vec<i64> = history.iter().map(|attempt| attempt["at_ms"].as_i64().unwrap()).collect();
    assert!(times.is_sorted() && times[3] - times[0] >= 2100, "the delays were kept: {times:?}");
    assert_eq!(never.body, missing.to_string().as_bytes(), "the original bytes");
    let headers: Value = serde_json::from_str(&never.headers).unwrap();
    assert_eq!(headers["content_type"], "application/json");
    assert_eq!(headers["message_id"], "missing-1");
    let trace = &headers["headers"]["traceparent"];
    assert_eq!(*trace, json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    assert_eq!(
        (never.event_id.as_deref(), never.booking_ref.as_deref()),
        (Some("missing-1"), Some("uid-missing"))
    );
    assert_eq!(never.event_type.as_deref(), Some("appointment.created"));

    assert_eq!((garbage.attempts, garbage.body.as_slice()), (1, GARBAGE));
    assert_eq!((foreign.attempts, foreign.company_id.map(|id| id.0)), (1, Some(2)));
}

/// Checks that the output of the processes has no data of events or staff, but has the ids.
fn assert_no_personal_data(stack: &Stack, to: &Sender<'_>) {
    let written = stack.written();
    assert!(written.contains("\"TRACE\"") || written.contains("\"DEBUG\""), "the log is verbose");
    assert!(written.contains("appointment_not_found"), "the log has the reason of the failure");
    let mut personal = to.personal();
    assert!(personal.len() > 15, "{personal:?}");
    let staff = ["Frida", "Spitz", "Nadja", "Okafor", "Kammerlander", "salon.example", "guests.example"];
    personal.extend(staff.iter().chain(&["Salon 1", "Wanda", CALCOM_SECRET]).map(|text| (*text).to_owned()));
    let folded = written.to_lowercase();
    let leaked: Vec<_> =
        personal.iter().filter(|text| folded.contains(&text.trim().to_lowercase())).collect();
    let lines = || written.lines().filter(|line| leaked.iter().any(|text| line.contains(text.trim())));
    assert!(leaked.is_empty(), "{}: {leaked:?}: {:?}", name(stack), lines().take(3).collect::<Vec<_>>());
}
