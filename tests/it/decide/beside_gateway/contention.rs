//! A gateway changes its appointments while workers at full load change the same ones: the gateway gets only
//! errors that it would also get alone, and its decisions stay.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::mariadb::MariaDb;
use crate::support::{Backend, GatewayShape, Process, Stack, TestDatabase, UpdatedAt, World, amqp_url};

const COMPANIES: u32 = 3;
const APPOINTMENTS: u32 = 120;
/// For each company, the number of hosts, and of people whom only the gateway assigns.
const HOSTS: u32 = 6;
const OWN: u32 = 3;

/// The behaviour of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    /// It assigns by its own rules, to its own staff.
    Assigns,
    /// It also maps hosts, in tables that its own migrations created and that we adopted, and chooses
    /// people whom we choose too.
    Maps,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_on_mariadb_sees_no_deadlock_and_keeps_its_decisions() {
    // A private server, so that its counters have no waits of other tests.
    let Some(server) = MariaDb::start().await else { return };
    let shape = GatewayShape::Production(UpdatedAt::Instant);
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, shape).await;
    run_concurrently(test, Behaviour::Assigns).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_on_postgresql_sees_no_deadlock_and_keeps_its_decisions() {
    let shape = GatewayShape::Production(UpdatedAt::Instant);
    run_concurrently(TestDatabase::migrated(Backend::Postgres, shape).await, Behaviour::Assigns).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_maps_hosts_itself_on_mariadb_sees_no_deadlock() {
    let Some(server) = MariaDb::start().await else { return };
    let shape = GatewayShape::Production(UpdatedAt::Local);
    let test = TestDatabase::fresh_on(server.url(), Backend::MariaDb, shape).await.with_adopted().await;
    run_concurrently(test, Behaviour::Maps).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_maps_hosts_itself_on_postgresql_sees_no_deadlock() {
    let shape = GatewayShape::Production(UpdatedAt::Local);
    let test = TestDatabase::fresh(Backend::Postgres, shape).await.with_adopted().await;
    run_concurrently(test, Behaviour::Maps).await;
}

async fn run_concurrently(test: TestDatabase, behaviour: Behaviour) {
    let backend = test.backend;
    let mut stack = Stack::on(World::in_database(test, &[]).await, Some(amqp_url())).await;
    stack.set("log.level", "info,hostmatch=debug");
    insert_rows(&stack).await;

    let begun = lock_waits(&stack).await;
    let alone = run_gateway(&stack, 1, behaviour).await;
    let waited_alone = lock_waits(&stack).await;
    assert_undisturbed(&alone);
    assert_eq!(alone["duplicates"], 0, "{alone}");

    let mut workers = [stack.worker().await, stack.worker().await];
    let mut gateway = start(&stack, 2, behaviour);
    let mut published = 0;
    while gateway.is_running() {
        // Just enough that no worker ever waits for events.
        if stack.queue.depth().await.unwrap().ready < 200 {
            published += 1;
            stack.publish(&events(published, behaviour)).await;
        }
    }
    assert!(gateway.wait().await.success(), "{}", gateway.stderr());
    let beside = gateway.report();
    let waited_beside = lock_waits(&stack).await;
    stack.wait_until_decided(usize::try_from(published * APPOINTMENTS).unwrap()).await;
    let mut out = std::io::stderr();
    let waited = [[begun, waited_alone], [waited_alone, waited_beside]];
    for ((what, report), [from, to]) in [("alone", &alone), ("beside us", &beside)].into_iter().zip(waited) {
        let [count, times, mapped, duplicates] =
            ["transactions", "milliseconds", "mapped", "duplicates"].map(|key| &report[key]);
        let waited = match backend {
            Backend::MariaDb => format!("{} lock waits, {} ms", to[0] - from[0], to[1] - from[1]),
            _ => "lock waits are not counted".to_owned(),
        };
        writeln!(
            out,
            "{backend:?}, {behaviour:?}, {what}: {count} transactions, {times} ms; {mapped} mappings, {duplicates} \
             duplicates; {waited}"
        )
        .unwrap();
    }
    writeln!(out, "{} events at the same time", published * APPOINTMENTS).unwrap();
    assert_undisturbed(&beside);

    // One more event about every appointment, when no other program writes.
    published += 1;
    stack.publish(&events(published, behaviour)).await;
    stack.wait_until_decided(usize::try_from(published * APPOINTMENTS).unwrap()).await;
    stack.wait_until_idle().await;
    for worker in &mut workers {
        assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    }
    assert!(stack.is_empty().await, "{:?}", stack.queue.depth().await);
    assert_eq!(stack.world.count("hostmatch_dead_letters").await, 0);
    assert_decisions_kept(&stack, &[&alone, &beside], published, behaviour).await;
    assert_mappings_kept(&stack, &[&alone, &beside], behaviour).await;
}

/// Returns the number of times that a session has waited for a row on this server so far, and the total wait
/// in ms. PostgreSQL does not count such waits.
async fn lock_waits(stack: &Stack) -> [i64; 2] {
    if stack.world.test.backend != Backend::MariaDb {
        return [0; 2];
    }
    let mut counters = [0; 2];
    for (counter, name) in counters.iter_mut().zip(["Innodb_row_lock_waits", "Innodb_row_lock_time"]) {
        let value = format!(
            "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = '{name}'"
        );
        *counter = stack.world.test.strings(&value).await[0].parse().unwrap();
    }
    counters
}

/// Checks that the only error is that a mapping already exists: every transaction that was begun is
/// committed.
fn assert_undisturbed(report: &Value) {
    let errors = [&report["deadlocks"], &report["lock_wait_timeouts"], &report["other_errors"]];
    assert_eq!(errors, [&json!(0), &json!(0), &json!([])], "{report}");
    assert!(report["decisions"].as_object().unwrap().len() > 50, "{report}");
}

/// Checks that each appointment has the gateway's last decision, that we recorded that we kept it, and that
/// it has the host of its newest event, whichever program decided.
async fn assert_decisions_kept(stack: &Stack, reports: &[&Value], last: u32, behaviour: Behaviour) {
    let mut decided: BTreeMap<u32, String> = BTreeMap::new();
    for report in reports {
        let decisions = report["decisions"].as_object().unwrap();
        let person = |staff: &Value| staff.as_str().unwrap().trim().rsplit('-').next().unwrap().to_owned();
        decided.extend(decisions.iter().map(|(id, staff)| (id.parse().unwrap(), person(staff))));
    }
    let states = stack.world.appointments().await;
    let rows = stack.world.rows("hostmatch_assignments", &["appointment_id", "outcome"]).await;
    let outcomes: BTreeMap<&str, &str> = rows.iter().filter_map(|row| row.split_once('|')).collect();
    for id in 1..=APPOINTMENTS {
        let outcome = outcomes[id.to_string().as_str()];
        let (staff, host) = states[&id].split_once('/').unwrap();
        assert_eq!(host, host_of(id, last, behaviour).to_string(), "{id}: {outcome}");
        let person = decided.get(&id).map(|person| person.trim_start_matches('0'));
        match person {
            // A person whom both the gateway and we choose may have been set by us in the meantime.
            Some(person) if number(person) % 100 <= HOSTS && outcome != "kept" => {
                assert!(["assigned", "unchanged"].contains(&outcome), "{id}: {outcome}");
            }
            Some(person) => assert_eq!((staff, outcome), (person, "kept"), "{id}"),
            None => assert!(["assigned", "unchanged"].contains(&outcome), "{id}: {outcome}"),
        }
    }
}

fn number(text: &str) -> u32 {
    text.parse().unwrap()
}

/// Checks that each mapping that the gateway created is there and active, with its audit.
async fn assert_mappings_kept(stack: &Stack, reports: &[&Value], behaviour: Behaviour) {
    let made: i64 = reports.iter().map(|report| report["mapped"].as_i64().unwrap()).sum();
    assert_eq!(made > 0, behaviour == Behaviour::Maps, "{made}");
    let theirs = "SELECT COUNT(*) FROM calcom_host_mapping_audits a JOIN calcom_host_mappings m \
                  ON m.id = a.mapping_id WHERE a.reason = 'the gateway''s own' AND m.is_active";
    assert_eq!(stack.world.test.number(theirs).await, made);
}

async fn run_gateway(stack: &Stack, seed: u32, behaviour: Behaviour) -> Value {
    let mut gateway = start(stack, seed, behaviour);
    assert!(gateway.wait().await.success(), "{}", gateway.stderr());
    gateway.report()
}

/// Examples are built next to the directory of the test binary.
fn start(stack: &Stack, seed: u32, behaviour: Behaviour) -> Process {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples/gateway");
    assert!(program.exists(), "{}: cargo build --example gateway", program.display());
    let mut command = Command::new(program);
    let seed = seed.to_string();
    command.args([&stack.world.test.url, "--seed", &seed]);
    match behaviour {
        Behaviour::Assigns => command.args(["--rounds", "300"]),
        Behaviour::Maps => command.args(["--rounds", "120", "--maps"]),
    };
    Process::start(command, stack.home(), &format!("gateway-{seed}"))
}

async fn insert_rows(stack: &Stack) {
    let world = &stack.world;
    for company in 1..=COMPANIES {
        world.company(company).await;
        for n in 1..=HOSTS {
            let number = company * 100 + n;
            world.staff(number, company, &format!("Host Nr{number}"), &email(number)).await;
        }
        for n in 1..=OWN {
            let number = company * 100 + 50 + n;
            world.staff(number, company, &format!("Own Nr{number}"), "").await;
        }
    }
    let mut insert = "INSERT INTO appointments (id, company_id, calcom_v2_booking_id) VALUES ".to_owned();
    for id in 1..=APPOINTMENTS {
        let comma = if id == 1 { "" } else { ", " };
        write!(insert, "{comma}({id}, {}, 'L{id}')", id % COMPANIES + 1).unwrap();
    }
    world.run(&insert).await;
    if world.test.backend == Backend::Postgres {
        // The rows above were inserted without the id sequence.
        world.run("SELECT setval('appointments_id_seq', 1000000)").await;
    }
}

fn email(staff: u32) -> String {
    format!("host{staff}@salon.example")
}

/// Returns the host of an appointment in this round. Beside a gateway that maps hosts, every round has new
/// hosts of the same people.
fn host_of(id: u32, round: u32, behaviour: Behaviour) -> u32 {
    let person = (id % COMPANIES + 1) * 100 + (id + round) % HOSTS + 1;
    if behaviour == Behaviour::Maps { 1000 * round + person } else { person }
}

/// Returns one event about every appointment, with another host each time.
fn events(round: u32, behaviour: Behaviour) -> Vec<Value> {
    let event = |id: u32| {
        let host = host_of(id, round, behaviour);
        json!({
            "event": "appointment.created", "event_id": format!("r{round}-{id}"),
            "calcom_booking": {
                "uid": format!("L{id}"), "start": "2026-03-02T09:00:00Z",
                "updatedAt": format!("2026-03-01T{:02}:{:02}:{:02}Z", round / 3600, round / 60 % 60, round % 60),
                "hosts": [{ "id": host, "name": "H.", "email": email(host % 1000) }],
            }
        })
    };
    (1..=APPOINTMENTS).map(event).collect()
}
