//! The full path of a booking, from every entry point to every outcome, on each combination of database and
//! queue and each shape of gateway. No log contains personal data.

use serde_json::{Value, json};

use super::clocks::Clocks;
use super::scenarios::{self as scenario, CALCOM_SECRET, GARBAGE, Sender};
use crate::support::program::json;
use crate::support::{Backend, GatewayShape, Stack, TestDatabase, UpdatedAt, World, amqp_url};

/// The most verbose level, for libraries too.
const VERBOSE_LEVEL: &str = "trace,lapin=trace,sqlx=trace,sea_orm=trace,hyper=trace,tower_http=trace";

/// Deletes the appointments that exist with adopted tables: at the end only those of these tests are counted.
pub(super) const DELETE_EXISTING_APPOINTMENTS: [&str; 1] = ["DELETE FROM appointments WHERE id > 9000"];

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
/// Uses tables of ours that the gateway's own migrations created.
async fn on_a_production_gateway_with_adopted_tables(backend: Backend) {
    let shape = GatewayShape::Production(UpdatedAt::Local);
    let test = TestDatabase::fresh(backend, shape).await.with_adopted().await;
    test.run(&DELETE_EXISTING_APPOINTMENTS).await;
    run_full_path_on(Stack::on(World::in_database(test, &[]).await, Some(amqp_url())).await, &["all"], None)
        .await;
}

async fn run_full_path(backend: Backend, shape: GatewayShape, roles: &[&str]) {
    run_full_path_on(Stack::new(backend, shape).await, roles, None).await;
}

/// With `clocks`, the database's clocks change after the first booking.
pub(super) async fn run_full_path_on(mut stack: Stack, roles: &[&str], clocks: Option<&Clocks>) {
    let backend = stack.world.test.backend;
    scenario::insert_salon(&stack.world).await;
    std::fs::write(stack.home().join("secrets"), CALCOM_SECRET).unwrap();
    stack.set("edge.allow_unsigned", "true");
    stack.set("edge.calcom_secrets_file", "secrets");
    stack.set("log.level", VERBOSE_LEVEL);

    let (edge, base) = stack.edge(roles[0]).await;
    let mut processes = vec![edge];
    for role in &roles[1..] {
        processes.push(stack.start(&["serve", role]));
    }
    let sender = Sender::new(&stack, base);

    let first_id = scenario::send_roadmap_event(&sender).await;
    stack.wait_until_decided(1).await;
    assert_eq!(stack.world.assigned(1).await, "1/1420209", "{}", name(&stack));
    if let Some(clocks) = clocks {
        clocks.change(&stack.world).await;
    }
    scenario::send_before_appointment(&sender).await;
    let webhook = scenario::send_webhook(&sender).await;
    if backend != Backend::Sqlite {
        scenario::publish_by_amqp(&sender).await;
    }
    scenario::publish_from_file(&sender).await;
    scenario::send_name_only(&sender).await;
    let missing = scenario::send_without_appointment(&sender).await;
    let garbage_id = scenario::send_garbage(&sender).await;
    scenario::send_foreign_tenant(&sender).await;
    scenario::send_without_host(&sender).await;
    scenario::send_repeats(&sender).await;
    scenario::send_ping(&sender).await;

    let mut outcomes = vec![
        format!("{first_id}|assigned|-"),
        format!("{webhook}|assigned|-"),
        "file-1|assigned|-".into(),
        "late-1|assigned|-".into(),
        "name-1|needs_review|below_threshold".into(),
        "hostless-1|no_host|empty at /calcom_booking/hosts".into(),
        "missing-1|dead_letter|appointment_not_found".into(),
        format!("{garbage_id}|dead_letter|malformed"),
        "tenant-1|dead_letter|tenant_mismatch".into(),
    ];
    if backend != Backend::Sqlite {
        outcomes.push("amqp-1|assigned|-".into());
    }
    // The repeats may have been decided in one batch or in three.
    let is_the_repeat = |row: &String| row.starts_with("twice-1|");
    outcomes.sort();
    stack.wait_until_decided(outcomes.len() + 1).await;
    let mut rows = stack.world.rows("hostmatch_events", &["event_id", "outcome", "reason"]).await;
    let repeat: Vec<String> = rows.extract_if(.., |row| is_the_repeat(row)).collect();
    assert_eq!(rows, outcomes, "{}", name(&stack));
    assert!(repeat == ["twice-1|assigned|-"] || repeat == ["twice-1|unchanged|-"], "{repeat:?}");

    assert_publishers(&stack, &webhook, &garbage_id);

    for process in &mut processes {
        assert_eq!(process.stop().await, Some(0), "{}", process.stderr());
    }
    assert!(stack.is_empty().await, "{}", name(&stack));
    assert_assignments(&stack).await;
    assert_mappings(&stack).await;
    assert_dead_letters(&stack, &missing).await;
    if let Some(clocks) = clocks {
        clocks.assert_local_times(&stack.world).await;
    }
    assert_no_personal_data(&stack, &sender);
}

/// Checks that the sender of every event is recorded, for every entry point, for decided events and for
/// rejected ones.
fn assert_publishers(stack: &Stack, webhook: &str, garbage_id: &str) {
    let events = json(&stack.command(&["events", "list", "--output", "json"]).output().unwrap());
    let all = [&events["rejected"], &events["events"]].map(|rows| rows.as_array().unwrap().clone()).concat();
    let publisher = |id: &str| all.iter().find(|row| row["id"] == id).map(|row| row["publisher"].clone());
    for (id, expected) in [
        ("late-1", "gateway"),
        ("tenant-1", "gateway"),
        ("file-1", "hostmatch publish"),
        (webhook, "calcom"),
        (garbage_id, "calcom"),
    ] {
        assert_eq!(publisher(id), Some(expected.into()), "{}: {id} {events}", name(stack));
    }
    let amqp = (stack.world.test.backend != Backend::Sqlite).then(|| "salon app".into());
    assert_eq!(publisher("amqp-1"), amqp, "{}", name(stack));
}

fn name(stack: &Stack) -> String {
    format!("{:?}", stack.world.test)
}

async fn assert_assignments(stack: &Stack) {
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

async fn assert_mappings(stack: &Stack) {
    let world = &stack.world;
    let columns = ["company_id", "calcom_host_id", "staff_id", "mapping_source", "confidence_score"];
    let rows = world.rows("calcom_host_mappings WHERE is_active AND company_id = 1", &columns).await;
    assert_eq!(rows, ["1|1420209|1|auto_email|95", "1|2000002|2|auto_email|95"], "{}", name(stack));
    let columns = ["company_id", "calcom_host_id", "staff_id", "action", "actor"];
    let rows = world.rows("calcom_host_mapping_audits WHERE company_id = 1", &columns).await;
    assert_eq!(rows, ["1|1420209|1|auto_matched|worker", "1|2000002|2|auto_matched|worker"]);

    let rows = world.rows("hostmatch_inbox", &["company_id", "host_id", "kind", "state"]).await;
    assert_eq!(rows, ["1|3000003|below_threshold|open"], "{}", name(stack));
    let suggestions = world.test.strings("SELECT suggestions FROM hostmatch_inbox").await;
    assert!(suggestions[0].contains(world.staff_id(3).trim_matches('\'')), "{suggestions:?}");
}

async fn assert_dead_letters(stack: &Stack, missing: &Value) {
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
    let (missing_letter, malformed, foreign) =
        (of("appointment_not_found"), of("malformed"), of("tenant_mismatch"));

    assert_eq!(missing_letter.attempts, 4, "there must be a first attempt, and one after each delay");
    let history: Vec<Value> = serde_json::from_str(&missing_letter.history).unwrap();
    assert_eq!(history.len(), 4);
    assert!(history.iter().all(|attempt| attempt["reason"] == "appointment_not_found"), "{history:?}");
    let times: Vec<i64> = history.iter().map(|attempt| attempt["at_ms"].as_i64().unwrap()).collect();
    assert!(
        times.is_sorted() && times[3] - times[0] >= 2100,
        "the attempts must be as far apart as the delays: {times:?}"
    );
    assert_eq!(
        missing_letter.body,
        missing.to_string().as_bytes(),
        "the letter must have the original bytes"
    );
    let headers: Value = serde_json::from_str(&missing_letter.headers).unwrap();
    assert_eq!(headers["content_type"], "application/json");
    assert_eq!(headers["message_id"], "missing-1");
    let trace = &headers["headers"]["traceparent"];
    assert_eq!(*trace, json!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    assert_eq!(
        (missing_letter.event_id.as_deref(), missing_letter.booking_ref.as_deref()),
        (Some("missing-1"), Some("uid-missing"))
    );
    assert_eq!(missing_letter.event_type.as_deref(), Some("appointment.created"));

    assert_eq!((malformed.attempts, malformed.body.as_slice()), (1, GARBAGE));
    assert_eq!((foreign.attempts, foreign.company_id.map(|id| id.0)), (1, Some(2)));
}

/// Checks that the output of the processes has reasons, but no personal data of events or staff.
fn assert_no_personal_data(stack: &Stack, sender: &Sender<'_>) {
    let written = stack.all_output();
    assert!(written.contains("\"TRACE\"") || written.contains("\"DEBUG\""), "the log must be verbose");
    assert!(written.contains("appointment_not_found"), "the log must have the reason of the failure");
    let mut values = sender.personal_data();
    assert!(values.len() > 15, "{values:?}");
    let staff = ["Frida", "Spitz", "Nadja", "Okafor", "Kammerlander", "salon.example", "guests.example"];
    values.extend(staff.iter().chain(&["Salon 1", "Wanda", CALCOM_SECRET]).map(|text| (*text).to_owned()));
    let folded = written.to_lowercase();
    let leaked: Vec<_> = values.iter().filter(|text| folded.contains(&text.trim().to_lowercase())).collect();
    let lines = || written.lines().filter(|line| leaked.iter().any(|text| line.contains(text.trim())));
    assert!(leaked.is_empty(), "{}: {leaked:?}: {:?}", name(stack), lines().take(3).collect::<Vec<_>>());
}
