//! Tests the outbox on every engine: it publishes nothing from a transaction that is rolled back, loses
//! nothing while the broker is unreachable, and is not blocked by an event that is never accepted.

use serde_json::{Value, json};

use super::php::Php;
use crate::support::{Backend, GatewayShape, Stack, World, amqp_url};

on_engines!(the_outbox_loses_nothing_and_is_never_blocked);
async fn the_outbox_loses_nothing_and_is_never_blocked(backend: Backend) {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(1).await;
    world.staff(2, 1, "Jonas Weber", "jonas.weber@salon.example").await;
    let mut stack = Stack::on(world, Some(amqp_url())).await;
    // The first depth query creates the exchange and the queues.
    stack.queue.depth().await.unwrap();
    let Some(mut php) = Php::application(&format!("{}.events", stack.config.prefix)) else { return };
    php.set_broker(&amqp_url());
    php.set_database(&stack.world.test);
    let reported: Value = serde_json::from_str(&php.run_successfully("outbox.php", &["up"]).await).unwrap();
    assert_eq!(
        reported,
        json!({
            "rolled back": 0, "added twice": 1, "inside the transaction": "LogicException",
            "broker unreachable": "NotPublished", "kept": 1,
            "with an event that is never accepted": "NotPublished", "remaining": 1, "published": 60, "after its removal": 0,
        }),
        "{backend:?}"
    );
    // The document's own script: an appointment and its event, which is published after the commit.
    php.run_successfully("book.php", &["booked"]).await;
    assert_eq!(stack.world.count("hostmatch_outbox").await, 0);
    // Publish by HTTP, instead of through the publisher.
    stack.set("edge.allow_unsigned", "true");
    let (mut edge, address) = stack.edge("edge").await;
    php.set("HOSTMATCH_EDGE", &address);
    assert_eq!(php.run_successfully("outbox.php", &["by HTTP"]).await, r#"{"published":1,"remaining":0}"#);
    assert_eq!(edge.stop().await, Some(0));
    stack.drain().await;
    assert_eq!(
        stack.world.rows("appointments", &["calcom_v2_booking_id", "staff_id"]).await,
        ["booked|2"],
        "{backend:?}"
    );
    php.run_successfully("outbox.php", &["down"]).await;
}
