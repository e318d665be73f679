//! Tests the traces that a collector receives: one trace from the request to the commit, retries and replays
//! linked to it, and no trace at all if tracing is off.

mod entry_points;
mod retries_and_replays;
mod collectors;

use hostmatch::queue::Message;
use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::{Backend, GatewayShape, Stack, event, host};

/// Span kinds of OTLP.
const SERVER: i32 = 2;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A caller's trace and span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{CALLER}-{flags}")
}

/// Creates an installation that accepts unsigned events, with one salon, in which Mara (host 11) works.
async fn salon(backend: Backend) -> Stack {
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    set_up_salon(&mut stack).await;
    stack
}

async fn set_up_salon(stack: &mut Stack) {
    stack.set("edge.allow_unsigned", "true");
    stack.set("log.level", "info,hostmatch=debug");
    stack.world.company(15).await;
    stack.world.staff(1, 15, "Mara Lind", "mara.lind@salon.example").await;
}

/// All personal data in these tests.
const PERSONAL: [&str; 5] = ["Mara", "Lind", "salon.example", "Ole Brandt", "+49 170 5550123"];

/// Returns an event about booking `Bk-{n}`, with Mara, and with a guest.
fn with_mara(n: u32) -> Value {
    let mut event =
        event(&format!("e-{n}"), &format!("Bk-{n}"), n, host(11, "Mara Lind", "mara.lind@salon.example"));
    event["calcom_booking"]["attendees"] =
        json!([{ "name": "Ole Brandt", "phoneNumber": "+49 170 5550123" }]);
    event
}

async fn post(base: &str, path: &str, headers: &[(&str, &str)], body: &Value) {
    let client = crate::support::http_client();
    let mut request = client.post(format!("{base}{path}")).body(body.to_string());
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    assert!(response.status().is_success(), "{}: {}", response.status(), response.text().await.unwrap());
}

/// Publishes a message to the queue, as another program would.
async fn publish_message(stack: &Stack, headers: &[(&str, &str)], body: &Value) {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let routing_key = "appointment.created".to_owned();
    let message = Message { body: body.to_string().into(), headers, routing_key, ..Message::default() };
    stack.queue.publisher().publish(vec![message]).await.unwrap();
}

fn queue_name(stack: &Stack) -> String {
    if stack.config.url.expose().starts_with("sqlite") {
        "bookings".to_owned()
    } else {
        format!("{}.bookings", stack.config.prefix)
    }
}

fn assert_no_personal_data(collector: &Collector) {
    let bytes = collector.bytes();
    let text = String::from_utf8_lossy(&bytes);
    for personal in PERSONAL {
        assert!(!text.contains(personal), "{personal}");
    }
}
