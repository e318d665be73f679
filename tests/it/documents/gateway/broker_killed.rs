//! The broker is killed between a publish and its confirm: the publisher gets an error, and when it
//! publishes the same event again there is one effect.

use std::time::Duration;

use serde_json::{Value, json};

use super::php::Php;
use crate::support::broker::Broker;
use crate::support::program::stderr;
use crate::support::proxy::{ACK, Fault, Proxy, When};
use crate::support::{Backend, GatewayShape, Ledger, Stack, World, eventually};

fn event(id: &str, uid: &str) -> Value {
    json!({
        "event": "appointment.created", "event_id": id,
        "calcom_booking": {
            "uid": uid, "hosts": [{"id": 310002, "name": "Jonas Weber", "email": "jonas.weber@salon.example"}],
        },
    })
}

#[tokio::test]
async fn a_broker_killed_before_the_confirm_is_reported_and_the_effect_happens_once() {
    let Some(mut broker) = Broker::prepare() else { return };
    if !super::php::is_installed() {
        return;
    }
    broker.run().await;
    let world = World::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    world.company(1).await;
    world.staff(2, 1, "Jonas Weber", "jonas.weber@salon.example").await;
    for (id, uid) in [(1, "by-php"), (2, "by-edge")] {
        world.appointment(id, 1, uid).await;
    }
    let mut stack = Stack::on(world, Some(broker.url())).await;
    let mut ledger = Ledger::open("a broker killed between publish and confirm: PHP and edge", &stack).await;
    // The first depth query creates the exchange and the queues.
    stack.queue.depth().await.unwrap();
    let mut php = Php::application(&format!("{}.events", stack.config.prefix)).unwrap();
    let (to_php, to_edge) = (
        Proxy::start(&Proxy::target(&broker.url())).await,
        Proxy::start(&Proxy::target(&broker.url())).await,
    );
    php.set_broker(&to_php.url(&broker.url()));
    // The edge has no spool, which would accept the event.
    for (key, value) in [("edge.allow_unsigned", "true"), ("edge.spool", ""), ("queue.confirm_timeout", "5s")]
    {
        stack.set(key, value);
    }
    stack.set("queue.url", &to_edge.url(&broker.url()));
    let (mut edge, address) = stack.edge("edge").await;
    let address = address.trim_start_matches("http://").to_owned();

    // The broker has received both events, but its confirms do not arrive; then it is killed.
    to_php.plan(When::Answers(ACK), Fault::Stall);
    to_edge.plan(When::Answers(ACK), Fault::Stall);
    let by_edge = event("e-edge", "by-edge");
    let publishing = php.run("publish.php", &["by-php", "e-php"]);
    let posting = ledger.post(&address, std::slice::from_ref(&by_edge));
    let killing = async {
        to_php.wait_for_fault().await;
        to_edge.wait_for_fault().await;
        broker.kill().await;
        to_php.cut();
        to_edge.cut();
    };
    let (reported, refused, ()) = tokio::join!(publishing, posting, killing);
    assert_eq!(reported.status.code(), Some(1), "PHP must report the failure: {}", stderr(&reported));
    assert!(stderr(&reported).contains("not confirmed"), "{}", stderr(&reported));
    assert_eq!(refused.len(), 1, "the edge must refuse the event");
    ledger.record_sent(&event("e-php", "by-php"), false);
    let unreachable = php.run("publish.php", &["by-php", "e-php"]).await;
    assert_eq!(unreachable.status.code(), Some(1), "PHP must report that the broker is still down");

    // Publish the same events again, with the same ids.
    broker.run().await;
    to_php.set(crate::support::proxy::Mode::Pass);
    to_edge.set(crate::support::proxy::Mode::Pass);
    php.run_successfully("publish.php", &["by-php", "e-php"]).await;
    ledger.record_sent(&event("e-php", "by-php"), true);
    eventually("the edge accepts the event", Duration::from_secs(60), async || {
        ledger.post(&address, std::slice::from_ref(&by_edge)).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(edge.stop().await, Some(0));
    stack.set("queue.url", &broker.url());
    stack.drain().await;
    assert_eq!(
        stack.world.rows("hostmatch_events", &["event_id", "outcome"]).await,
        ["e-edge|assigned", "e-php|assigned"]
    );
    assert_eq!(stack.world.rows("staff_changes", &["appointment_id"]).await, ["1", "2"]);
    assert_eq!(
        (stack.world.assigned(1).await, stack.world.assigned(2).await),
        ("2/310002".into(), "2/310002".into())
    );
    ledger.close(&stack).await;
}
