//! Tests `hostmatch status`: its output for a real installation, with and without faults.

use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::program::{stderr, stdout};
use crate::support::proxy::{Mode, Proxy};
use crate::support::{Backend, GatewayShape, Stack, World, amqp_url, event, eventually, host};

const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

fn status(stack: &Stack, arguments: &[&str]) -> Output {
    stack.command(&[&["status"], arguments].concat()).output().unwrap()
}

/// Returns the JSON and the exit code of `hostmatch status`.
fn status_json(stack: &Stack, arguments: &[&str]) -> (Value, i32) {
    let output = status(stack, &[&["--output", "json"], arguments].concat());
    let code = output.status.code().unwrap();
    let text = stdout(&output);
    let reported: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}{}", stderr(&output)));
    (reported["status"].clone(), code)
}

fn codes(reported: &Value) -> Vec<&str> {
    reported["reasons"].as_array().unwrap().iter().map(|reason| reason["code"].as_str().unwrap()).collect()
}

/// Returns an event about a booking that starts in this many hours.
fn event_in_hours(id: &str, reference: &str, hours: i64, hosts: Value) -> Value {
    let start = OffsetDateTime::now_utc() + time::Duration::hours(hours);
    let mut event = event(id, reference, 1, hosts);
    event["calcom_booking"]["start"] = json!(start.format(&Rfc3339).unwrap());
    event
}

async fn create_salon(backend: Backend) -> Stack {
    let shape = if backend == Backend::Postgres { GatewayShape::Live } else { GatewayShape::Roadmap };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    for id in 1..=6 {
        world.appointment(id, if id == 6 { 16 } else { 15 }, &format!("Bk-{id}")).await;
    }
    Stack::on(world, (backend != Backend::Sqlite).then(amqp_url)).await
}

fn mixed_events() -> Vec<Value> {
    let mara = host(11, "Mara Lind", "mara@salon.example");
    vec![
        event_in_hours("e-1", "Bk-1", 2, mara),
        event_in_hours("e-2", "Bk-2", 3, host(12, "Mara Lind", "")),
        event_in_hours("e-3", "Bk-3", 50, host(13, "Nobody", "")),
        event_in_hours("e-4", "Bk-4", 500, json!([])),
        event_in_hours("e-6", "Bk-6", 5, host(14, "Nobody", "")),
        json!({ "event": "appointment.created", "event_id": "e-7", "calcom_booking": {} }),
    ]
}

on_engines!(status_shows_decisions_backlog_and_workers);
async fn status_shows_decisions_backlog_and_workers(backend: Backend) {
    let stack = create_salon(backend).await;
    let mut worker = stack.worker().await;
    stack.publish(&mixed_events()).await;
    stack.wait_until_decided(6).await;
    let (all, code) = eventually("the worker has reported its work", WAIT_TIMEOUT, async || {
        let (all, code) = status_json(&stack, &[]);
        (all["workers"][0]["finished"] == 6 && all["dead_letters"]["open"] == 1).then_some((all, code))
    })
    .await;
    let what = format!("{backend:?}: {all:#}");
    assert_eq!((&all["state"], &all["assigning"], code), (&json!("attention"), &json!("yes"), 10), "{what}");
    // The events are old: their headers have a fixed time of receipt.
    assert_eq!(codes(&all), ["slow", "unassigned_soon", "dead_letters_open"], "{what}");
    assert!(all["age"]["p50_ms"].as_i64() > Some(86_400_000), "{what}");
    let outcomes =
        json!({ "assigned": 1, "needs_review": 1, "unmatched": 2, "no_host": 1, "dead_letter": 1 });
    for window in ["last_minute", "last_15_minutes", "last_hour", "last_day"] {
        // The minute may be over.
        if window != "last_minute" || all["events"][window]["decided"] == 6 {
            assert_eq!(all["events"][window]["outcomes"], outcomes, "{what}");
            assert_eq!(all["events"][window]["assigned_percent"], 16.7, "{what}");
        }
    }
    assert_eq!(all["age"]["events"], 5, "{what}");
    let unassigned = &all["unassigned"];
    let counts = ["within_24_hours", "within_7_days", "all"].map(|key| unassigned[key].as_i64().unwrap());
    assert_eq!(counts, [2, 3, 4], "{what}");
    assert_eq!(
        all["inbox"]["by_reason"],
        json!({ "suggestion": 1, "ambiguous": 0, "unknown": 2, "conflict": 0 }),
        "{what}"
    );
    assert_eq!(all["dead_letters"]["by_reason"], json!({ "no_booking": 1 }), "{what}");
    let queue = [&all["queue"]["ready"], &all["queue"]["waiting"], &all["queue"]["dead"]];
    assert!(queue.iter().all(|count| **count == 0), "{what}");
    let consumers = if backend == Backend::Sqlite { Value::Null } else { json!(2) };
    assert_eq!(all["queue"]["consumers"], consumers, "{what}");
    let shown_worker = &all["workers"][0];
    assert_eq!(
        (&shown_worker["mode"], &shown_worker["role"], &shown_worker["gone"]),
        (&json!("assign"), &json!("worker"), &json!(false))
    );
    assert_eq!((&shown_worker["pid"], &shown_worker["failed"]), (&json!(worker.id()), &json!(1)), "{what}");

    // Another company sees only its own counts.
    let (theirs, _) = status_json(&stack, &["--company", "16"]);
    assert_eq!(theirs["events"]["last_day"]["outcomes"], json!({ "unmatched": 1 }), "{theirs:#}");
    assert_eq!((&theirs["unassigned"]["all"], &theirs["inbox"]["open"]), (&json!(1), &json!(1)));
    assert_eq!(theirs["dead_letters"]["open"], 0, "{theirs:#}");

    // The table for people shows the same values.
    let output = status(&stack, &[]);
    let text = stdout(&output);
    for line in [
        "ATTENTION: bookings are assigned, and",
        "2 bookings without staff start within 24 h",
        "1 no_booking",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("Mara") && !text.contains("Nobody"), "{text}");

    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    let (after, code) = status_json(&stack, &[]);
    assert_eq!((codes(&after)[0], code), ("no_worker", 10), "{after:#}");
    assert_eq!((&after["state"], &after["assigning"]), (&json!("not_working"), &json!("no")));
    assert_eq!(after["workers"], json!([]), "the worker has deregistered: {after:#}");
}

on_engines!(status_names_companies_whose_inbox_is_full);
async fn status_names_companies_whose_inbox_is_full(backend: Backend) {
    let stack = create_salon(backend).await;
    let digits = |name: &str| {
        let digits: Vec<String> = (0..10).map(|n| format!("SELECT {n} AS n")).collect();
        format!("({}) {name}", digits.join(" UNION ALL "))
    };
    let tables = ["a", "b", "c", "d", "e"].map(digits).join(", ");
    let insert = |company: u32, hosts: u32| {
        format!(
            "INSERT INTO hostmatch_inbox (company_id, host_id, event_stamped, first_seen_ms, last_seen_ms, kind, \
             suggestions, state, state_changed_ms) \
             SELECT {company}, id, FALSE, 1, 1, 'unknown', '[]', 'open', 1 FROM (SELECT \
             a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n + 1 AS id FROM {tables}) ids WHERE id <= {hosts}"
        )
    };
    stack.world.run(&insert(15, 20_000)).await;
    stack.world.run(&insert(16, 19_999)).await;
    let (reported, _) = status_json(&stack, &[]);
    let reasons = reported["reasons"].as_array().unwrap();
    let full: Vec<&str> = reasons
        .iter()
        .filter(|reason| reason["code"] == "inbox_full")
        .map(|reason| reason["message"].as_str().unwrap())
        .collect();
    assert!(full.len() == 1 && full[0].contains("company 15:"), "{backend:?}: {reported:#}");
    assert!(!codes(&status_json(&stack, &["--company", "16"]).0).contains(&"inbox_full"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_installation_is_ok_and_an_observing_one_is_named() {
    for (mode, assigning, line) in
        [("assign", "yes", "OK: bookings are assigned"), ("observe", "observing", "OK: it only observes")]
    {
        let mut stack = create_salon(Backend::MariaDb).await;
        stack.set("worker.mode", mode);
        let mut worker = stack.worker().await;
        let all = eventually("the installation is healthy", WAIT_TIMEOUT, async || {
            let (all, code) = status_json(&stack, &[]);
            (code == 0).then_some(all)
        })
        .await;
        assert_eq!((&all["state"], &all["assigning"]), (&json!("ok"), &json!(assigning)), "{all:#}");
        assert!(stdout(&status(&stack, &[])).contains(line));
        assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_or_the_broker_status_shows_the_rest() {
    let mut stack = create_salon(Backend::Postgres).await;
    let mut worker = stack.worker().await;
    let (database, broker) = (stack.world.test.url.clone(), stack.config.url.expose().to_owned());
    let (to_database, to_broker) =
        (Proxy::start(&Proxy::target(&database)).await, Proxy::start(&Proxy::target(&broker)).await);
    stack.set("database.url", &to_database.url(&database));
    stack.set("queue.url", &to_broker.url(&broker));
    to_database.set(Mode::Refuse);
    // The worker's consumers subscribe one by one.
    eventually("both pipelines consume", Duration::from_secs(30), async || {
        (status_json(&stack, &[]).0["queue"]["consumers"] == 2).then_some(())
    })
    .await;
    let (reported, code) = status_json(&stack, &[]);
    assert_eq!((code, codes(&reported)), (8, vec!["database_unreachable"]), "{reported:#}");
    let text = stdout(&status(&stack, &[])).to_owned();
    assert!(text.contains("NOT WORKING") && text.contains("QUEUE"), "{text}");
    to_broker.set(Mode::Refuse);
    let (reported, code) = status_json(&stack, &[]);
    assert_eq!(
        (code, codes(&reported)),
        (8, vec!["database_unreachable", "queue_unreachable"]),
        "{reported:#}"
    );
    to_database.set(Mode::Pass);
    let (reported, code) = status_json(&stack, &[]);
    assert_eq!((code, codes(&reported)[0]), (7, "queue_unreachable"), "{reported:#}");
    assert_eq!(reported["workers"].as_array().unwrap().len(), 1, "{reported:#}");
    // The database is reachable but does not respond.
    to_database.set(Mode::Stall);
    let (reported, code) = status_json(&stack, &[]);
    assert_eq!((code, codes(&reported)[0]), (8, "database_unreachable"), "{reported:#}");
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watching_continues_through_an_outage_and_exits_with_130() {
    let mut stack = create_salon(Backend::MariaDb).await;
    // The first publish creates the queues.
    stack.publish(&mixed_events()[..1]).await;
    let database = stack.world.test.url.clone();
    let proxy = Proxy::start(&Proxy::target(&database)).await;
    stack.set("database.url", &proxy.url(&database));
    let mut blocks = stack.start(&["status", "--watch", "1"]);
    let mut lines = stack.start(&["status", "--watch", "1", "--output", "json"]);
    let last = |process: &crate::support::Process| -> Option<Value> {
        serde_json::from_str(process.stdout().lines().last()?).ok()
    };
    let wait_for_reason = |expected: &'static str| {
        let lines = &lines;
        async move {
            eventually(expected, WAIT_TIMEOUT, async || {
                let reported = last(lines)?;
                let first = reported["status"]["reasons"][0]["code"].as_str().unwrap_or_default().to_owned();
                (first == expected).then_some(())
            })
            .await;
        }
    };
    wait_for_reason("no_worker").await;
    proxy.set(Mode::Refuse);
    proxy.cut();
    wait_for_reason("database_unreachable").await;
    proxy.set(Mode::Pass);
    wait_for_reason("no_worker").await;
    eventually("the output has several blocks", WAIT_TIMEOUT, async || {
        (blocks.stdout().matches("hostmatch status").count() >= 3).then_some(())
    })
    .await;
    for process in [&mut blocks, &mut lines] {
        process.signal(Signal::SIGINT);
        assert_eq!(process.wait().await.code(), Some(130), "{}", process.stderr());
    }
    assert!(!blocks.stdout().contains('\u{1b}'), "output to a file must not contain escape sequences");
}

/// Inserts this many workers, each on its own machine, with a heartbeat this many seconds ago.
async fn insert_workers(stack: &Stack, count: u32, seconds: u32) {
    let rows: Vec<String> = (1..=count)
        .map(|n| {
            format!(
                "('{n}-{seconds}', 'hostmatch-worker-7f9c4d5b8-{n:05}.salon.example', {n}, 'worker', '0.1.0', 'assign', 2, \
                 {{now}} - 7200000, {{now}} - {seconds}000, 1000, 1, 1)"
            )
        })
        .collect();
    let now = match stack.world.test.backend {
        Backend::MariaDb => "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
        Backend::Postgres => "CAST(EXTRACT(EPOCH FROM now()) * 1000 AS bigint)",
        Backend::Sqlite => "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    };
    let insert = format!(
        "INSERT INTO hostmatch_workers (id, host, pid, role, version, mode, pipelines, started_ms, seen_ms, finished, \
         retried, failed) VALUES {}",
        rows.join(", ").replace("{now}", now)
    );
    stack.world.run(&insert).await;
}

on_engines!(fifty_workers_fit_on_one_screen_and_missing_ones_come_first);
async fn fifty_workers_fit_on_one_screen_and_missing_ones_come_first(backend: Backend) {
    let stack = create_salon(backend).await;
    insert_workers(&stack, 50, 3).await;
    insert_workers(&stack, 1, 600).await;
    stack.publish(&mixed_events()).await;
    let output = status(&stack, &[]);
    let text = stdout(&output);
    assert!(text.lines().count() <= 24, "{} lines: {text}", text.lines().count());
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.contains("50 running, 1 gone"), "{text}");
    let (reported, _) = status_json(&stack, &[]);
    assert_eq!(reported["workers"].as_array().unwrap().iter().filter(|it| it["gone"] == true).count(), 1);
    assert!(codes(&reported).contains(&"workers_gone"), "{reported:#}");
}

on_engines!(workers_gone_for_a_day_are_removed_and_one_that_cannot_register_keeps_working);
async fn workers_gone_for_a_day_are_removed_and_one_that_cannot_register_keeps_working(backend: Backend) {
    let stack = create_salon(backend).await;
    insert_workers(&stack, 3, 25 * 3600).await;
    insert_workers(&stack, 1, 23 * 3600).await;
    let mut worker = stack.worker().await;
    eventually("the old workers are removed", WAIT_TIMEOUT, async || {
        (stack.world.count("hostmatch_workers").await == 2).then_some(())
    })
    .await;
    worker.kill().await;
    assert_eq!(stack.world.count("hostmatch_workers").await, 2, "the killed worker could not deregister");

    // The table is missing after `migrate down` and before `migrate up`.
    stack.world.run("DROP TABLE hostmatch_workers").await;
    let mut worker = stack.start(&["serve", "worker"]);
    worker
        .wait_for_log(
            "cannot write to the table hostmatch_workers, so `hostmatch status` does not show this worker; run \
         `hostmatch migrate up`, and the GRANT statements that `hostmatch gateway grants` prints",
        )
        .await;
    stack.publish(&mixed_events()[..1]).await;
    stack.wait_until_decided(1).await;
    let (reported, code) = status_json(&stack, &[]);
    assert_eq!((code, codes(&reported)[0]), (10, "database_refuses"), "{backend:?}: {reported:#}");
    assert_eq!((&reported["workers"], &reported["events"]["last_day"]["decided"]), (&Value::Null, &json!(1)));
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undecided_backlog_and_a_spool_in_use_are_reported() {
    let mut stack = create_salon(Backend::MariaDb).await;
    let broker = stack.config.url.expose().to_owned();
    let proxy = Proxy::start(&Proxy::target(&broker)).await;
    stack.set("edge.allow_unsigned", "true");
    stack.set("queue.confirm_timeout", "1s");
    insert_workers(&stack, 1, 3).await;
    stack.publish(&mixed_events()).await;
    let (reported, _) = status_json(&stack, &[]);
    assert_eq!(codes(&reported)[..2], ["no_consumer", "stalled"], "{reported:#}");
    assert_eq!((&reported["queue"]["ready"], &reported["spool"]), (&json!(6), &Value::Null), "{reported:#}");

    stack.set("queue.url", &proxy.url(&broker));
    proxy.set(Mode::Refuse);
    let (mut edge, url) = stack.edge("edge").await;
    let client = crate::support::http_client();
    let event = event_in_hours("e-8", "Bk-5", 2, host(11, "Mara Lind", "mara@salon.example"));
    let posted = client.post(format!("{url}/api/retell/webhook")).json(&event).send().await.unwrap();
    assert!(posted.status().is_success(), "{posted:?}");
    let (reported, code) = status_json(&stack, &[]);
    assert_eq!((code, &reported["spool"]["messages"]), (7, &json!(1)), "{reported:#}");
    assert!(codes(&reported).contains(&"spooled"), "{reported:#}");
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
}
