//! The confirmed publisher: it reports every event that RabbitMQ does not accept, with the reason, and it
//! replaces a connection that broke while it was idle.

use serde_json::{Value, json};

use super::php::Php;
use crate::support::proxy::Proxy;
use crate::support::{amqp_url, unique};

#[tokio::test]
async fn an_event_that_is_not_accepted_is_reported() {
    let prefix = unique("publisher");
    let Some(mut php) = Php::application(&prefix) else { return };
    php.set_broker(&amqp_url());
    let reported: Value =
        serde_json::from_str(&php.run_successfully("publisher.php", &[&prefix]).await).unwrap();
    let assert_result = |case: &str, text: &str| {
        let result = reported[case].as_str().unwrap_or_else(|| panic!("no {case}: {reported}"));
        assert!(result.contains(text), "{case}: {result}");
    };
    assert_result("missing exchange", "NotPublished: not confirmed: NOT_FOUND");
    assert_result("no queue", "NotPublished: no queue accepted e-1 (NO_ROUTE)");
    assert_result("full queue", "NotPublished: the broker refused e-2");
    assert_result("after a refusal", "published");
    assert_result("no id", "InvalidArgumentException: an event needs a string in event_id");
    assert_result("no event at all", "published");
    assert_result("unreachable broker", "NotPublished: not confirmed:");
    assert_eq!(
        reported["message"],
        json!({
            "content_type": "application/json", "delivery_mode": 2, "message_id": "e-3", "type": "appointment.created",
            "app_id": "gateway", "timestamp": reported["message"]["timestamp"],
            "body": "{\"event\":\"appointment.created\",\"event_id\":\"e-3\",\"price\":1.0,\"name\":\"Zoë/Ö\"}",
        })
    );
    assert!(reported["message"]["timestamp"].as_i64().is_some_and(|seconds| seconds > 1_700_000_000));
}

#[tokio::test]
async fn a_connection_that_broke_while_it_was_idle_is_replaced() {
    let prefix = unique("publisher");
    let Some(mut php) = Php::application(&prefix) else { return };
    let proxy = Proxy::start(&Proxy::target(&amqp_url())).await;
    php.set_broker(&proxy.url(&amqp_url()));
    let mut command = php.command("idle.php", &[&prefix]);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut running = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let mut output = tokio::io::BufReader::new(running.stdout.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut output, &mut line).await.unwrap();
    assert_eq!(line, "published\n");
    proxy.cut();
    let mut input = running.stdin.take().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, b"go on\n").await.unwrap();
    line.clear();
    tokio::io::AsyncBufReadExt::read_line(&mut output, &mut line).await.unwrap();
    assert_eq!(line, "published\n");
    assert!(running.wait().await.unwrap().success());
}
