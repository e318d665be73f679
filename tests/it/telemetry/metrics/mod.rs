//! Tests the metrics of processes at `/metrics`: all documented series exist from the start, and then count
//! exactly what happened.

mod faults;

use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::Bytes;
use hostmatch::queue::Message;
use hostmatch::telemetry::metrics::{BUILD, Kind, Series};
use hostmatch::{edge, queue, telemetry, worker};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::support::proxy::{Mode, Proxy};
use crate::support::{Backend, GatewayShape, Scrape, Stack, event, host, promtool};

/// Creates an installation whose processes export metrics, with a salon.
async fn salon(backend: Backend) -> Stack {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    for (key, value) in [
        ("metrics.listen", "127.0.0.1:0"),
        ("metrics.sample_every", "200ms"),
        ("worker.pipelines", "1"),
        ("edge.allow_unsigned", "true"),
    ] {
        stack.set(key, value);
    }
    stack.world.company(15).await;
    stack.world.company(16).await;
    stack.world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    stack.world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
    for n in 1..=9 {
        stack.world.appointment(n, 15, &format!("Bk-{n}")).await;
    }
    stack
}

fn mara() -> Value {
    host(11, "Mara Lind", "mara@salon.example")
}

/// Returns an event about a booking that starts in this many hours.
fn in_hours(hours: i64, id: &str, booking: u32, hosts: Value) -> Value {
    let start = OffsetDateTime::now_utc() + time::Duration::hours(hours);
    let mut event = event(id, &format!("Bk-{booking}"), 5, hosts);
    event["calcom_booking"]["start"] = json!(start.format(&Rfc3339).unwrap());
    event
}

/// Checks that Prometheus' linter finds nothing.
fn assert_linted(scrape: &Scrape) {
    let Some(promtool) = promtool() else { return };
    let mut lint = Command::new(promtool);
    lint.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lint = lint.spawn().unwrap();
    lint.stdin.take().unwrap().write_all(scrape.text.as_bytes()).unwrap();
    let output = lint.wait_with_output().unwrap();
    let reported = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && reported.is_empty(), "{reported}");
}

fn common_series() -> Vec<Series> {
    [&[BUILD][..], &queue::metrics::SERIES, &telemetry::process::SERIES].concat()
}

/// Checks that each series exists, and that counters are at 0.
fn assert_registered(scrape: &Scrape, lists: &[&[Series]], is_rabbitmq: bool) {
    let names = scrape.names();
    for series in lists.iter().copied().flatten() {
        let name = series.name;
        if name.starts_with("hostmatch_amqp") && !is_rabbitmq {
            assert!(!names.contains(name), "{name}");
            continue;
        }
        let is_exported = name != "hostmatch_queue_consumers" || is_rabbitmq;
        assert_eq!(names.contains(name), is_exported, "{name}");
        let kind = format!("# TYPE {name} {}\n", series.kind.as_str());
        assert!(scrape.text.contains(&kind) || !is_exported, "{kind}");
        assert!(scrape.text.contains(&format!("# HELP {name} {}\n", series.help)) || !is_exported, "{name}");
        if name.starts_with("process_") {
            continue;
        }
        match series.kind {
            Kind::Counter => assert_eq!(scrape.sum(name), 0.0, "{name}: {:?}", scrape.samples_of(name)),
            Kind::Histogram(_) => assert_eq!(scrape.sum(&format!("{name}_count")), 0.0, "{name}"),
            Kind::Gauge => assert!(scrape.samples_of(name).values().all(|value| !value.is_nan()), "{name}"),
        }
    }
    assert_eq!(
        names.len(),
        names.iter().filter(|name| lists.concat().iter().any(|s| s.name == **name)).count()
    );
    assert_linted(scrape);
}

on_engines!(every_documented_series_exists_from_the_start: sqlite, mariadb);
async fn every_documented_series_exists_from_the_start(backend: Backend) {
    let is_rabbitmq = backend != Backend::Sqlite;
    let stack = salon(backend).await;
    let (common, worker_series) = (common_series(), worker::SERIES.concat());
    let is_sampled = |scrape: &Scrape| {
        let up = scrape.samples_of("hostmatch_sample_up");
        let connected =
            !is_rabbitmq || scrape.samples_of("hostmatch_amqp_connected").get("consume") == Some(&1.0);
        up["database"] + up["queue"] == 2.0 && connected
    };
    let mut worker = stack.worker().await;
    let scrape = Scrape::until(&Scrape::base(&mut worker).await, "a sample", is_sampled).await;
    assert_registered(&scrape, &[&common, &worker_series], is_rabbitmq);
    assert_eq!(scrape.nonzero("hostmatch_build_info"), ["0.1.0 unknown worker: 1"]);
    assert_eq!(scrape.value("hostmatch_db_up"), 1.0);
    assert_eq!(scrape.value("hostmatch_worker_pipelines"), 1.0);
    assert_eq!(scrape.value("hostmatch_auto_accept_threshold_ratio"), 0.8);
    let types = hostmatch::event::EVENT_TYPES.len() + 1;
    assert_eq!(scrape.samples_of("hostmatch_events_processed_total").len(), types * 11);
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());

    let (mut edge, public) = stack.edge("edge").await;
    let base = Scrape::base(&mut edge).await;
    let is_up = |scrape: &Scrape| !is_rabbitmq || scrape.sum("hostmatch_amqp_connected") == 1.0;
    let scrape = Scrape::until(&base, "connected", is_up).await;
    assert_registered(&scrape, &[&common, &edge::SERIES], is_rabbitmq);
    let client = crate::support::http_client();
    let refused = client.get(format!("{public}/metrics")).send().await.unwrap();
    assert_eq!(refused.status(), 404, "not on the public port");
    let head = client.head(format!("{base}/metrics")).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"] == "0"), (200, false));
    assert_eq!(client.post(format!("{base}/metrics")).send().await.unwrap().status(), 405);
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());

    let (mut all, _) = stack.edge("all").await;
    let scrape = Scrape::until(&Scrape::base(&mut all).await, "a sample", is_sampled).await;
    assert_registered(&scrape, &[&common, &edge::SERIES, &worker_series], is_rabbitmq);
    assert_eq!(all.stop().await, Some(0), "{}", all.stderr());
}

/// Sends one event of each kind, through the edge if the edge accepts it.
async fn send_mixture(stack: &Stack, edge: &str) {
    let client = crate::support::http_client();
    let post = async |route: &str, body: String, status: u16| {
        let request = client.post(format!("{edge}{route}")).header("content-type", "application/json");
        assert_eq!(request.body(body).send().await.unwrap().status(), status);
    };
    let mut cancelled = event("e7", "Bk-1", 9, mara());
    cancelled["event"] = json!("appointment.cancelled");
    let mut foreign = event("e11", "Bk-8", 1, mara());
    foreign["company_id"] = json!(16);
    let soon = in_hours(4, "e12", 9, host(14, "Nobody", "w@else.example"));
    let mut cancelled_later = soon.clone();
    cancelled_later["event"] = json!("appointment.cancelled");
    cancelled_later["event_id"] = json!("e13");
    let without_id = json!([{ "name": "Mara Lind", "email": "mara@salon.example" }]);
    for event in [
        event("e1", "Bk-1", 1, mara()),
        event("e2", "Bk-2", 5, mara()),
        event("e1", "Bk-1", 1, mara()),
        in_hours(2, "e3", 3, host(12, "Boris Kamm", "b@else.example")),
        in_hours(72, "e4", 4, host(13, "Nobody", "x@else.example")),
        in_hours(24 * 30, "e5", 5, json!([])),
        event("e6", "Bk-6", 1, without_id),
        cancelled,
        event("e8", "Bk-2", 2, mara()),
        event("e9", "Bk-7", 1, mara()),
        event("e10", "nowhere", 1, mara()),
        foreign,
        soon,
        cancelled_later,
    ] {
        post("/v1/events", event.to_string(), 202).await;
    }
    post("/webhooks/calcom", "no JSON of Mara's".to_owned(), 200).await;
    post("/v1/events", "neither".to_owned(), 400).await;
    let ignored = json!({ "triggerEvent": "MEETING_STARTED", "bookingId": 1 }).to_string();
    post("/webhooks/calcom", ignored.clone(), 200).await;
    let message = Message { body: Bytes::from(ignored), routing_key: "other".into(), ..Message::default() };
    stack.queue.publisher().publish(vec![message]).await.unwrap();
}

on_engines!(every_event_is_counted_exactly);
async fn every_event_is_counted_exactly(backend: Backend) {
    let stack = salon(backend).await;
    stack.world.set_staff_externally(7, Some(2)).await;
    let mut worker = stack.worker().await;
    let (mut edge, public) = stack.edge("edge").await;
    let (at_worker, at_edge) = (Scrape::base(&mut worker).await, Scrape::base(&mut edge).await);
    send_mixture(&stack, &public).await;
    let all = |scrape: &Scrape| {
        scrape.sum("hostmatch_events_processed_total") >= 16.0
            && scrape.value("hostmatch_dead_letters_open") == 3.0
    };
    let scrape = Scrape::until(&at_worker, "all events are finished", all).await;
    assert_worker(&scrape, backend);
    let scrape = Scrape::fetch(&at_edge).await;
    assert_edge(&scrape);

    // A person assigns one booking.
    stack.world.set_staff_externally(3, Some(2)).await;
    let three = |scrape: &Scrape| scrape.sum("hostmatch_unassigned_bookings") == 3.0;
    let scrape = Scrape::until(&at_worker, "one booking fewer", three).await;
    assert_eq!(scrape.nonzero("hostmatch_unassigned_bookings"), ["7d: 1", "all: 2"]);
    if backend == Backend::MariaDb {
        replay(&stack, &at_worker).await;
    }
    for mut process in [edge, worker] {
        assert_eq!(process.stop().await, Some(0), "{}", process.stderr());
    }
}

fn assert_worker(scrape: &Scrape, backend: Backend) {
    let is = |name: &str, expected: &[&str]| {
        assert_eq!(scrape.nonzero(&format!("hostmatch_{name}")), expected, "{name} on {backend:?}");
    };
    is(
        "events_processed_total",
        &[
            "appointment.cancelled recorded: 2",
            "appointment.created assigned: 3",
            "appointment.created dead_letter: 2",
            "appointment.created kept: 1",
            "appointment.created needs_review: 1",
            "appointment.created no_host: 1",
            "appointment.created stale: 1",
            "appointment.created unchanged: 1",
            "appointment.created unmatched: 2",
            "unknown dead_letter: 1",
            "unknown ignored: 1",
        ],
    );
    // One of these events is tried four times: immediately, and after each delay.
    is(
        "events_received_total",
        &[
            "appointment.cancelled native: 2",
            "appointment.created native: 15",
            "unknown calcom: 1",
            "unknown unknown: 1",
        ],
    );
    is("event_retries_total", &["appointment_not_found: 3"]);
    is("dead_letters_total", &["appointment_not_found: 1", "malformed: 1", "tenant_mismatch: 1"]);
    is("event_age_seconds_count", &["appointment.cancelled: 2", "appointment.created: 10", "unknown: 1"]);
    is("matches_total", &["email accepted: 2", "existing accepted: 4", "name suggested: 1", "none none: 2"]);
    is("match_confidence_ratio_count", &["email: 2", "existing: 4", "name: 1"]);
    assert!((scrape.value("hostmatch_match_confidence_ratio_sum{strategy=\"email\"}") - 1.9).abs() < 1e-9);
    assert_eq!(scrape.value("hostmatch_match_confidence_ratio_bucket{strategy=\"name\",le=\"0.75\"}"), 1.0);
    is("hosts_missing_total", &["empty: 1", "null_id: 1"]);
    is("mappings_created_total", &["auto_email: 1"]);
    is("mappings_changed_total", &[]);
    is("replays_total", &[]);
    is("events_put_off_total", &[]);
    // On the embedded queue a retry is not a separate message.
    let copies: &[&str] = if backend == Backend::Sqlite { &[] } else { &["confirmed: 6"] };
    is("publishes_total", copies);
    is("dead_letters_open", &[": 3"]);
    is("inbox_items", &["suggestion: 1", "unknown: 2"]);
    is("unassigned_bookings", &["24h: 1", "7d: 2", "all: 3"]);
    is("events_in_flight", &[]);
    let batches = scrape.sum("hostmatch_batches_total");
    assert_eq!(scrape.sum("hostmatch_batch_events_count"), batches);
    assert_eq!(scrape.sum("hostmatch_batch_events_sum"), 19.0);
    let age = scrape.value("hostmatch_inbox_oldest_item_age_seconds");
    assert!((0.0..120.0).contains(&age), "{age}");
    // The edge's events are recent; the test's own message has no timestamp.
    let ages = scrape.sum("hostmatch_event_age_seconds_sum");
    assert!((0.0..13.0 * 60.0).contains(&ages), "{ages}");
    for personal in
        ["Mara", "Boris", "salon.example", "else.example", "Bk-", "nowhere", "e10\"", "\"11\"", "\"15\""]
    {
        assert!(!scrape.text.contains(personal), "{personal}");
    }
    assert_linted(scrape);
}

/// Checks that a replayed dead letter counts once more, and also as a replay.
async fn replay(stack: &Stack, at_worker: &str) {
    let before = Scrape::fetch(at_worker).await;
    stack.world.appointment(10, 15, "nowhere").await;
    let run = |arguments: &[&str]| {
        let output = stack.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let plan = ["deadletters", "plan", "--code", "appointment_not_found", "--output", "json"];
    let plan = run(&plan)["plan"].to_string();
    run(&["deadletters", "replay", "--plan", &plan, "--rate", "100/s", "--yes", "--output", "json"]);
    let is_finished = |scrape: &Scrape| {
        !scrape.nonzero("hostmatch_replays_total").is_empty()
            && scrape.sum("hostmatch_dead_letters_open") == 2.0
    };
    let after = Scrape::until(at_worker, "the replayed letter is finished", is_finished).await;
    assert_eq!(after.nonzero("hostmatch_replays_total"), ["assigned: 1"]);
    let more = |name: &str| after.sum(name) - before.sum(name);
    assert_eq!(more("hostmatch_events_processed_total"), 1.0);
    assert_eq!(more("hostmatch_event_age_seconds_count"), 0.0, "a replay must not count an age");
}

fn assert_edge(scrape: &Scrape) {
    let is = |name: &str, expected: &[&str]| {
        assert_eq!(scrape.nonzero(&format!("hostmatch_{name}")), expected, "{name}");
    };
    is(
        "http_requests_total",
        &["/v1/events POST 202: 14", "/v1/events POST 400: 1", "/webhooks/calcom POST 200: 2"],
    );
    is("http_request_duration_seconds_count", &["/v1/events: 15", "/webhooks/calcom: 2"]);
    is("webhooks_rejected_total", &["malformed-event: 1"]);
    is("publishes_total", &["confirmed: 15"]);
    is("spool_events", &[]);
    assert!(!scrape.text.contains("Mara") && !scrape.text.contains("Bk-"));
    assert_linted(scrape);
}

/// While a value is unknown its gauge is NaN.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_leaves_no_outdated_gauge() {
    let mut stack = salon(Backend::MariaDb).await;
    let (database, broker) = (stack.world.test.url.clone(), stack.config.url.expose().to_owned());
    let (to_database, to_broker) =
        (Proxy::start(&Proxy::target(&database)).await, Proxy::start(&Proxy::target(&broker)).await);
    stack.set("database.url", &to_database.url(&database));
    stack.set("database.acquire_timeout", "500ms");
    stack.set("queue.url", &to_broker.url(&broker));
    stack.set("queue.connect_timeout", "1s");
    let mut worker = stack.worker().await;
    let base = Scrape::base(&mut worker).await;
    let up = |source: &str, value: f64| {
        let source = source.to_owned();
        move |scrape: &Scrape| scrape.samples_of("hostmatch_sample_up")[&source] == value
    };
    Scrape::until(&base, "samples", |scrape| up("database", 1.0)(scrape) && up("queue", 1.0)(scrape)).await;

    to_database.set(Mode::Refuse);
    to_database.cut();
    let scrape = Scrape::until(&base, "the database is unreachable", up("database", 0.0)).await;
    assert_eq!(scrape.value("hostmatch_db_up"), 0.0);
    for name in ["dead_letters_open", "inbox_items", "inbox_oldest_item_age_seconds", "unassigned_bookings"] {
        let reported = scrape.samples_of(&format!("hostmatch_{name}"));
        assert!(
            !reported.is_empty() && reported.values().all(|value| value.is_nan()),
            "{name}: {reported:?}"
        );
    }
    assert!(scrape.sum("hostmatch_queue_messages") == 0.0, "the broker is still reachable");
    to_database.set(Mode::Pass);
    let scrape = Scrape::until(&base, "the database is available again", up("database", 1.0)).await;
    assert_eq!((scrape.value("hostmatch_db_up"), scrape.value("hostmatch_dead_letters_open")), (1.0, 0.0));

    to_broker.set(Mode::Refuse);
    to_broker.cut();
    // The gauges are set one after another, and a scrape may happen in between.
    let is_unknown = |scrape: &Scrape| {
        let messages = scrape.samples_of("hostmatch_queue_messages");
        up("queue", 0.0)(scrape) && messages.len() == 3 && messages.values().all(|value| value.is_nan())
    };
    let scrape = Scrape::until(&base, "the number of waiting messages is unknown", is_unknown).await;
    assert_eq!(scrape.samples_of("hostmatch_amqp_connected")["consume"], 0.0);
    to_broker.set(Mode::Pass);
    let is_reconnected = |scrape: &Scrape| {
        up("queue", 1.0)(scrape) && scrape.samples_of("hostmatch_amqp_connected")["consume"] == 1.0
    };
    let scrape = Scrape::until(&base, "the broker is reachable again", is_reconnected).await;
    assert!(scrape.samples_of("hostmatch_amqp_reconnects_total")["consume"] >= 1.0);
    assert_eq!(scrape.sum("hostmatch_queue_messages"), 0.0);
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

#[cfg(feature = "crash-points")]
on_engines!(an_event_redelivered_after_a_crash_is_counted_once: sqlite, mariadb);
/// The killed worker has counted what it acknowledged; the next one counts the rest.
#[cfg(feature = "crash-points")]
async fn an_event_redelivered_after_a_crash_is_counted_once(backend: Backend) {
    let stack = salon(backend).await;
    let one = |n: u32| event(&format!("e{n}"), &format!("Bk-{n}"), 1, mara());
    let mut command = stack.command(&["serve", "worker"]);
    command.env("HOSTMATCH_CRASH_AT", "before_ack:2");
    let mut worker = stack.launch(command);
    let base = Scrape::base(&mut worker).await;
    stack.publish(&[one(1)]).await;
    let processed =
        |count: f64| move |scrape: &Scrape| scrape.sum("hostmatch_events_processed_total") == count;
    Scrape::until(&base, "the first event is counted", processed(1.0)).await;
    stack.publish(&[one(2)]).await;
    worker.wait().await;
    stack.wait_until_requeued().await;
    let mut worker = stack.worker().await;
    let base = Scrape::base(&mut worker).await;
    stack.publish(&[one(3)]).await;
    let scrape = Scrape::until(&base, "the others", processed(2.0)).await;
    let expected = ["appointment.created assigned: 1", "appointment.created unchanged: 1"];
    assert_eq!(scrape.nonzero("hostmatch_events_processed_total"), expected);
    assert_eq!(scrape.nonzero("hostmatch_batches_total").last().map(String::as_str), Some("drained: 1"));
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}
