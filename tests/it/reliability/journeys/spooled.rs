//! The broker is down while ten thousand webhooks arrive: all of them are accepted, and once the broker is up
//! they are decided as if there had been no outage.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::broker::Broker;
use crate::support::{Backend, GatewayShape, Ledger, Stack, World};

const BOOKINGS: usize = 2_000;
const EACH: usize = 5;
const SENDERS: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_webhooks_without_a_broker_are_all_decided_in_order() {
    let Some(mut broker) = Broker::prepare() else { return };
    let world = World::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let mut stack = Stack::on(world, Some(broker.url())).await;
    // Events are decided one at a time, so that an event out of order becomes a stale one.
    stack.set("worker.pipelines", "1");
    stack.set("edge.allow_unsigned", "true");
    stack.set("log.level", "warn,hostmatch=info");
    insert_salon(&stack.world).await;
    let mut ledger = Ledger::open("ten thousand webhooks while the broker is unavailable", &stack).await;
    let (mut edge, base) = stack.edge("edge").await;

    let client = crate::support::http_client();
    let sender = async |sender: usize| {
        for n in 0..EACH {
            for booking in (sender..BOOKINGS).step_by(SENDERS) {
                let body = event(booking, n).to_string();
                let sent = client.post(format!("{base}/api/retell/webhook")).body(body).send().await.unwrap();
                assert_eq!(sent.status(), 200, "{booking}.{n}");
            }
        }
    };
    futures_util::future::join_all((0..SENDERS).map(sender)).await;
    for n in 0..BOOKINGS * EACH {
        ledger.record_sent(&event(n / EACH, n % EACH), true);
    }
    let ready = client.get(format!("{base}/health/ready")).send().await.unwrap();
    assert_eq!(ready.status(), 200, "a load balancer must keep sending");
    let ready: Value = ready.json().await.unwrap();
    assert_eq!(
        (&ready["status"], &ready["spool"]["messages"]),
        (&json!("degraded"), &json!(10_000)),
        "{ready}"
    );

    let mut worker = stack.start(&["serve", "worker"]);
    broker.run().await;
    stack.wait_until_decided(BOOKINGS * EACH).await;
    edge.wait_for_log("the spool is empty: events go straight to the queue again").await;
    stack.wait_until_idle().await;
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
    assert!(stack.is_empty().await);

    let counts = &worker.log_lines("the worker has stopped")[0]["counts"];
    assert_eq!(
        counts.to_string().matches(char::is_numeric).count(),
        5,
        "there must be only one outcome: {counts}"
    );
    let outcomes = stack.world.test.strings("SELECT DISTINCT outcome FROM hostmatch_events").await;
    assert_eq!(outcomes, ["assigned"], "every event must arrive once and in order");
    assert_eq!(stack.decided().await, 10_000);
    let last_host = |booking: usize| (booking + EACH - 1) % 5 + 1;
    let expected: BTreeMap<u32, String> = (0..BOOKINGS)
        .map(|booking| (u32::try_from(booking).unwrap() + 1, format!("{0}/{0}", last_host(booking))))
        .collect();
    assert_eq!(stack.world.appointments().await, expected);
    ledger.close(&stack).await;
}

/// Returns the `n`th event about a booking; each has another host than the previous one.
fn event(booking: usize, n: usize) -> Value {
    let host = (booking + n) % 5 + 1;
    json!({
        "event": "appointment.updated", "event_id": format!("b{booking}.{n}"),
        "calcom_booking": {
            "uid": format!("S{}", booking + 1),
            "hosts": [{ "id": host, "name": "P.", "email": format!("person{host}@salon.example") }],
            "updatedAt": format!("2026-03-01T10:{n:02}:00Z"),
        }
    })
}

async fn insert_salon(world: &World) {
    world.company(1).await;
    for n in 1..=5 {
        world.staff(n, 1, &format!("Person Nr{n}"), &format!("person{n}@salon.example")).await;
    }
    world.insert_appointments(1, 1..=u32::try_from(BOOKINGS).unwrap(), "S").await;
}
