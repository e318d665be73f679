//! Faults hit the connection between the edge and its broker while events are posted: every event that the
//! edge has accepted is decided, and has one effect.

use std::time::Duration;

use serde_json::Value;

use crate::support::proxy::{ACK, Fault, Mode, PUBLISH, Proxy, When};
use crate::support::{
    Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, amqp_url, eventually, is_full,
};

/// The points at which the fault happens.
const POINTS: [(&str, When); 4] = [
    ("before a confirm arrives", When::Answers(ACK)),
    ("while connecting", When::Bytes(700)),
    ("after 3000 bytes", When::Bytes(3_000)),
    ("after 9000 bytes", When::Bytes(9_000)),
];

async fn with_fault(what: &str, when: When, fault: Fault) {
    let (stack, stream, mut ledger, proxy) = set_up(&format!("{what}, edge: {fault:?}")).await;
    proxy.plan(when, fault);
    let (mut edge, base) = stack.edge("edge").await;
    post(&mut ledger, &base, &stream).await;
    proxy.wait_for_fault().await;
    proxy.set(Mode::Pass);
    assert_nothing_lost(stack, ledger, &mut edge, &base).await;
}

async fn set_up(what: &str) -> (Stack, Stream, Ledger, Proxy) {
    let mut stack = Stack::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let proxy = Proxy::start(&Proxy::target(&amqp_url())).await;
    stack.set("edge.allow_unsigned", "true");
    stack.set("edge.request_timeout", "4s");
    stack.set("queue.url", &format!("{}/%2f?heartbeat=2", proxy.url(&amqp_url()).trim_end_matches('/')));
    stack.set("queue.confirm_timeout", "2s");
    stack.set("queue.connect_timeout", "3s");
    let stream = Stream::new(if is_full() { 200 } else { 60 }, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let ledger = Ledger::open(what, &stack).await;
    (stack, stream, ledger, proxy)
}

/// Posts all events. The edge refuses none of them: what the broker does not confirm goes into the spool.
async fn post(ledger: &mut Ledger, base: &str, stream: &Stream) {
    // The edge does not queue events that cannot change anything.
    let events: Vec<Value> =
        stream.events.iter().filter(|event| event["event"].is_string()).cloned().collect();
    let refused = ledger.post(base.trim_start_matches("http://"), &events).await;
    assert!(refused.is_empty(), "{refused:?}");
}

async fn assert_nothing_lost(mut stack: Stack, ledger: Ledger, edge: &mut Process, base: &str) {
    let client = crate::support::http_client();
    eventually("the spool is empty", Duration::from_secs(60), async || {
        let ready = client.get(format!("{base}/health/ready")).send().await.unwrap();
        (ready.json::<Value>().await.unwrap()["status"] == "ready").then_some(())
    })
    .await;
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    stack.set("queue.url", &amqp_url());
    stack.drain().await;
    ledger.close(&stack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_edges_connection_breaks_at_any_point() {
    for (point, when) in POINTS {
        for fault in [Fault::Reset, Fault::SlowClose, Fault::Cut, Fault::Stall] {
            // A normal run tests only the first point, with two faults.
            if is_full() || (point == POINTS[0].0 && [Fault::Reset, Fault::Stall].contains(&fault)) {
                with_fault(point, when, fault).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_connection_of_the_edge_has_no_other_effect() {
    let (stack, stream, mut ledger, proxy) = set_up("20 ms late, edge").await;
    proxy.set(Mode::Latency(Duration::from_millis(20)));
    let (mut edge, base) = stack.edge("edge").await;
    edge.wait_for_log("connected to the broker").await;
    post(&mut ledger, &base, &stream).await;
    assert!(!edge.stderr().contains("go into the spool"), "{}", edge.stderr());
    assert_nothing_lost(stack, ledger, &mut edge, &base).await;
}

/// The connection breaks when the first spooled event is sent: the event must still be in the spool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spooled_event_leaves_the_spool_with_its_confirm() {
    let faults = [Fault::Reset, Fault::SlowClose, Fault::Cut, Fault::Stall];
    for fault in if is_full() { &faults[..] } else { &faults[..1] } {
        let what = format!("while the spool is forwarded, edge: {fault:?}");
        let (stack, stream, mut ledger, proxy) = set_up(&what).await;
        proxy.set(Mode::Refuse);
        let (mut edge, base) = stack.edge("edge").await;
        post(&mut ledger, &base, &stream).await;
        proxy.plan(When::Sends(PUBLISH), *fault);
        proxy.set(Mode::Pass);
        proxy.wait_for_fault().await;
        if *fault == Fault::Stall {
            edge.wait_for_log("the queue does not confirm; trying again").await;
            proxy.set(Mode::Pass);
        }
        assert_nothing_lost(stack, ledger, &mut edge, &base).await;
    }
}
