//! Tests Retell's and Cal.com's webhooks: signatures are checked, and content is never refused.

use hostmatch::config::Secret;
use hostmatch::event::{Envelope, decode};
use reqwest::StatusCode;

use super::site::*;

#[tokio::test]
async fn retells_webhooks_are_verified_and_ignored_without_a_booking() {
    let site = Site::open().await;
    let call = fixture("retell-call-ended");
    let signature = retell_signature(&call, now_ms());
    let ignored =
        json_body(site.post(RETELL, &[("x-retell-signature", &signature)], call.clone()).await).await;
    assert_eq!(ignored["status"], "ignored");
    assert!(site.is_empty().await);

    let event = fixture("native-minimal");
    let signature = retell_signature(&event, now_ms());
    let queued =
        json_body(site.post(RETELL, &[("x-retell-signature", &signature)], event.clone()).await).await;
    let message = site.drain_one().await;
    assert_eq!(
        (queued["status"].as_str(), queued["id"].as_str()),
        (Some("queued"), message.message_id.as_deref())
    );

    let stale = retell_signature(&event, now_ms() - 310_000);
    let early = retell_signature(&event, now_ms() + 310_000);
    let of_other_body = retell_signature(&call, now_ms());
    for wrong in [stale.as_str(), &early, &of_other_body, "", "v=1,d=00"] {
        let response = site.post(RETELL, &[("x-retell-signature", wrong)], event.clone()).await;
        assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    let token = bearer(TOKEN);
    let both = [("x-retell-signature", stale.as_str()), ("authorization", token.as_str())];
    assert_eq!(refusal_status(site.post(RETELL, &both, event).await).await, StatusCode::UNAUTHORIZED);
    assert!(site.is_empty().await);
    site.close().await;
}

#[tokio::test]
async fn calcoms_webhooks_are_queued_if_their_signature_is_valid() {
    let site = Site::open().await;
    let body = fixture("calcom-rescheduled");
    let good = hmac(CALCOM_SECRET, &[&body]);
    for _ in 0..2 {
        json_body(site.post(CALCOM, &[("X-Cal-Signature-256", &good)], body.clone()).await).await;
    }
    let messages = site.drain().await;
    assert_eq!(messages.len(), 2);
    assert_eq!(
        (messages[0].body.as_ref(), messages[0].routing_key.as_str()),
        (&body[..], "BOOKING_RESCHEDULED")
    );
    assert!(messages[0].message_id.as_ref().is_some_and(|id| id.starts_with("sha256:")));
    assert_eq!(messages[0].message_id, messages[1].message_id, "a repeat is recognized by its id");

    let altered = String::from_utf8(body.clone()).unwrap().replace("1420209", "1420210");
    for (headers, body) in [
        (vec![("x-cal-signature-256", good.as_str())], altered.into_bytes()),
        (vec![("x-cal-signature-256", "no-secret-provided")], body.clone()),
        (vec![("x-cal-signature-256", &good.to_uppercase())], body.clone()),
        (vec![], body.clone()),
        (vec![("authorization", &bearer(TOKEN))], body.clone()),
    ] {
        let response = site.post(CALCOM, &headers, body).await;
        assert!(response.headers().contains_key("www-authenticate"));
        assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED, "{headers:?}");
    }
    assert!(site.is_empty().await);
    site.close().await;
}

#[tokio::test]
async fn a_webhook_with_a_valid_signature_is_never_refused_for_its_content() {
    let site = Site::open().await;
    for (body, status) in [
        (fixture("calcom-ping"), "ignored"),
        (fixture("calcom-meeting-ended"), "ignored"),
        (br#"{"triggerEvent":"BOOKING_INVENTED_LATER","payload":{}}"#.to_vec(), "ignored"),
        (b"false".to_vec(), "queued"),
        (b"name=Mara&trigger=BOOKING_CREATED".to_vec(), "queued"),
        (br#"{"triggerEvent":"BOOKING_CREATED","payload":{}}"#.to_vec(), "queued"),
        (b"\xff\xfe".to_vec(), "queued"),
        (b"".to_vec(), "queued"),
    ] {
        let signature = hmac(CALCOM_SECRET, &[&body]);
        let headers = [
            ("x-cal-signature-256", signature.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = json_body(site.post(CALCOM, &headers, body.clone()).await).await;
        assert_eq!(answer["status"], status);
        assert!(answer["id"].as_str().is_some_and(|id| !id.is_empty()));
        let messages = site.drain().await;
        assert_eq!(messages.len(), usize::from(status == "queued"));
        for message in messages {
            assert_eq!((message.body.as_ref(), message.routing_key.as_str()), (&body[..], "unknown"));
            assert_eq!(message.message_type, None);
        }
    }
    site.close().await;
}

#[tokio::test]
async fn without_a_configured_secret_every_webhook_is_refused() {
    let site = Site::open_with(|config| {
        config.calcom_secrets = vec![Secret::new("")];
        config.retell_api_keys.clear();
    })
    .await;
    let body = fixture("calcom-created");
    let headers = [("x-cal-signature-256", hmac("", &[&body]))];
    let response = site.post(CALCOM, &[(headers[0].0, &headers[0].1)], body.clone()).await;
    assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED);
    let signature = retell_signature(&body, now_ms());
    let response = site.post(RETELL, &[("x-retell-signature", &signature)], body).await;
    assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED);
    assert!(site.is_empty().await);
    site.close().await;
}

/// Neither Cal.com nor Retell follows a redirect.
#[tokio::test]
async fn a_route_with_a_trailing_slash_is_the_route() {
    let site = Site::open().await;
    let body = fixture("calcom-created");
    let signature = hmac(CALCOM_SECRET, &[&body]);
    let headers = [("x-cal-signature-256", signature.as_str())];
    json_body(site.post(&format!("{CALCOM}/"), &headers, body).await).await;
    let body = fixture("native-minimal");
    let signature = retell_signature(&body, now_ms());
    let headers = [("x-retell-signature", signature.as_str())];
    json_body(site.post(&format!("{RETELL}/"), &headers, body.clone()).await).await;
    let token = bearer(TOKEN);
    let response = site.post(&format!("{EVENTS}/"), &[("authorization", &token)], body).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(site.drain().await.len(), 3);
    assert_eq!(site.get("/health/ready/").await.status(), StatusCode::OK);
    site.close().await;
}

/// A proxy that adds a header which is already there sends it twice, or joins the values by a comma.
#[tokio::test]
async fn a_credential_that_was_sent_twice_counts_once_if_both_are_equal() {
    let site = Site::open().await;
    let (calcom, native) = (fixture("calcom-created"), fixture("native-minimal"));
    let (of_calcom, of_retell) = (hmac(CALCOM_SECRET, &[&calcom]), retell_signature(&native, now_ms()));
    let (of_gateway, token) = (hmac(GATEWAY_SECRET, &[&native]), bearer(TOKEN));
    let wrong = "0".repeat(64);
    for (path, header, right, wrong, body) in [
        (CALCOM, "x-cal-signature-256", &of_calcom, wrong.as_str(), &calcom),
        (RETELL, "x-retell-signature", &of_retell, &retell_signature(&calcom, now_ms()), &native),
        (RETELL, "x-hostmatch-signature", &of_gateway, &wrong, &native),
        (EVENTS, "x-hostmatch-signature", &of_gateway, &wrong, &native),
        (EVENTS, "authorization", &token, "Bearer wrong", &native),
    ] {
        for joined in [format!("{right},{right}"), format!("{right}, {right}")] {
            let response = site.post(path, &[(header, &joined)], body.clone()).await;
            assert!(response.status().is_success(), "{path} {header} {}", response.status());
        }
        let response = site.post(path, &[(header, right), (header, right)], body.clone()).await;
        assert!(response.status().is_success(), "{path} {header} {}", response.status());
        assert_eq!(site.drain().await.len(), 3);
        for joined in [format!("{right}, {wrong}"), format!("{wrong},{right}"), format!("{right},")] {
            let response = site.post(path, &[(header, &joined)], body.clone()).await;
            assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED, "{path} {header}");
        }
        for headers in [[(header, right.as_str()), (header, wrong)], [(header, wrong), (header, right)]] {
            let response = site.post(path, &headers, body.clone()).await;
            assert_eq!(refusal_status(response).await, StatusCode::UNAUTHORIZED, "{path} {header}");
        }
    }
    assert!(site.is_empty().await);
    site.close().await;
}

#[tokio::test]
async fn a_compressed_webhook_is_queued_and_the_error_of_its_dead_letter_says_so() {
    let site = Site::open().await;
    for (encoding, body) in [
        (Some("gzip"), &b"\x1f\x8b\x08\x00compressed"[..]),
        (Some("br"), b"\x0b\x02\x80{}\x03"),
        (None, b"\x1f\x8b\x08\x00compressed"),
        (None, b"\x28\xb5\x2f\xfdcompressed"),
    ] {
        let signature = hmac(CALCOM_SECRET, &[body]);
        let mut headers = vec![("x-cal-signature-256", signature.as_str())];
        headers.extend(encoding.map(|encoding| ("content-encoding", encoding)));
        let answer = json_body(site.post(CALCOM, &headers, body).await).await;
        assert_eq!(answer["status"], "queued");
        let message = site.drain_one().await;
        let envelope = Envelope { headers: &message.headers, ..Envelope::new(&message.body, now_ms()) };
        let error = decode(&envelope).unwrap_err().to_string();
        assert!(error.contains("compressed"), "{encoding:?}: {error}");
    }
    // A proxy may decompress the body and keep the header.
    let body = fixture("calcom-created");
    let signature = hmac(CALCOM_SECRET, &[&body]);
    let headers = [("x-cal-signature-256", signature.as_str()), ("content-encoding", "gzip")];
    json_body(site.post(CALCOM, &headers, body).await).await;
    assert_eq!(site.drain_one().await.routing_key, "BOOKING_CREATED");
    site.close().await;
}
