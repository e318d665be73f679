//! The salon of these tests, and one function for each kind of event.

use std::cell::RefCell;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use lapin::BasicProperties;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::foreign::ForeignPublisher;
use crate::support::{Process, Stack, World, eventually};

pub(super) const CALCOM_SECRET: &str = "whsec_journeys";
pub(super) const RETELL: &str = "/api/retell/webhook";
pub(super) const CALCOM: &str = "/webhooks/calcom";
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);

/// Creates two salons, each with a Frida Spitz, and all appointments except the late and the missing one.
pub(super) async fn insert_salon(world: &World) {
    for company in [1, 2] {
        world.company(company).await;
    }
    world.staff(1, 1, "Frida Spitz", "frida@salon.example").await;
    world.staff(2, 1, "Nadja Okafor", "nadja@salon.example").await;
    world.staff(3, 1, "Boris Kammerlander", "boris@salon.example").await;
    world.staff(4, 2, "Frida Spitz", "frida@salon.example").await;
    for (id, reference) in [
        (1, "ABC123"),
        (2, "uid-webhook"),
        (3, "uid-amqp"),
        (4, "uid-file"),
        (5, "uid-name"),
        (7, "uid-tenant"),
        (8, "uid-hostless"),
        (9, "uid-twice"),
    ] {
        world.appointment(id, 1, reference).await;
    }
}

/// Posts and publishes events, and keeps a copy of each.
pub(super) struct Sender<'a> {
    pub(super) stack: &'a Stack,
    base: String,
    client: reqwest::Client,
    sent: RefCell<Vec<Value>>,
}

impl<'a> Sender<'a> {
    pub(super) fn new(stack: &'a Stack, base: String) -> Self {
        let client = crate::support::http_client();
        Self { stack, base, client, sent: RefCell::default() }
    }

    async fn request(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> (StatusCode, Value) {
        let mut request = self.client.post(format!("{}{path}", self.base)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// Posts an event that must be accepted; returns its id.
    pub(super) async fn post(&self, body: &Value) -> String {
        self.sent.borrow_mut().push(body.clone());
        let headers = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
        let (status, receipt) = self.request(RETELL, &headers, body.to_string().into()).await;
        assert_eq!((status, &receipt["status"]), (StatusCode::OK, &json!("queued")), "{receipt}");
        receipt["id"].as_str().unwrap().to_owned()
    }

    /// Posts a webhook with Cal.com's signature; returns the status and the response.
    pub(super) async fn webhook(&self, body: &[u8]) -> (StatusCode, Value) {
        let mut mac = Hmac::<Sha256>::new_from_slice(CALCOM_SECRET.as_bytes()).unwrap();
        mac.update(body);
        let signature = hex::encode(mac.finalize().into_bytes());
        self.request(CALCOM, &[("x-cal-signature-256", &signature)], body.to_vec()).await
    }

    /// Returns all values in the bodies except ids, types and times.
    pub(super) fn personal_data(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.sent.borrow().iter().for_each(|body| collect_values("", body, &mut found));
        found.retain(|text| text.len() > 3);
        found.sort();
        found.dedup();
        found
    }
}

/// Fields whose values may be logged: ids, types and times.
const TECHNICAL: [&str; 14] = [
    "event",
    "event_id",
    "triggerEvent",
    "id",
    "uid",
    "call_id",
    "status",
    "start",
    "startTime",
    "endTime",
    "createdAt",
    "updatedAt",
    "timeZone",
    "type",
];

fn collect_values(key: &str, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if !TECHNICAL.contains(&key) => found.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_values(key, item, found)),
        Value::Object(fields) => fields.iter().for_each(|(key, value)| collect_values(key, value, found)),
        _ => {}
    }
}

/// Returns the gateway's event about a booking, with all the other data that a real event has.
pub(super) fn native(id: &str, uid: &str, host: Value) -> Value {
    json!({
        "event": "appointment.created", "event_id": id, "call_id": format!("call_{id}"),
        "calcom_booking": {
            "uid": uid, "title": format!("Balayage for Wanda Quill ({id})"), "start": "2026-03-02T09:00:00Z",
            "updatedAt": "2026-03-01T08:00:00.000Z", "hosts": host,
            "attendees": [{ "name": "Wanda Quill", "email": "wanda.quill@guests.example", "phoneNumber": "+49 170 5550199" }],
            "bookingFieldsResponses": { "notes": "allergic to henna", "email": "wanda.quill@guests.example" },
        }
    })
}

/// Sends the test payload of the gateway's roadmap, with an invented person.
pub(super) async fn send_roadmap_event(sender: &Sender<'_>) -> String {
    sender
        .post(&json!({
            "event": "appointment.created", "call_id": "test_call_123",
            "calcom_booking": {
                "id": "ABC123",
                "hosts": [{ "id": 1_420_209, "email": "frida@salon.example", "name": "Frida Spitz" }],
            }
        }))
        .await
}

/// Sends Cal.com's own webhook, which has an organizer instead of hosts; once with a wrong signature, too.
pub(super) async fn send_webhook(sender: &Sender<'_>) -> String {
    let body = json!({
        "triggerEvent": "BOOKING_CREATED", "createdAt": "2026-03-01T08:00:00.000Z",
        "payload": {
            "uid": "uid-webhook", "bookingId": 880_001, "title": "Undercut between Nadja O. and Piet Zander",
            "startTime": "2026-03-02T10:00:00Z", "endTime": "2026-03-02T10:30:00Z", "status": "ACCEPTED",
            "organizer": { "id": 2_000_002, "name": "Nadja O.", "email": " Nadja@Salon.example", "timeZone": "Europe/Berlin" },
            "attendees": [{ "name": "Piet Zander", "email": "piet.zander@guests.example" }],
            "additionalNotes": "brings a very small dog",
        }
    });
    sender.sent.borrow_mut().push(body.clone());
    let (status, receipt) = sender.webhook(body.to_string().as_bytes()).await;
    assert_eq!(status, StatusCode::OK, "{receipt}");
    // A wrong signature is refused.
    let wrong = [("x-cal-signature-256", "00")];
    let (status, _) = sender.request(CALCOM, &wrong, body.to_string().into()).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    receipt["id"].as_str().unwrap().to_owned()
}

/// Publishes over AMQP, like a program that knows only our exchange.
pub(super) async fn publish_by_amqp(sender: &Sender<'_>) {
    let body = native("amqp-1", "uid-amqp", json!([{ "id": 1_420_209, "name": "Frida S." }]));
    sender.sent.borrow_mut().push(body.clone());
    let publisher = ForeignPublisher::connect(sender.stack.config.url.expose()).await;
    let exchange = format!("{}.events", sender.stack.config.prefix);
    let properties = BasicProperties::default().with_app_id("salon app".into());
    publisher.publish(&exchange, "appointment.created", body.to_string().as_bytes(), properties).await;
}

/// Runs `hostmatch publish FILE`. The event lacks the host's address: the roadmap's event has mapped the host.
pub(super) async fn publish_from_file(sender: &Sender<'_>) {
    let body = native("file-1", "uid-file", json!([{ "id": 1_420_209, "name": "Frida S." }]));
    sender.sent.borrow_mut().push(body.clone());
    std::fs::write(sender.stack.home().join("events.json"), body.to_string()).unwrap();
    let mut publish: Process = sender.stack.start(&["publish", "events.json", "--output", "json"]);
    assert!(publish.wait().await.success(), "{}", publish.stderr());
    assert_eq!(publish.report()["published"], 1);
}

/// Sends a host that matches by name only.
pub(super) async fn send_name_only(sender: &Sender<'_>) {
    let host = json!([{ "id": 3_000_003, "name": "boris  kammerlander", "email": "bk@elsewhere.example" }]);
    sender.post(&native("name-1", "uid-name", host)).await;
}

/// Sends an event whose appointment is written only after the first attempt.
pub(super) async fn send_before_appointment(sender: &Sender<'_>) {
    sender
        .post(&native("late-1", "uid-late", json!([{ "id": 1_420_209, "email": "frida@salon.example" }])))
        .await;
    eventually("the event waits for another attempt", WAIT_TIMEOUT, async || {
        (sender.stack.queue.depth().await.unwrap().waiting > 0).then_some(())
    })
    .await;
    sender.stack.world.appointment(6, 1, "uid-late").await;
}

/// Sends an event whose appointment never appears. Returns the event.
pub(super) async fn send_without_appointment(sender: &Sender<'_>) -> Value {
    let body = native("missing-1", "uid-missing", json!([{ "id": 1_420_209, "name": "Frida S." }]));
    sender.post(&body).await;
    body
}

/// A body that cannot be read.
pub(super) const GARBAGE: &[u8] = b"\xff\xfe{ \"name\": \"Gundula Garbage\" ";

pub(super) async fn send_garbage(sender: &Sender<'_>) -> String {
    sender.sent.borrow_mut().push(json!("Gundula Garbage"));
    let (status, receipt) = sender.webhook(GARBAGE).await;
    assert_eq!((status, &receipt["status"]), (StatusCode::OK, &json!("queued")), "{receipt}");
    receipt["id"].as_str().unwrap().to_owned()
}

/// Sends an event that names the second salon, about an appointment of the first.
pub(super) async fn send_foreign_tenant(sender: &Sender<'_>) {
    let mut body = native("tenant-1", "uid-tenant", json!([{ "id": 4, "email": "frida@salon.example" }]));
    body["company_id"] = json!(2);
    sender.post(&body).await;
}

pub(super) async fn send_without_host(sender: &Sender<'_>) {
    sender.post(&native("hostless-1", "uid-hostless", json!([]))).await;
}

/// Sends the same event three times.
pub(super) async fn send_repeats(sender: &Sender<'_>) {
    let host = json!([{ "id": 2_000_002, "name": "Nadja O.", "email": "nadja@salon.example" }]);
    let body = native("twice-1", "uid-twice", host);
    for _ in 0..3 {
        sender.post(&body).await;
    }
}

/// Sends a ping, which gets a response but is not queued.
pub(super) async fn send_ping(sender: &Sender<'_>) {
    let body = json!({ "triggerEvent": "PING", "createdAt": "2026-03-01T08:00:00.000Z", "payload": { "type": "Test" } });
    let (status, receipt) = sender.webhook(body.to_string().as_bytes()).await;
    assert_eq!((status, &receipt["status"]), (StatusCode::OK, &json!("ignored")), "{receipt}");
}
