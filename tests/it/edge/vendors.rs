//! Tests signatures as the vendors create them: Retell's are compared with its published SDK, Cal.com's with
//! test vectors that other code created.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hostmatch::config::Secret;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::site::*;

/// Returns the directory in which scripts/test puts Retell's SDK. If it is missing and
/// `HOSTMATCH_TEST_SKIP_RETELL_SDK` is not set, the test fails.
fn sdk() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/retell-sdk");
    let is_installed = folder.join("retell/lib/webhook_auth.py").exists();
    let skip_allowed = std::env::var_os("HOSTMATCH_TEST_SKIP_RETELL_SDK").is_some();
    assert!(is_installed || skip_allowed, "target/retell-sdk is missing; scripts/test installs it");
    is_installed.then_some(folder)
}

/// Returns for each case its signature, and whether the SDK accepts it.
fn verify_with_sdk(sdk: &Path, cases: &Value) -> Vec<Value> {
    let mut child = Command::new("python3")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/retell/sdk.py"))
        .arg(sdk)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    serde_json::to_writer(child.stdin.take().unwrap(), cases).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the SDK failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_edge_and_retells_sdk_agree_on_signatures() {
    let Some(sdk) = sdk() else { return };
    let site = Site::open_with(|config| {
        config.retell_api_keys = vec![Secret::new("key_before"), Secret::new(RETELL_KEY)];
    })
    .await;
    let bodies = [
        fixture("native-minimal"),
        fixture("retell-call-ended"),
        r#"{"event":"call_ended","name":"Zoë 🙂"}"#.into(),
    ];
    let bodies: Vec<String> = bodies.into_iter().map(|body| String::from_utf8(body).unwrap()).collect();
    let now = now_ms();
    let mut cases = Vec::new();
    for body in &bodies {
        // At the exact limit of the tolerance the clock advances between the two checks.
        for at_ms in [now, now - 280_000, now + 320_000, now - 320_000, now + 280_000, 0] {
            cases.push(json!({"body": body, "key": RETELL_KEY, "at_ms": at_ms}));
        }
        cases.push(json!({"body": body, "key": "key_of_nobody", "at_ms": now}));
    }
    let signed = verify_with_sdk(&sdk, &json!(cases));
    // Altered signatures are verified with the SDK, too.
    let good = signed[0]["header"].as_str().unwrap();
    let (time, digest) = good.split_once(",d=").unwrap();
    for header in [
        format!("{good}0"),
        format!("{time},d={}", digest.to_uppercase()),
        format!("{time},d={}", &digest[1..]),
        format!("d={digest},{time}"),
        format!("t={},v1={digest}", now / 1000),
        String::new(),
    ] {
        cases.push(json!({"body": bodies[0], "key": RETELL_KEY, "header": header}));
    }
    cases.push(json!({"body": bodies[1], "key": RETELL_KEY, "header": good}));
    let answers = verify_with_sdk(&sdk, &json!(cases));
    let mut accepted = 0;
    for (case, answer) in cases.iter().zip(&answers) {
        let header = signature_of(case, answer);
        let body = case["body"].as_str().unwrap().as_bytes().to_vec();
        let response = site.post(RETELL, &[("x-retell-signature", header)], body).await;
        // The SDK also verifies with a key that the edge does not have.
        let valid = answer["valid"] == true && case["key"] == RETELL_KEY;
        let expected = if valid { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
        assert_eq!(response.status(), expected, "{case} {answer}");
        accepted += usize::from(valid);
    }
    assert_eq!(accepted, 9, "three timestamps for each of three bodies");
    site.close().await;
}

fn signature_of<'a>(case: &'a Value, answer: &'a Value) -> &'a str {
    case["header"].as_str().or(answer["header"].as_str()).unwrap()
}

#[tokio::test]
async fn the_edge_agrees_with_calcoms_signature_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/signature-vectors.json");
    let vectors: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    for vector in vectors["calcom"].as_array().unwrap() {
        let text = |key: &str| vector[key].as_str().unwrap();
        for secrets in [[text("secret"), "newer"], ["newer", text("secret")]] {
            let site =
                Site::open_with(|config| config.calcom_secrets = secrets.map(Secret::new).to_vec()).await;
            let post = async |signature: &str, body: &str| {
                site.post(CALCOM, &[(text("header"), signature)], body).await.status()
            };
            assert_eq!(post(text("header_value"), text("body")).await, StatusCode::OK);
            assert_eq!(site.drain_one().await.body, text("body"));
            let altered = text("body").replace("abc", "abd");
            assert_eq!(post(text("header_value"), &altered).await, StatusCode::UNAUTHORIZED);
            let refused = [&vector["must_reject_values"], &vector["not_sent_by_calcom"]];
            for value in refused.into_iter().flat_map(|values| values.as_array().unwrap()) {
                assert_eq!(
                    post(value.as_str().unwrap(), text("body")).await,
                    StatusCode::UNAUTHORIZED,
                    "{value}"
                );
            }
            assert!(site.is_empty().await);
            site.close().await;
        }
    }
}
