//! Tests which traces are sampled, and collectors that are unreachable, silent, strict or encrypted.

use std::time::{Duration, Instant};

use super::{TRACE, post, publish_message, salon, traceparent, with_mara};
use crate::support::Backend;
use crate::support::broker::free_port;
use crate::support::collector::Collector;

const RETELL: &str = "/api/retell/webhook";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_sample_ratio_of_zero_only_the_traces_of_callers_are_kept() {
    let (collector, mut stack) = (Collector::start().await, salon(Backend::Sqlite).await);
    collector.collect_from(&mut stack);
    stack.set("traces.sample_ratio", "0");
    for n in 1..=3 {
        stack.world.appointment(n, 15, &format!("Bk-{n}")).await;
    }
    let (mut all, base) = stack.edge("all").await;
    post(&base, RETELL, &[], &with_mara(1)).await;
    post(
        &base,
        RETELL,
        &[("traceparent", &format!("00-{}-{}-00", "ef".repeat(16), "ef".repeat(8)))],
        &with_mara(2),
    )
    .await;
    stack.wait_until_decided(2).await;
    post(&base, RETELL, &[("traceparent", &traceparent("01"))], &with_mara(3)).await;
    stack.wait_until_decided(3).await;
    assert_eq!(all.stop().await, Some(0));
    let spans = collector.spans();
    let of_the_caller = spans.iter().filter(|span| span.trace == TRACE).count();
    assert_eq!(of_the_caller, 4, "request, publish, process, commit: {spans:?}");
    let others: Vec<_> = spans.iter().filter(|span| span.trace != TRACE).collect();
    let batch = others.iter().find(|span| span.name == "batch bookings").unwrap();
    assert!(others.iter().all(|span| span.trace == batch.trace), "{others:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_collector_no_span_is_sent_and_contexts_are_still_propagated() {
    let (collector, mut stack) = (Collector::start().await, salon(Backend::Sqlite).await);
    collector.collect_from(&mut stack);
    // An empty endpoint takes precedence over the standard's own variables.
    stack.set("traces.endpoint", "");
    stack.set_variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let (mut all, base) = stack.edge("all").await;
    let headers = [("traceparent", traceparent("01")), ("tracestate", "vendor=a1".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    post(&base, RETELL, &headers, &with_mara(1)).await;
    let letter =
        crate::support::eventually("the event is a dead letter", Duration::from_secs(60), async || {
            let letters = hostmatch::store::dead_letters(
                &stack.world.test.db,
                &hostmatch::store::Scope::All,
                &Default::default(),
                9,
            )
            .await;
            letters.unwrap().pop()
        })
        .await;
    assert!(letter.headers.contains(&traceparent("01")), "{}", letter.headers);
    assert!(letter.headers.contains("vendor=a1"), "{}", letter.headers);
    assert_eq!(all.stop().await, Some(0));
    assert_eq!(collector.requests(), 0);
    assert!(!all.stderr().contains("trace_id"), "{}", all.stderr());
}

/// Tests addresses without a listener, and collectors that accept a connection but never respond.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_collector_does_not_affect_bookings_and_is_logged_once() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = (silent.local_addr().unwrap().port(), Some(silent));
    for (port, _listener) in [(free_port(), None), silent] {
        let mut stack = salon(Backend::Sqlite).await;
        stack.set("traces.endpoint", &format!("http://127.0.0.1:{port}"));
        stack.set_variable("OTEL_BSP_SCHEDULE_DELAY", "50");
        for n in 1..=60 {
            stack.world.appointment(n, 15, &format!("Bk-{n}")).await;
        }
        let (mut all, base) = stack.edge("all").await;
        for n in 1..=30 {
            post(&base, RETELL, &[], &with_mara(n)).await;
        }
        let refused = "the collector does not accept traces: spans are dropped; bookings are not affected";
        let line = all.wait_for_log(refused).await;
        assert!(line["endpoint"].as_str().unwrap().contains(&port.to_string()), "{line}");
        for n in 31..=60 {
            post(&base, RETELL, &[], &with_mara(n)).await;
        }
        stack.wait_until_decided(60).await;
        let began = Instant::now();
        assert_eq!(all.stop().await, Some(0));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        assert_eq!(all.log_lines(refused).len(), 1, "{}", all.stderr());
        assert_eq!(all.log_lines("not all spans reached the trace collector").len(), 1, "{}", all.stderr());
    }
}

/// The queue of spans drops spans that do not fit, and logs this once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_do_not_fit_are_dropped() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stack = salon(Backend::Sqlite).await;
    stack.set("traces.endpoint", &format!("http://{}", silent.local_addr().unwrap()));
    stack.set("log.level", "info");
    const EVENTS: u32 = 4500;
    let events: Vec<_> = (1..=EVENTS)
        .map(|n| serde_json::json!({ "event": "nothing.known", "event_id": format!("e-{n}") }))
        .collect();
    stack.publish(&events).await;
    let mut worker = stack.worker().await;
    stack.wait_until_decided(EVENTS as usize).await;
    assert_eq!(worker.stop().await, Some(0));
    let dropped = "spans are dropped: the trace collector does not keep up; bookings are not delayed";
    assert_eq!(worker.log_lines(dropped).len(), 1, "{}", worker.stderr());
    let end = worker.log_lines("not all spans reached the trace collector").remove(0);
    let lost = end["lost"].as_u64().unwrap() + end["unsent"].as_u64().unwrap();
    assert!(lost >= u64::from(EVENTS), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configured_headers_are_sent_and_the_standards_variables_apply() {
    let (collector, mut stack) = (Collector::start().await, salon(Backend::Sqlite).await);
    collector.collect_from(&mut stack);
    std::fs::write(stack.home().join("headers"), "authorization=Bearer c0llect\nx-scope-orgid = salons\n")
        .unwrap();
    stack.set("traces.headers_file", "headers");
    stack.set_variable("OTEL_SERVICE_NAME", "salon-matcher");
    stack.set_variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging");
    stack.world.appointment(1, 15, "Bk-1").await;
    publish_message(&stack, &[], &with_mara(1)).await;
    stack.drain().await;
    let span = collector.span("sent", "process bookings", |_| true).await;
    assert_eq!(span.resource["service.name"], "salon-matcher");
    assert_eq!(span.resource["deployment.environment.name"], "staging");
    assert_eq!(span.resource["service.version"], env!("CARGO_PKG_VERSION"));
    let headers = collector.headers();
    assert_eq!(headers["authorization"], "Bearer c0llect");
    assert_eq!(headers["x-scope-orgid"], "salons");
    assert!(!stack.all_output().contains("c0llect"));
}
