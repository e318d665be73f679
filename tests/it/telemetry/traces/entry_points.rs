//! Tests that the trace context is continued from every entry point: an HTTP request, an AMQP publisher, CloudEvents, a
//! file, and the spool.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    CALLER, CONSUMER, PRODUCER, SERVER, TRACE, assert_no_personal_data, post, publish_message, queue_name,
    salon, set_up_salon, traceparent, with_mara,
};
use crate::support::broker::Broker;
use crate::support::collector::{Collector, ReceivedSpan};
use crate::support::{Backend, GatewayShape, Stack, World};

const RETELL: &str = "/api/retell/webhook";
const SECRET: &str = "gateway-secret";

/// Returns the one span with this name in this trace.
async fn span_in_trace(collector: &Collector, trace: &str, name: &str) -> ReceivedSpan {
    collector.span("of this trace", name, |span| span.trace == trace).await
}

on_engines!(one_trace_covers_the_request_to_the_commit);
async fn one_trace_covers_the_request_to_the_commit(backend: Backend) {
    let (collector, mut stack) = (Collector::start().await, salon(backend).await);
    collector.collect_from(&mut stack);
    stack.world.appointment(1, 15, "Bk-1").await;
    let (mut edge, base) = stack.edge("edge").await;
    let mut worker = stack.worker().await;
    let parent = traceparent("01");
    post(&base, RETELL, &[("traceparent", &parent), ("tracestate", "vendor=a1")], &with_mara(1)).await;
    stack.wait_until_decided(1).await;
    assert_eq!(stack.world.assigned(1).await, "1/11");

    let queue = queue_name(&stack);
    let request = span_in_trace(&collector, TRACE, "POST /api/retell/webhook").await;
    assert_eq!((request.kind, request.parent.as_str()), (SERVER, CALLER), "{request:?}");
    assert_eq!(request.attribute("http.response.status_code"), "200");
    assert_eq!(request.attribute("http.route"), RETELL);
    assert_eq!(request.resource["hostmatch.role"], "edge");
    assert_eq!(request.resource["service.name"], "hostmatch");

    let destination = queue.replace(".bookings", ".events");
    let publish = span_in_trace(&collector, TRACE, &format!("publish {destination}")).await;
    assert_eq!((publish.kind, &publish.parent), (PRODUCER, &request.id));
    assert_eq!(publish.attribute("messaging.message.id"), "e-1");

    let process = span_in_trace(&collector, TRACE, &format!("process {queue}")).await;
    assert_eq!((process.kind, &process.parent), (CONSUMER, &publish.id));
    assert_eq!(process.attribute("hostmatch.event.id"), "e-1");
    assert_eq!(process.attribute("hostmatch.event.type"), "appointment.created");
    assert_eq!(process.attribute("hostmatch.outcome"), "assigned");
    assert_eq!(process.resource["hostmatch.role"], "worker");
    let commit = span_in_trace(&collector, TRACE, "commit").await;
    assert_eq!(commit.parent, process.id);
    assert!(process.nanos.start <= commit.nanos.start && commit.nanos.end <= process.nanos.end);

    let batch = collector.span("the batch of the message", &format!("batch {queue}"), |_| true).await;
    assert_ne!(batch.trace, TRACE);
    assert_eq!((batch.parent.as_str(), batch.attribute("messaging.batch.message_count")), ("", "1"));
    assert_eq!(batch.links, [publish.link_ids()]);
    assert_eq!(process.links, [batch.link_ids()]);
    for step in ["decode", "load", "plan", "commit", "settle"] {
        let span = span_in_trace(&collector, &batch.trace, step).await;
        assert_eq!(span.parent, batch.id, "{step}");
    }

    // The log has the trace id: for the request, and for the event's outcome.
    assert_eq!(edge.wait_for_log("request").await["trace_id"], TRACE);
    assert_eq!(worker.wait_for_log("an event was decided").await["trace_id"], TRACE);
    assert_eq!(worker.wait_for_log("batch settled").await["trace_id"], batch.trace);
    assert_eq!(worker.stop().await, Some(0));
    assert_eq!(edge.stop().await, Some(0));
    assert_no_personal_data(&collector);
    let spans = collector.spans();
    assert!(!spans.iter().any(|span| span.name.contains("health")), "{spans:?}");
}

on_engines!(the_contexts_of_publishers_are_continued: sqlite, mariadb);
async fn the_contexts_of_publishers_are_continued(backend: Backend) {
    let (collector, mut stack) = (Collector::start().await, salon(backend).await);
    collector.collect_from(&mut stack);
    for n in 1..=4 {
        stack.world.appointment(n, 15, &format!("Bk-{n}")).await;
    }
    let cloud = |n: u32, mut more: Value| {
        more["specversion"] = "1.0".into();
        more["type"] = "appointment.created".into();
        more["source"] = "/salon".into();
        more["id"] = format!("e-{n}").into();
        more["data"] = with_mara(n);
        more
    };
    let parent = |n: u32| format!("00-{n:032x}-{n:016x}-01");
    publish_message(&stack, &[("traceparent", &parent(1))], &with_mara(1)).await;
    publish_message(&stack, &[], &cloud(2, json!({ "traceparent": parent(2) }))).await;
    let binary = [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:type", "appointment.created"),
        ("cloudEvents:id", "e-3"),
        ("cloudEvents:traceparent", &parent(3)),
    ];
    publish_message(&stack, &binary, &with_mara(3)).await;
    // The header was set by a later hop, so it takes precedence over the event's attribute.
    let with_both_contexts = cloud(4, json!({ "traceparent": parent(99) }));
    publish_message(&stack, &[("traceparent", &parent(4))], &with_both_contexts).await;
    let mut worker = stack.worker().await;
    stack.wait_until_decided(4).await;
    for n in 1..=4_u32 {
        let trace = format!("{n:032x}");
        let process = span_in_trace(&collector, &trace, &format!("process {}", queue_name(&stack))).await;
        assert_eq!(process.parent, format!("{n:016x}"));
        assert_eq!(process.attribute("hostmatch.event.id"), format!("e-{n}"));
    }
    assert_eq!(worker.stop().await, Some(0));
    assert_no_personal_data(&collector);
}

/// A sender decides whether its trace is kept, so only an authenticated one may send a context.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_context_of_an_authenticated_sender_is_continued() {
    let (collector, mut stack) = (Collector::start().await, salon(Backend::Sqlite).await);
    collector.collect_from(&mut stack);
    stack.set("edge.allow_unsigned", "false");
    stack.set("edge.gateway_secrets", SECRET);
    let (mut edge, base) = stack.edge("edge").await;
    let body = with_mara(1).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body.as_bytes());
    let (right, wrong) = (hex::encode(mac.finalize().into_bytes()), "0".repeat(64));
    let foreign = |n: u32| format!("{n:032x}");
    let client = crate::support::http_client();
    for (n, method, path, signature, status) in [
        (1, "POST", RETELL, Some(&wrong), 401),
        (2, "POST", RETELL, None, 401),
        (3, "GET", "/openapi.json", None, 200),
        (4, "POST", RETELL, Some(&right), 200),
    ] {
        let mut request = client.request(method.parse().unwrap(), format!("{base}{path}")).body(body.clone());
        request = request.header("traceparent", format!("00-{}-{n:016x}-01", foreign(n)));
        if let Some(signature) = signature {
            request = request.header("x-hostmatch-signature", signature);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{n}");
    }
    let request = span_in_trace(&collector, &foreign(4), "POST /api/retell/webhook").await;
    assert_eq!(request.parent, format!("{:016x}", 4));
    span_in_trace(&collector, &foreign(4), "publish bookings").await;
    assert_eq!(edge.stop().await, Some(0));
    let spans = collector.spans();
    for n in 1..=3 {
        assert!(spans.iter().all(|span| span.trace != foreign(n)), "{n}: {spans:?}");
    }
    let refused: Vec<&ReceivedSpan> = spans
        .iter()
        .filter(|span| span.name.starts_with("POST") && span.attribute("http.response.status_code") == "401")
        .collect();
    assert!(refused.len() == 2 && refused.iter().all(|span| span.parent.is_empty()), "{spans:?}");
    let logged = edge.log_lines("request");
    let of_status = |status: u16| logged.iter().filter(move |line| line["status"] == status);
    assert!(of_status(200).any(|line| line["trace_id"] == foreign(4)), "{logged:?}");
    assert!(
        of_status(401).all(|line| refused.iter().any(|span| line["trace_id"] == *span.trace)),
        "{logged:?}"
    );
}

/// Over HTTP a CloudEvent may carry an older context than the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cloudevents_over_http_are_linked_or_continued() {
    let (collector, mut stack) = (Collector::start().await, salon(Backend::Sqlite).await);
    collector.collect_from(&mut stack);
    let (mut edge, base) = stack.edge("edge").await;
    let (event_parent, request_parent) =
        (traceparent("01"), format!("00-{}-{}-01", "ab".repeat(16), "cd".repeat(8)));
    let structured = json!({
        "specversion": "1.0", "type": "appointment.created", "source": "/salon", "id": "e-1", "traceparent": event_parent,
        "data": with_mara(1),
    });
    let kind = ("content-type", "application/cloudevents+json");
    post(&base, "/v1/events", &[kind, ("traceparent", &request_parent)], &structured).await;
    let publish = span_in_trace(&collector, &"ab".repeat(16), "publish bookings").await;
    assert_eq!(publish.links, [(TRACE.to_owned(), CALLER.to_owned())]);
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-type", "appointment.created"),
        ("ce-id", "e-2"),
        ("ce-traceparent", &event_parent),
    ];
    post(&base, "/v1/events", &binary, &with_mara(2)).await;
    let request = span_in_trace(&collector, TRACE, "POST /v1/events").await;
    assert_eq!(request.parent, CALLER);
    assert_eq!(edge.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_of_a_file_starts_a_trace() {
    let (collector, mut stack) = (Collector::start().await, salon(Backend::Sqlite).await);
    collector.collect_from(&mut stack);
    for n in 1..=2 {
        stack.world.appointment(n, 15, &format!("Bk-{n}")).await;
    }
    std::fs::write(stack.home().join("events.json"), json!([with_mara(1), with_mara(2)]).to_string())
        .unwrap();
    let published = stack.command(&["publish", "events.json"]).output().unwrap();
    assert!(published.status.success(), "{published:?}");
    // The command sends its spans before it exits.
    let published: Vec<ReceivedSpan> =
        collector.spans().into_iter().filter(|span| span.name == "publish bookings").collect();
    assert_eq!(published.len(), 2);
    assert_ne!(published[0].trace, published[1].trace);
    stack.drain().await;
    for publish in published {
        let process = span_in_trace(&collector, &publish.trace, "process bookings").await;
        assert_eq!((process.parent, publish.parent.as_str()), (publish.id, ""));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_spool_keeps_the_context() {
    let Some(mut broker) = Broker::prepare() else { return };
    let collector = Collector::start().await;
    let world = World::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, Some(broker.url())).await;
    set_up_salon(&mut stack).await;
    collector.collect_from(&mut stack);
    stack.world.appointment(1, 15, "Bk-1").await;
    let (mut edge, base) = stack.edge("edge").await;
    post(&base, RETELL, &[("traceparent", &traceparent("01"))], &with_mara(1)).await;
    broker.run().await;
    edge.wait_for_log("the spool is empty: events go straight to the queue again").await;
    let mut worker = stack.worker().await;
    stack.wait_until_decided(1).await;
    let exchange = format!("{}.events", stack.config.prefix);
    let publish = span_in_trace(&collector, TRACE, &format!("publish {exchange}")).await;
    let process = span_in_trace(&collector, TRACE, &format!("process {}", queue_name(&stack))).await;
    assert_eq!(process.parent, publish.id);
    let forwarded = |span: &ReceivedSpan| span.links == [publish.link_ids()] && !span.failed;
    collector.span("linked to the publish", &format!("forward {exchange}"), forwarded).await;
    assert_eq!(worker.stop().await, Some(0));
    assert_eq!(edge.stop().await, Some(0));
}
