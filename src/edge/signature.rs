//! Verifies signatures over the raw body: HMAC-SHA256, 64 lower-case hex digits, compared in constant time.
//!
//! | sender | header | signed bytes | format |
//! |---|---|---|---|
//! | the gateway | `x-hostmatch-signature` | the body | `<hex>` or `sha256=<hex>` |
//! | Cal.com | `x-cal-signature-256` | the body | `<hex>` |
//! | Retell | `x-retell-signature` | the body and the decimal timestamp | `v=<ms since 1970>,d=<hex>` |
//!
//! Each sender may have several keys, so that a key can be changed without losing an event.

use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::Secret;

/// The reason for refusing a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The signature does not match this body, or is not in the expected format.
    Wrong,
    /// The signature is right, but its timestamp is too far from now.
    Stale,
}

/// Checks the gateway's own signature.
pub(super) fn gateway(header: &str, body: &[u8], keys: &[Secret]) -> Result<(), Refusal> {
    verify(header.strip_prefix("sha256=").unwrap_or(header), &[body], keys)
}

/// Checks Retell's signature; its timestamp may be off by `tolerance` in both directions.
pub(super) fn retell(
    header: &str,
    body: &[u8],
    keys: &[Secret],
    tolerance: Duration,
    now_ms: i64,
) -> Result<(), Refusal> {
    let (time, digest) =
        header.strip_prefix("v=").and_then(|rest| rest.split_once(",d=")).ok_or(Refusal::Wrong)?;
    let is_number = !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit());
    let signed_ms: i64 = time.parse().ok().filter(|_| is_number).ok_or(Refusal::Wrong)?;
    verify(digest, &[body, time.as_bytes()], keys)?;
    let difference = u128::from(now_ms.abs_diff(signed_ms));
    if difference <= tolerance.as_millis() { Ok(()) } else { Err(Refusal::Stale) }
}

/// Checks a bare digest over these parts, as Cal.com sends it. `no-secret-provided`, which Cal.com sends
/// when a webhook has no secret, is not a digest.
pub(super) fn verify(digest: &str, parts: &[&[u8]], keys: &[Secret]) -> Result<(), Refusal> {
    let hex_digits = digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let mut sent = [0; 32];
    if !hex_digits || hex::decode_to_slice(digest, &mut sent).is_err() {
        return Err(Refusal::Wrong);
    }
    let mut matches = false;
    // Every key is tried, so that the time does not reveal which one matched.
    for key in keys.iter().filter(|key| !key.expose().is_empty()) {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose().as_bytes()) else { continue };
        parts.iter().for_each(|part| mac.update(part));
        matches |= mac.verify_slice(&sent).is_ok();
    }
    if matches { Ok(()) } else { Err(Refusal::Wrong) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<Secret> {
        keys.iter().map(|key| Secret::new(*key)).collect()
    }

    const RETELL_BODY: &[u8] = br#"{"event":"call_ended"}"#;
    const RETELL_HEADER: &str =
        "v=1700000000000,d=07024cabe7dd8f6d1c6e4a8324ca92c812e6ad4a7ee506c04f7e462e3321823e";
    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    /// The test vector of Retell's own SDKs.
    #[test]
    fn the_test_vector_of_retells_sdks_is_accepted() {
        let at = |header: &str, keys_: &[&str], now_ms| {
            retell(header, RETELL_BODY, &keys(keys_), FIVE_MINUTES, now_ms)
        };
        for now_ms in [1_699_999_700_000, 1_700_000_000_000, 1_700_000_300_000] {
            assert_eq!(at(RETELL_HEADER, &["test-api-key"], now_ms), Ok(()));
        }
        for now_ms in [1_699_999_699_999, 1_700_000_300_001, 0, i64::MAX] {
            assert_eq!(at(RETELL_HEADER, &["test-api-key"], now_ms), Err(Refusal::Stale));
        }
        let now_ms = 1_700_000_000_000;
        for both in [["new-key", "test-api-key"], ["test-api-key", "new-key"]] {
            assert_eq!(at(RETELL_HEADER, &both, now_ms), Ok(()), "rotation");
        }
        for wrong in [&["other"][..], &[""], &[]] {
            assert_eq!(at(RETELL_HEADER, wrong, now_ms), Err(Refusal::Wrong));
        }
        let digest = &RETELL_HEADER[RETELL_HEADER.len() - 64..];
        for header in [
            String::new(),
            "v=1700000000000".to_owned(),
            format!("d={digest},v=1700000000000"),
            format!("prefix-{RETELL_HEADER}"),
            format!("{RETELL_HEADER}-suffix"),
            format!("{RETELL_HEADER},extra=value"),
            "v=1700000000000,d=not-hex".to_owned(),
            format!("v=1700000000000,d={}", &digest[2..]),
            format!("v=1700000000000,d={}", digest.to_uppercase()),
            format!("v=-1700000000000,d={digest}"),
            format!("v=+1700000000000,d={digest}"),
            format!("v=999999999999999999999999,d={digest}"),
            format!("v=,d={digest}"),
        ] {
            assert_eq!(at(&header, &["test-api-key"], now_ms), Err(Refusal::Wrong), "{header:?}");
        }
    }

    /// The vectors in the fixture; they were not generated by this code.
    #[test]
    fn retells_fixture_vectors_are_accepted() {
        let vectors = include_str!("../../tests/fixtures/signature-vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(vectors).unwrap();
        for vector in vectors["retell"].as_array().unwrap() {
            let text = |key: &str| vector[key].as_str().unwrap();
            let tolerance = Duration::from_millis(vector["tolerance_ms"].as_u64().unwrap());
            let times = |key: &str| vector[key].as_array().unwrap().iter().map(|ms| ms.as_i64().unwrap());
            let check = |header: &str, now_ms| {
                retell(header, text("body").as_bytes(), &keys(&[text("api_key")]), tolerance, now_ms)
            };
            assert!(times("valid_at_ms").all(|ms| check(text("header_value"), ms) == Ok(())));
            assert!(times("invalid_at_ms").all(|ms| check(text("header_value"), ms) == Err(Refusal::Stale)));
            for header in vector["malformed_header_values"].as_array().unwrap() {
                let signed_ms = vector["timestamp_ms"].as_i64().unwrap();
                assert_eq!(check(header.as_str().unwrap(), signed_ms), Err(Refusal::Wrong), "{header}");
            }
        }
    }

    #[test]
    fn calcoms_signature_is_bare_hex_over_the_raw_bytes() {
        let body = r#"{"triggerEvent":"BOOKING_CREATED","payload":{"uid":"hookUid000000000000001","organizer":{"name":"Zoë Ångström"}}}"#;
        // Computed with openssl.
        let good = "fbc64dbf7c1fe0af74c92786b99e3c37fec81b844b6ae57f2ce53d97f55c8c03";
        let check = |header: &str, body: &str| verify(header, &[body.as_bytes()], &keys(&["whsec_nord"]));
        assert_eq!(check(good, body), Ok(()));
        assert_eq!(check(good, &body.replace("Zoë", "Zoe")), Err(Refusal::Wrong));
        for header in ["", "no-secret-provided", &good[2..], &format!("sha256={good}"), &good.to_uppercase()]
        {
            assert_eq!(check(header, body), Err(Refusal::Wrong), "{header:?}");
        }
    }

    #[test]
    fn the_gateways_signature_may_have_a_prefix() {
        let body = br#"{"event":"appointment.created"}"#;
        // Computed with openssl.
        let good = "a74de408a50fe1bb1cf127d22d21dc7491c4077306d0622a78af770f1666bdb9";
        let keys = keys(&["gateway-secret"]);
        assert_eq!(gateway(good, body, &keys), Ok(()));
        assert_eq!(gateway(&format!("sha256={good}"), body, &keys), Ok(()));
        assert_eq!(gateway(&format!("sha1={good}"), body, &keys), Err(Refusal::Wrong));
    }

    #[test]
    fn an_empty_key_is_ignored() {
        let body = br#"{"event":"appointment.created"}"#;
        // The HMAC with the empty key, which anybody can compute.
        let forged = "5e4b35d2629136aab619587e32322fd1efae36e5ea62df1dce76a6d4e3de322c";
        assert_eq!(gateway(forged, body, &keys(&["", "gateway-secret"])), Err(Refusal::Wrong));
    }
}
