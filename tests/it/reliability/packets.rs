//! Tests messages that are larger than the database server's largest packet, among usual ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mariadb::MariaDb;
use crate::support::program::{json as json_of, stdout};
use crate::support::{Backend, GatewayShape, Ledger, Mix, Stack, Stream, TestDatabase, World, is_full};

const MEBIBYTE: usize = 1 << 20;
const HOLDING_MESSAGE: &str = "the database cannot be used: holding the batch without counting an attempt";
/// The time limit for everything. A batch that is held takes at least `worker.hold`, two minutes.
const TIME_LIMIT: Duration = Duration::from_secs(60);
const MALFORMED: &str = "larger-than-a-packet";

/// Makes the booking of an event larger by this many bytes.
fn pad(event: &mut Value, bytes: usize) {
    let container = if event["calcom_booking"].is_object() { "calcom_booking" } else { "payload" };
    event[container]["padding"] = json!("x".repeat(bytes));
}

/// Starts a server whose largest packet this is, and a world on it with the embedded queue, which takes
/// messages of any size.
async fn stack_with_packet(size: &str) -> Option<(MariaDb, Stack)> {
    let server = MariaDb::start_with(vec![format!("--max-allowed-packet={size}")]).await?;
    let test = TestDatabase::migrated_on(server.url(), Backend::MariaDb, GatewayShape::Live).await;
    let stack = Stack::on(World::in_database(test, &[]).await, None).await;
    Some((server, stack))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_larger_than_a_packet_do_not_hold_the_others() {
    // MariaDB's own limit in a full run.
    let (packet, booking, letter) = if is_full() { (16, 24, 40) } else { (4, 6, 10) };
    let Some((_server, stack)) = stack_with_packet(&format!("{packet}M")).await else { return };
    let mut stream = Stream::new(60, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    for n in [10, 30, 50] {
        pad(&mut stream.events[n], booking * MEBIBYTE);
    }
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
    let began = Instant::now();
    stack.wait_until_decided(stream.len() + 1).await;
    stack.wait_until_idle().await;
    ledger.assert_within("until all is decided", began.elapsed(), TIME_LIMIT);
    ledger.assert_at_most("batches held", worker.log_lines(HOLDING_MESSAGE).len(), 0, "");
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;

    let world = &stack.world;
    let recorded = "hostmatch_dead_letters WHERE LENGTH(body) = 65536 AND error LIKE '%cannot be replayed%'";
    assert_eq!(world.count(recorded).await, 1);
    let plan =
        json_of(&stack.command(&["deadletters", "plan", "--all", "--output", "json"]).output().unwrap());
    assert_eq!(plan["plan"], Value::Null, "{plan}");
    assert!(plan["left_out"][0]["why"].as_str().unwrap().contains("beginning of its body"), "{plan}");
    let id = plan["left_out"][0]["id"].to_string();
    let shown = stack.command(&["deadletters", "show", &id, "--output", "json"]).output().unwrap();
    let forecast = &json_of(&shown)["cure"];
    assert_eq!((&forecast["foretold"], &forecast["reason"]), (&json!("failed"), &json!("cut")));
    assert!(forecast["commands"][0].as_str().unwrap().contains("discard --ids"), "{forecast}");
    let shown = stack.command(&["deadletters", "show", &id]).output().unwrap();
    assert!(stdout(&shown).contains("replay now: only the beginning of its body is stored"), "{shown:?}");
    let replay = ["deadletters", "replay", "--ids", &id, "--reason", "again", "--yes"];
    let replay = stack.command(&replay).output().unwrap();
    assert_eq!(replay.status.code(), Some(3), "{replay:?}");
    assert!(stdout(&replay).contains("only the beginning of its body is stored"), "{replay:?}");
    ledger.close(&stack).await;
    for table in ["hostmatch_dead_letters", "hostmatch_events"] {
        world.run(&format!("DELETE FROM {table} WHERE event_id = '{MALFORMED}'")).await;
    }
    stream.assert_done(&stack).await;
}

/// Bookings of which one row fits into a packet and two do not are all decided. One whose row alone does not fit
/// becomes a dead letter, alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_halved_until_its_rows_fit_into_a_packet() {
    const USUAL: usize = 70_000;
    // Less than what is stored of a booking as received.
    const TOO_LARGE: usize = 200_000;
    let Some((_server, stack)) = stack_with_packet("128K").await else { return };
    let mut stream = Stream::new(60, Mix::Decidable);
    for event in &mut stream.events {
        pad(event, USUAL);
    }
    stream.add_dead_letter(900, 30);
    pad(&mut stream.events[30], TOO_LARGE);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("rows that together are larger than a packet", &stack).await;
    ledger.publish(&stack, &stream.events).await;
    let began = Instant::now();
    let mut worker = stack.worker().await;
    stack.wait_until_decided(stream.len()).await;
    stack.wait_until_idle().await;
    ledger.assert_within("until all is decided", began.elapsed(), TIME_LIMIT);
    ledger.assert_at_most("batches held", worker.log_lines(HOLDING_MESSAGE).len(), 0, "");
    let refused = worker.log_lines("the database refused a transaction");
    assert!(refused.iter().any(|line| line["events"].as_u64() > Some(8)), "{refused:?}");
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
    stream.assert_done(&stack).await;
}
