//! Floods of messages over AMQP whose headers are forged or fill a whole frame, among usual events.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::foreign::{ForeignPublisher, with_headers};
use crate::support::{Backend, GatewayShape, Ledger, Mix, Stack, Stream, is_full};

/// The time limit for everything. Before headers were limited, one such message took ten minutes.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A header that nearly fills a frame, in bytes.
const LARGE: usize = 130_900;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_headers_and_headers_that_fill_a_frame_do_not_hold_the_others() {
    let stack = Stack::new(Backend::Postgres, GatewayShape::Roadmap).await;
    let (usual, each) = if is_full() { (3_000, 200) } else { (300, 3) };
    let stream = Stream::new(usual, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    let mut ledger = Ledger::open("headers that are forged, or fill a frame", &stack).await;
    let publisher = ForeignPublisher::connect(stack.config.url.expose()).await;
    let exchange = format!("{}.events", stack.config.prefix);
    let large = "h".repeat(LARGE);
    let kinds = [
        vec![("x-hostmatch-foo", &*large)],
        vec![("x-note", &*large)],
        vec![
            ("x-hostmatch-dead-id", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
            ("x-hostmatch-attempt", "99"),
            ("x-hostmatch-first-seen", "-9223372036854775808"),
            ("x-hostmatch-replay", "1"),
        ],
    ];
    let mut malformed = 0;
    for (n, part) in stream.events.chunks(stream.len().div_ceil(each)).enumerate() {
        ledger.publish(&stack, part).await;
        for (kind, headers) in kinds.iter().enumerate() {
            let event = json!({
                "event": "appointment.created", "event_id": format!("foreign-{kind}-{n}"), "calcom_booking": n,
            });
            let body = event.to_string();
            publisher.publish(&exchange, "appointment.created", body.as_bytes(), with_headers(headers)).await;
            ledger.record_sent(&event, true);
            malformed += 1;
        }
    }
    let began = Instant::now();
    let mut worker = stack.worker().await;
    stack.wait_until_decided(stream.len() + malformed).await;
    stack.wait_until_idle().await;
    ledger.assert_within("until all is decided", began.elapsed(), TIME_LIMIT);
    let waiting = worker.log_lines("retries and dead letters wait for the broker");
    ledger.assert_at_most("waits for the broker", waiting.len(), 0, "");
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    stack.drain().await;
    ledger.close(&stack).await;
    let letters = stack.world.count("hostmatch_dead_letters WHERE reason = 'malformed'").await;
    assert_eq!(letters, i64::try_from(malformed).unwrap());
    for table in ["hostmatch_dead_letters", "hostmatch_events"] {
        stack.world.run(&format!("DELETE FROM {table} WHERE event_id LIKE 'foreign-%'")).await;
    }
    stream.assert_done(&stack).await;
}
