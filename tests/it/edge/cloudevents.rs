//! Tests CloudEvents over HTTP in structured, batched and binary mode, and which of their headers are used.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::site::*;

fn structured(id: &str) -> Value {
    let data: Value = serde_json::from_slice(&fixture("native-minimal")).unwrap();
    json!({"specversion": "1.0", "id": id, "source": "s", "type": "appointment.created", "data": data})
}

#[tokio::test]
async fn structured_and_batched_events_keep_their_bytes() {
    let site = Site::open().await;
    let one = structured("e-1").to_string();
    let response = send(&site, "application/cloudevents+json; charset=utf-8", one.clone()).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let message = site.drain_one().await;
    assert_eq!((message.body, message.message_id.as_deref()), (one.into(), Some("e-1")));
    assert_eq!(message.routing_key, "appointment.created");
    assert_eq!(message.content_type.as_deref(), Some("application/cloudevents+json"));

    let batch = json!([structured("e-2"), structured("e-3")]).to_string();
    let response = send(&site, "application/cloudevents-batch+json", batch).await;
    let answer: Value = response.json().await.unwrap();
    assert_eq!((&answer["events"][0]["id"], &answer["events"][1]["id"]), (&json!("e-2"), &json!("e-3")));
    assert_eq!(site.drain().await.len(), 2);

    let response =
        send(&site, "application/json", json!([structured("e-4"), {"specversion": "9"}]).to_string()).await;
    let (status, document) = problem(response).await;
    assert_eq!((status, document["pointer"].as_str()), (StatusCode::BAD_REQUEST, Some("/1/specversion")));
    assert!(site.is_empty().await, "all or nothing");
    site.close().await;
}

#[tokio::test]
async fn only_attribute_headers_are_passed_on() {
    let site = Site::open().await;
    let (token, body) = (bearer(TOKEN), fixture("native-minimal"));
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("ce-specversion", "1.0"),
        ("ce-id", "Z%C3%BCrich"),
        ("ce-type", "appointment.updated"),
        ("ce-time", "2026-02-20T10:15:32Z"),
        ("ce-extension", "not passed on"),
        ("x-hostmatch-type", "appointment.cancelled"),
    ];
    assert_eq!(site.post(EVENTS, &headers, body.clone()).await.status(), StatusCode::ACCEPTED);
    let mut message = site.drain_one().await;
    assert_eq!(
        (message.message_id.as_deref(), message.routing_key.as_str()),
        (Some("Zürich"), "appointment.updated")
    );
    assert_eq!(message.body, body);
    assert!(message.headers.remove("x-hostmatch-first-seen").is_some());
    assert_eq!(message.headers.remove("x-hostmatch-publisher").as_deref(), Some("gateway"));
    let attributes = [
        ("ce-specversion", "1.0"),
        ("ce-id", "Zürich"),
        ("ce-type", "appointment.updated"),
        ("ce-time", "2026-02-20T10:15:32Z"),
    ];
    assert_eq!(
        message.headers,
        BTreeMap::from(attributes.map(|(name, value)| (name.to_owned(), value.to_owned())))
    );

    // One id for two events would make the second a repeat of the first.
    let two = [b"[".as_slice(), &body, b",", &body, b"]"].concat();
    assert_eq!(refusal_status(site.post(EVENTS, &headers, two).await).await, StatusCode::BAD_REQUEST);
    let long = "x".repeat(2049);
    for (name, value) in [("ce-specversion", "7.0"), ("ce-subject", "%ff"), ("ce-source", &long)] {
        let mut headers = headers.to_vec();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, value));
        assert_eq!(
            refusal_status(site.post(EVENTS, &headers, body.clone()).await).await,
            StatusCode::BAD_REQUEST,
            "{name}"
        );
    }
    // Other routes ignore these headers, because a webhook's signature does not cover them.
    let signature = hmac(CALCOM_SECRET, &[&fixture("calcom-created")]);
    let headers =
        [("x-cal-signature-256", signature.as_str()), ("ce-specversion", "1.0"), ("ce-id", "forged")];
    site.post(CALCOM, &headers, fixture("calcom-created")).await;
    assert!(site.drain_one().await.message_id.unwrap().starts_with("sha256:"));
    site.close().await;
}

#[tokio::test]
async fn a_signature_does_not_cover_headers() {
    let site = Site::open().await;
    let body = fixture("native-minimal");
    let signature = hmac(GATEWAY_SECRET, &[&body]);
    let mut headers =
        vec![("x-hostmatch-signature", signature.as_str()), ("ce-specversion", "1.0"), ("ce-id", "new")];
    assert_eq!(
        refusal_status(site.post(EVENTS, &headers, body.clone()).await).await,
        StatusCode::UNAUTHORIZED
    );
    headers.truncate(1);
    assert_eq!(site.post(EVENTS, &headers, body).await.status(), StatusCode::ACCEPTED);
    site.close().await;
}
