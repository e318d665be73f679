//! Tests messages that are larger than the database server's largest packet, among usual ones.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::mariadb::MariaDb;
use crate::support::{Backend, GatewayShape, Ledger, Mix, Stack, Stream, TestDatabase, World, is_full};

const MEBIBYTE: usize = 1 << 20;
const HOLDING_MESSAGE: &str = "the database cannot be used: holding the batch without counting an attempt";
const MALFORMED: &str = "larger-than-a-packet";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_larger_than_a_packet_do_not_hold_the_others() {
    // MariaDB's own limit in a full run. The embedded queue takes messages of any size.
    let (packet, booking, letter) = if is_full() { (16, 24, 40) } else { (4, 6, 10) };
    let options = vec![format!("--max-allowed-packet={packet}M")];
    let Some(server) = MariaDb::start_with(options).await else { return };
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, GatewayShape::Live).await;
    let stack = Stack::on(World::in_database(test, &[]).await, None).await;
    let mut stream = Stream::new(60, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut large = 0;
    for (n, event) in stream.events.iter_mut().enumerate() {
        if n % 20 == 10 {
            let container = if event["calcom_booking"].is_object() { "calcom_booking" } else { "payload" };
            event[container]["padding"] = json!("x".repeat(booking * MEBIBYTE));
            large += 1;
        }
    }
    assert_eq!(large, 3);
    let malformed = json!({
        "event": "appointment.created", "event_id": MALFORMED,
        "calcom_booking": "x".repeat(letter * MEBIBYTE),
    });
    let name = "a booking and a dead letter larger than a packet";
    let mut ledger = Ledger::open(name, &stack).await;
    let (first, second) = stream.events.split_at(stream.events.len() / 2);
    ledger.publish(&stack, first).await;
    ledger.publish(&stack, &[malformed]).await;
    ledger.publish(&stack, second).await;
    let mut worker = stack.worker().await;
    stack.wait_until_decided(stream.len() + 1).await;
    stack.wait_until_idle().await;
    assert_eq!(worker.log_lines(HOLDING_MESSAGE), Vec::<Value>::new());
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;

    let world = &stack.world;
    let recorded = "hostmatch_dead_letters WHERE LENGTH(body) = 65536 AND error LIKE '%cannot be replayed%'";
    assert_eq!(world.count(recorded).await, 1);
    let Output { stdout, .. } =
        stack.command(&["deadletters", "plan", "--all", "--output", "json"]).output().unwrap();
    let plan: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(plan["plan"], Value::Null, "{plan}");
    assert!(plan["left_out"][0]["why"].as_str().unwrap().contains("beginning of its body"), "{plan}");
    ledger.close(&stack).await;
    for table in ["hostmatch_dead_letters", "hostmatch_events"] {
        world.run(&format!("DELETE FROM {table} WHERE event_id = '{MALFORMED}'")).await;
    }
    stream.assert_done(&stack).await;
}
