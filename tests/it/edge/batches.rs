//! Tests `/v1/events` with single events, arrays and JSON lines: a request is accepted as a whole or not at
//! all.

use reqwest::StatusCode;
use sea_orm::ConnectionTrait as _;
use serde_json::{Value, json};

use super::site::*;

#[tokio::test]
async fn events_are_accepted_alone_in_an_array_or_as_lines() {
    let site = Site::open().await;
    let response = send(&site, "application/json; charset=utf-8", fixture("native-full")).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let accepted: Value = response.json().await.unwrap();
    assert_eq!(accepted, json!({"events": [{"id": "01KHX3M6ZQ8T0C4V6B2N8P1R5S", "status": "queued"}]}));
    site.drain_one().await;

    let a = r#"{"event_id":"a", "event":"appointment.created","calcom_booking":{"uid":"u1","price":1.10}}"#;
    let b = r#"{"calcom_booking":{"uid":"u2"},  "event":"appointment.updated","event_id":"b"}"#;
    let call = r#"{"event":"call_ended","event_id":"c","call":{}}"#;
    let array = format!(" [ {a},\n{call} , {b} ]\n");
    let lines = format!("{a}\r\n\n  {call}\n{b}");
    for (content_type, body) in [("application/json", array), ("application/x-ndjson", lines)] {
        let response = send(&site, content_type, body).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let accepted: Value = response.json().await.unwrap();
        let expected = [("a", "queued"), ("c", "ignored"), ("b", "queued")]
            .map(|(id, status)| json!({"id": id, "status": status}));
        assert_eq!(accepted, json!({"events": expected}));
        let messages = site.drain().await;
        assert_eq!(messages.len(), 2);
        assert_eq!((&messages[0].body[..], &messages[1].body[..]), (a.as_bytes(), b.as_bytes()));
        assert_eq!(messages[1].routing_key, "appointment.updated");
    }
    site.close().await;
}

#[tokio::test]
async fn one_malformed_event_refuses_the_whole_request() {
    let site = Site::open().await;
    let good = r#"{"event":"appointment.created","calcom_booking":{"uid":"u1"}}"#;
    let bad = r#"{"event":"appointment.created","calcom_booking":{"uid":["Mara"]}}"#;
    let (json, lines) = ("application/json", "application/x-ndjson");
    for (content_type, body, pointer, detail) in [
        (json, bad.to_owned(), "/calcom_booking/uid", "uid"),
        (json, format!("[{good},{bad}]"), "/1/calcom_booking/uid", "uid"),
        (lines, format!("{good}\n\n{bad}\n{good}"), "/1/calcom_booking/uid", "line 3"),
        (lines, format!("{good}\n{{\n"), "/1", "line 2"),
        (json, format!("[{good}"), "", "not JSON"),
        (json, format!("[{good}]]"), "", "not JSON"),
        (json, format!("[{good},[{good}]]"), "/1", "an array"),
        (json, "[]".to_owned(), "", "no event"),
        (lines, "\n \n".to_owned(), "", "no event"),
        (json, String::new(), "", "not JSON"),
        (
            json,
            r#"{"event":"appointment.moved","calcom_booking":{"uid":"u1"}}"#.to_owned(),
            "/event",
            "moved",
        ),
    ] {
        let (status, document) = problem(send(&site, content_type, body.clone()).await).await;
        assert_eq!(
            (status, document["pointer"].as_str()),
            (StatusCode::BAD_REQUEST, Some(pointer)),
            "{body}"
        );
        let text = document["detail"].as_str().unwrap();
        assert!(text.contains(detail) && !text.contains("Mara"), "{body}: {text}");
    }
    // If several events are unreadable, each is reported with its position.
    let moved = r#"{"event":"appointment.moved","calcom_booking":{"uid":"u1"}}"#;
    let body = format!("[{bad},{good},{moved}]");
    let (_, document) = problem(send(&site, json, body).await).await;
    let places: Vec<&Value> =
        document["errors"].as_array().unwrap().iter().map(|error| &error["pointer"]).collect();
    assert_eq!(places, ["/0/calcom_booking/uid", "/2/event"], "{document}");
    assert!(document["detail"].as_str().unwrap().contains("2 of 3"), "{document}");
    let many = format!("[{}]", vec!["7"; 1000].join(","));
    let (_, document) = problem(send(&site, json, many).await).await;
    assert_eq!(
        document["errors"].as_array().unwrap().len(),
        100,
        "the number of errors in a response is limited"
    );
    let (status, _) = problem(send(&site, json, b"[\"\xff\"]".to_vec()).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(site.is_empty().await);
    site.close().await;
}

#[tokio::test]
async fn other_formats_are_refused_with_415() {
    let site = Site::open().await;
    for content_type in hostmatch::contract::CONTENT_TYPES {
        let body = br#"[{"event":"call_ended"}]"#;
        let body = if content_type == "application/x-ndjson" { &body[1..23] } else { &body[..] };
        assert_eq!(send(&site, content_type, body).await.status(), StatusCode::ACCEPTED, "{content_type}");
    }
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""] {
        let response = send(&site, content_type, fixture("native-minimal")).await;
        assert_eq!(refusal_status(response).await, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type}");
    }
    let token = bearer(TOKEN);
    for encodings in [&["gzip"][..], &["br"], &["identity", "gzip"], &["identity, gzip"]] {
        let mut headers = vec![("authorization", token.as_str())];
        headers.extend(encodings.iter().map(|encoding| ("content-encoding", *encoding)));
        let (status, document) = problem(site.post(EVENTS, &headers, fixture("native-minimal")).await).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encodings:?}");
        assert!(document["detail"].as_str().unwrap().contains("compressed"), "{document}");
    }
    let (status, document) = problem(send(&site, "application/json", b"\x1f\x8b\x08\x00").await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(document["detail"].as_str().unwrap().contains("compressed"), "{document}");
    assert!(site.is_empty().await);
    site.close().await;
}

#[tokio::test]
async fn a_request_with_too_many_events_is_refused_and_the_answer_says_the_limit() {
    let site = Site::open_with(|config| (config.events_limit, config.body_limit) = (3, 1 << 20)).await;
    let event = r#"{"event":"appointment.created","calcom_booking":{"uid":"u1"}}"#;
    let (json, lines) = ("application/json", "application/x-ndjson");
    for (content_type, body, count) in [
        (json, format!("[{}]", [event; 4].join(",")), 4),
        (lines, [event; 4].join("\n\n"), 4),
        (json, format!("[{}]", vec!["1"; 500_000].join(",")), 500_000),
        (lines, "1\n".repeat(500_000), 500_000),
    ] {
        let (status, document) = problem(send(&site, content_type, body).await).await;
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
        let detail = document["detail"].as_str().unwrap();
        for part in [format!("{count} events"), "at most 3".to_owned(), "edge.events_limit".to_owned()] {
            assert!(detail.contains(&part), "{part}: {detail}");
        }
    }
    assert!(site.is_empty().await);
    for (content_type, body) in
        [(json, format!("[{}]", [event; 3].join(","))), (lines, [event; 3].join("\n"))]
    {
        assert_eq!(send(&site, content_type, body).await.status(), StatusCode::ACCEPTED);
        assert_eq!(site.drain().await.len(), 3);
    }
    site.close().await;
}

/// Messages take memory in addition to the bodies, as long as the queue does not accept them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_with_several_events_share_a_limit_and_single_events_are_not_affected() {
    let site = Site::open_with(|config| (config.events_limit, config.max_in_flight) = (2, 64)).await;
    let file = sea_orm::Database::connect(format!("sqlite://{}/queue.db", site.dir.path().display()));
    let file = file.await.unwrap();
    file.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();
    let event = r#"{"event":"appointment.created","calcom_booking":{"uid":"u1"}}"#;
    let post = |body: String| {
        let request = site.client.post(format!("{}{EVENTS}", site.base));
        let sent = request.header("authorization", bearer(TOKEN)).body(body).send();
        tokio::spawn(async move { sent.await.unwrap() })
    };
    let two = format!("[{event},{event}]");
    // Sixteen requests with as many events as possible are accepted; here each has one more than the first.
    let mut waiting: Vec<_> = (0..32).map(|_| post(two.clone())).collect();
    let busy = crate::support::eventually("the limit", std::time::Duration::from_secs(8), async || {
        let mut more = post(two.clone());
        match tokio::time::timeout(std::time::Duration::from_millis(300), &mut more).await {
            Ok(response) => Some(response.unwrap()),
            Err(_) => {
                waiting.push(more);
                None
            }
        }
    });
    let busy = busy.await;
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(refusal_status(busy).await, StatusCode::TOO_MANY_REQUESTS);
    let single = post(event.to_owned());
    file.execute_unprepared("COMMIT").await.unwrap();
    assert_eq!(single.await.unwrap().status(), StatusCode::ACCEPTED);
    let mut accepted = 0;
    for one in waiting {
        accepted += usize::from(one.await.unwrap().status() == StatusCode::ACCEPTED);
    }
    assert_eq!(accepted, 32);
    assert_eq!(send(&site, "application/json", two).await.status(), StatusCode::ACCEPTED);
    assert_eq!(site.drain().await.len(), 2 * 32 + 1 + 2);
    file.close().await.unwrap();
    site.close().await;
}
