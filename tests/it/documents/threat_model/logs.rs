//! Outsiders cannot forge log lines: line breaks, escape sequences and very long strings in input stay inside
//! one line. Passwords in URLs are not logged.

use hostmatch::queue::Message;
use serde_json::json;

use crate::support::program::command;
use crate::support::{Backend, GatewayShape, Stack};

/// A string with line breaks, and with escape sequences that a terminal would execute.
const HOSTILE: &str = "x\r\nINJECTED level=error\u{1b}[2J\u{1b}]0;INJECTED\u{7}\u{9b}31m\u{202e}\nINJECTED";

fn message(body: String) -> Message {
    Message { body: body.into(), routing_key: "appointment.created".into(), ..Message::default() }
}

async fn assert_one_line_per_message(format: &str) {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    stack.set("log.format", format);
    stack.set("log.level", "trace");
    stack.set("edge.allow_unsigned", "true");
    // The edge logs its address in both formats.
    let mut all = stack.start(&["serve", "all", "--listen", "127.0.0.1:0"]);
    let base =
        crate::support::eventually("the edge listens", std::time::Duration::from_secs(60), async || {
            let text = all.stderr();
            let line = text.lines().find(|line| line.contains("the edge is listening"))?.to_owned();
            let port: String =
                line.split("127.0.0.1:").nth(1)?.chars().take_while(char::is_ascii_digit).collect();
            Some(format!("http://127.0.0.1:{port}"))
        })
        .await;
    let long = "INJECTED".repeat(20_000);
    let client = crate::support::http_client();
    let mut hostile = Vec::new();
    for text in [HOSTILE, &long] {
        hostile.extend([
            json!({ "event": text, "event_id": text, "calcom_booking": { "uid": text } }),
            json!({ "event": "appointment.created", "event_id": text, "company_id": text, "calcom_booking": "no" }),
            json!({ "event": "appointment.created", "event_id": "a", "calcom_booking": { "uid": text, "hosts": [{ "id": text, "name": text, "email": text }] } }),
            json!({ "triggerEvent": text, "createdAt": text, "payload": { "uid": text, text: text } }),
        ]);
    }
    for event in &hostile {
        let post = client.post(format!("{base}/api/retell/webhook")).body(event.to_string());
        // A header may have bytes over 127 and tabs, but no line break.
        let hostile_header = reqwest::header::HeaderValue::from_bytes(b"INJECTED\t\x9b2J\xff").unwrap();
        let sent = post
            .header("traceparent", &hostile_header)
            .header("x-request-id", &hostile_header)
            .header("user-agent", hostile_header);
        sent.send().await.unwrap();
    }
    // The same text is published directly to the queue, without the edge.
    let mut messages: Vec<Message> = hostile.iter().map(|event| message(event.to_string())).collect();
    let hostile_metadata = Message {
        body: b"\x1b[2J\nINJECTED".to_vec().into(),
        routing_key: "INJECTED\n\u{1b}[2J".into(),
        message_type: Some("INJECTED\n\u{1b}[2J".into()),
        message_id: Some("INJECTED\n\u{1b}[2J".into()),
        headers: [
            ("x-hostmatch-type".into(), "INJECTED\n\u{1b}[2J".into()),
            ("INJECTED\n".into(), "\u{1b}".into()),
        ]
        .into(),
        ..Default::default()
    };
    messages.push(hostile_metadata);
    stack.queue.publisher().publish(messages).await.unwrap();
    stack.wait_until_idle().await;
    assert_eq!(all.stop().await, Some(0));
    assert!(stack.world.count("hostmatch_dead_letters").await > 3);
    let log = all.stderr();
    for line in log.lines() {
        let is_start = if format == "json" { line.starts_with('{') } else { line.starts_with("20") };
        assert!(is_start, "a forged line: {:?}", &line[..line.len().min(200)]);
        assert!(!line.contains(|c: char| c.is_control() || c == '\u{202e}'), "{line:?}");
        assert!(line.len() < 8_000, "the line is too long: {:?}", &line[..200]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_input_stays_in_one_line_of_text() {
    assert_one_line_per_message("text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_input_stays_in_one_line_of_json() {
    assert_one_line_per_message("json").await;
}

#[test]
fn no_password_is_in_the_output_of_a_failing_start() {
    let urls = [
        ("DATABASE", "mysql://user:sEcReT-1@127.0.0.1:1/x?ssl-key=sEcReT-2"),
        ("DATABASE", "postgres://user:sEcReT-1@127.0.0.1:1/x?password=sEcReT-2"),
        ("DATABASE", "postgres://user:sEcReT-1@127.0.0.1:notaport/x"),
        ("DATABASE", "mysql://user:sEc%ZZReT-1@127.0.0.1:1/x?nosuchoption=sEcReT-2"),
        ("DATABASE", "nosuch://user:sEcReT-1@127.0.0.1:1/x"),
        ("QUEUE", "amqp://user:sEcReT-1@127.0.0.1:1/%2f?nosuch=sEcReT-2"),
        ("QUEUE", "amqps://user:sEcReT-1@127.0.0.1:1"),
        ("QUEUE", "amqp://user:sEcReT-1@127.0.0.1:notaport"),
        ("QUEUE", "nosuch://user:sEcReT-1@127.0.0.1:1"),
    ];
    let home = tempfile::tempdir().unwrap();
    let event = home.path().join("event.json");
    std::fs::write(&event, r#"{"event": "appointment.created", "calcom_booking": {"uid": "u"}}"#).unwrap();
    for (section, url) in urls {
        let commands: [&[&str]; 5] = [
            &["config", "show", "-vv"],
            &["config", "show", "--output", "json"],
            &["config", "validate"],
            &["serve", "worker", "--until-empty", "-vv"],
            if section == "QUEUE" {
                &["publish", event.to_str().unwrap(), "-vv"]
            } else {
                &["migrate", "status", "-vv"]
            },
        ];
        for arguments in commands {
            let mut command = command(arguments);
            command.env(format!("HOSTMATCH_{section}__URL"), url).current_dir(home.path());
            command
                .env("HOSTMATCH_DATABASE__ACQUIRE_TIMEOUT", "1s")
                .env("HOSTMATCH_QUEUE__CONNECT_TIMEOUT", "1s");
            let output = command.env("HOSTMATCH_QUEUE__CONFIRM_TIMEOUT", "1s").output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text);
            for secret in ["ReT-1", "ReT-2"] {
                assert!(!text.contains(secret), "{url} {arguments:?}: {text}");
            }
        }
    }
}
