//! Tests the gateway's own event: who may post it, and the resulting message.

use std::path::PathBuf;

use hostmatch::queue::header;
use reqwest::StatusCode;
use serde_json::json;

use super::site::*;

#[tokio::test]
async fn the_gateways_event_becomes_a_message_with_its_bytes_untouched() {
    let site = Site::open().await;
    let body = fixture("native-full");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let token = bearer(TOKEN);
    let headers = [
        ("authorization", token.as_str()),
        ("content-type", "application/json"),
        ("traceparent", trace),
        ("x-hostmatch-type", "appointment.cancelled"),
    ];
    let before_ms = now_ms();
    let answer = json_body(site.post(RETELL, &headers, body.clone()).await).await;
    assert_eq!(answer, json!({"status": "queued", "id": "01KHX3M6ZQ8T0C4V6B2N8P1R5S"}));
    let message = site.drain_one().await;
    assert_eq!(message.body, body);
    assert_eq!(message.routing_key, "appointment.created");
    assert_eq!(message.message_type.as_deref(), Some("appointment.created"));
    assert_eq!(message.message_id.as_deref(), Some("01KHX3M6ZQ8T0C4V6B2N8P1R5S"));
    assert_eq!(message.content_type.as_deref(), Some("application/json"));
    assert_eq!(message.headers["traceparent"], trace);
    let first_seen_ms: i64 = message.headers[header::FIRST_SEEN].parse().unwrap();
    assert!((before_ms..=now_ms()).contains(&first_seen_ms));
    assert_eq!(message.headers[header::PUBLISHER], "gateway", "the name of the token in the file");
    assert_eq!(message.headers.len(), 3, "no other header of the request is passed on");
    site.close().await;
}

#[tokio::test]
async fn the_gateway_may_sign_instead() {
    let site = Site::open().await;
    let body = fixture("native-minimal");
    let good = hmac(GATEWAY_SECRET, &[&body]);
    for (path, signature) in [(RETELL, good.clone()), (EVENTS, format!("sha256={good}"))] {
        let response = site.post(path, &[("x-hostmatch-signature", &signature)], body.clone()).await;
        assert!(response.status().is_success());
        assert_eq!(site.drain_one().await.body, body);
    }
    for path in [RETELL, EVENTS] {
        let altered = [&body[..], b" "].concat();
        for (headers, body) in [
            (vec![("x-hostmatch-signature", good.as_str())], altered),
            (vec![("x-hostmatch-signature", "")], body.clone()),
            (vec![("authorization", "Bearer wrong"), ("x-hostmatch-signature", &good)], body.clone()),
            (vec![("authorization", "Basic dXNlcjpwYXNz")], body.clone()),
            (vec![("authorization", "Bearer ")], body.clone()),
            (vec![], body.clone()),
        ] {
            let response = site.post(path, &headers, body).await;
            assert!(response.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer"));
            assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED, "{path} {headers:?}");
        }
    }
    assert!(site.is_empty().await);
    site.close().await;
}

#[tokio::test]
async fn unsigned_events_are_accepted_only_if_configured() {
    let site = Site::open_with(|config| {
        config.allow_unsigned = true;
        config.calcom_secrets.clear();
    })
    .await;
    for (path, name) in [(RETELL, "native-minimal"), (EVENTS, "native-minimal"), (CALCOM, "calcom-created")] {
        assert!(site.post(path, &[], fixture(name)).await.status().is_success(), "{path}");
        site.drain_one().await;
    }
    let wrong = [("x-hostmatch-signature", "0".repeat(64))];
    let headers = [(wrong[0].0, wrong[0].1.as_str())];
    let response = site.post(RETELL, &headers, fixture("native-minimal")).await;
    assert_eq!(
        refusal_status(response).await,
        StatusCode::UNAUTHORIZED,
        "a credential that is sent must be valid"
    );
    let headers = [("x-cal-signature-256", "no-secret-provided")];
    let response = site.post(CALCOM, &headers, fixture("calcom-created")).await;
    assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED);
    assert!(site.is_empty().await);
    site.close().await;
}

#[tokio::test]
async fn a_token_is_revoked_by_removing_its_line() {
    let site = Site::open().await;
    let (file, token) = (site.dir.path().join("tokens"), bearer(TOKEN));
    let headers = [("authorization", token.as_str())];
    let body = fixture("native-minimal");
    assert_eq!(site.post(EVENTS, &headers, body.clone()).await.status(), StatusCode::ACCEPTED);
    std::fs::write(&file, token_line("tok_nord_2")).unwrap();
    assert_eq!(
        refusal_status(site.post(EVENTS, &headers, body.clone()).await).await,
        StatusCode::UNAUTHORIZED
    );
    let other = bearer("tok_nord_2");
    let headers = [("authorization", other.as_str())];
    assert_eq!(site.post(EVENTS, &headers, body.clone()).await.status(), StatusCode::ACCEPTED);
    std::fs::remove_file(&file).unwrap();
    let response = site.post(EVENTS, &headers, body).await;
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(refusal_status(response).await, StatusCode::SERVICE_UNAVAILABLE, "not the sender's fault");
    assert_eq!(site.drain().await.len(), 2);
    site.close().await;
}

#[tokio::test]
async fn an_edge_whose_tokens_cannot_be_read_does_not_start() {
    let missing = PathBuf::from("/nonexistent/tokens");
    let site = Site::open_with(|config| config.tokens_file = missing.clone()).await;
    let error = site.server.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("edge.tokens_file"), "{error}");
    site.queue.close().await;
}
