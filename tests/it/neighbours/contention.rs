//! A gateway works on its appointments while workers at full load work on the same ones: it sees no
//! error that it would not see alone, and what it decides stays.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Backend, GatewayShape, Process, Stack, UpdatedAt};

const COMPANIES: u32 = 3;
const APPOINTMENTS: u32 = 120;
/// Of each company: hosts, and people to whom only the gateway gives something to do.
const HOSTS: u32 = 6;
const OWN: u32 = 3;
const ROUNDS: &str = "300";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_on_mariadb_sees_no_deadlock_and_keeps_its_decisions() {
    beside_each_other(Backend::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_on_postgresql_sees_no_deadlock_and_keeps_its_decisions() {
    beside_each_other(Backend::Postgres).await;
}

async fn beside_each_other(backend: Backend) {
    let mut stack = Stack::new(backend, GatewayShape::Production(UpdatedAt::Instant)).await;
    stack.set("log.level", "info,hostmatch=debug");
    open(&stack).await;

    let alone = gateway(&stack, 1).await;
    undisturbed(&alone);

    let mut workers = [stack.worker().await, stack.worker().await];
    let mut gateway = start(&stack, 2);
    let mut published = 0;
    while gateway.is_running() {
        // Enough that no worker ever waits for work, and no more.
        if stack.queue.depth().await.unwrap().ready < 200 {
            published += 1;
            stack.publish(&events(published)).await;
        }
    }
    assert!(gateway.end().await.success(), "{}", gateway.stderr());
    let beside = gateway.report();
    stack.until_decided(usize::try_from(published * APPOINTMENTS).unwrap()).await;
    let mut out = std::io::stderr();
    for (what, report) in [("alone", &alone), ("beside us", &beside)] {
        let (count, times) = (&report["transactions"], &report["milliseconds"]);
        writeln!(out, "{backend:?}, {what}: {count} transactions, {times} ms").unwrap();
    }
    writeln!(out, "{} events meanwhile", published * APPOINTMENTS).unwrap();
    undisturbed(&beside);

    // Once more about every appointment, now that nobody else writes.
    published += 1;
    stack.publish(&events(published)).await;
    stack.until_decided(usize::try_from(published * APPOINTMENTS).unwrap()).await;
    stack.until_idle().await;
    for worker in &mut workers {
        assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    }
    assert!(stack.is_empty().await, "{:?}", stack.queue.depth().await);
    assert_eq!(stack.world.count("dead_letters").await, 0);
    decisions_stay(&stack, &[&alone, &beside]).await;
}

/// No error at all: what is committed is all that was begun.
fn undisturbed(report: &Value) {
    let fared = [&report["deadlocks"], &report["lock_wait_timeouts"], &report["other_errors"]];
    assert_eq!(fared, [&json!(0), &json!(0), &json!([])], "{report}");
    assert!(report["decisions"].as_object().unwrap().len() > 50, "{report}");
}

/// The gateway's last word on each appointment is what stands there, and ours is that we kept it.
async fn decisions_stay(stack: &Stack, reports: &[&Value]) {
    let mut decided: BTreeMap<String, String> = BTreeMap::new();
    for report in reports {
        let decisions = report["decisions"].as_object().unwrap();
        let person = |staff: &Value| staff.as_str().unwrap().trim().to_owned();
        decided.extend(decisions.iter().map(|(id, staff)| (id.clone(), person(staff))));
    }
    let rows = stack.world.rows("appointments", &["id", "staff_id"]).await;
    let staff: BTreeMap<&str, &str> = rows.iter().filter_map(|row| row.split_once('|')).collect();
    let rows = stack.world.rows("appointment_assignments", &["appointment_id", "outcome"]).await;
    let outcomes: BTreeMap<&str, &str> = rows.iter().filter_map(|row| row.split_once('|')).collect();
    for id in (1..=APPOINTMENTS).map(|id| id.to_string()) {
        match decided.get(&id) {
            Some(person) => {
                assert!(
                    person.ends_with(staff[id.as_str()].trim()),
                    "{id}: {person}, {}",
                    staff[id.as_str()]
                );
                assert_eq!(outcomes[id.as_str()], "kept", "{id}");
            }
            None => assert!(["assigned", "unchanged"].contains(&outcomes[id.as_str()]), "{id}"),
        }
    }
}

async fn gateway(stack: &Stack, seed: u32) -> Value {
    let mut gateway = start(stack, seed);
    assert!(gateway.end().await.success(), "{}", gateway.stderr());
    gateway.report()
}

/// Examples are built beside the directory of the test's own binary.
fn start(stack: &Stack, seed: u32) -> Process {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples/gateway");
    assert!(program.exists(), "{}: cargo build --example gateway", program.display());
    let mut command = Command::new(program);
    let seed = seed.to_string();
    command.args([&stack.world.test.url, "--seed", &seed, "--rounds", ROUNDS]);
    Process::start(command, stack.home(), &format!("gateway-{seed}"))
}

async fn open(stack: &Stack) {
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
        // The rows above did not ask the counter for their ids.
        world.run("SELECT setval('appointments_id_seq', 1000000)").await;
    }
}

fn email(staff: u32) -> String {
    format!("host{staff}@salon.example")
}

/// One event about every appointment, with another host each time.
fn events(round: u32) -> Vec<Value> {
    let event = |id: u32| {
        let host = (id % COMPANIES + 1) * 100 + (id + round) % HOSTS + 1;
        json!({
            "event": "appointment.created", "event_id": format!("r{round}-{id}"),
            "calcom_booking": {
                "uid": format!("L{id}"), "start": "2026-03-02T09:00:00Z",
                "updatedAt": format!("2026-03-01T{:02}:{:02}:{:02}Z", round / 3600, round / 60 % 60, round % 60),
                "hosts": [{ "id": host, "name": "H.", "email": email(host) }],
            }
        })
    };
    (1..=APPOINTMENTS).map(event).collect()
}
