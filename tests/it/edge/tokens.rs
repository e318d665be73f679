//! Tests tokens as operators create and revoke them, with the real edge as a separate process.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::site::{EVENTS, RETELL, bearer, problem, token_line};
use crate::support::Process;
use crate::support::program::{command, json, stderr, stdout};

/// An edge that reads a file of tokens.
struct Installation {
    home: TempDir,
    base: String,
    client: reqwest::Client,
    edge: Process,
}

impl Installation {
    async fn open(settings: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("tokens"), token_line("by hand")).unwrap();
        let mut command = configured(home.path(), &["serve", "edge", "--listen", "127.0.0.1:0"]);
        command.envs(settings.iter().copied());
        let mut edge = Process::start(command, home.path(), "edge");
        let address =
            edge.wait_for_log("the edge is listening").await["address"].as_str().unwrap().to_owned();
        let client = crate::support::http_client();
        Self { base: format!("http://{address}"), client, edge, home }
    }

    fn token(&self, arguments: &[&str]) -> Output {
        configured(self.home.path(), &[&["token"], arguments].concat()).output().unwrap()
    }

    /// Creates a token and returns its secret.
    fn create(&self, arguments: &[&str]) -> String {
        let output = self.token(&[&["create"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let secret = stdout(&output).trim().to_owned();
        assert!(!stderr(&output).contains(&secret), "the secret is on stdout only");
        secret
    }

    async fn post(&self, path: &str, secret: &str, body: &Value) -> reqwest::Response {
        let request =
            self.client.post(format!("{}{path}", self.base)).header("authorization", bearer(secret));
        request.json(body).send().await.unwrap()
    }

    async fn status(&self, path: &str, secret: &str, body: &Value) -> StatusCode {
        self.post(path, secret, body).await.status()
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.home.path().join("tokens")).unwrap()
    }
}

fn configured(home: &Path, arguments: &[&str]) -> Command {
    let mut command = command(arguments);
    command.current_dir(home);
    command.env("HOSTMATCH_EDGE__TOKENS_FILE", "tokens").env("HOSTMATCH_QUEUE__URL", "sqlite://queue.db");
    command.env("HOSTMATCH_LOG__FORMAT", "json");
    command
}

fn event(company: Option<i64>) -> Value {
    json!({"event": "appointment.created", "company_id": company, "calcom_booking": {"uid": "u1", "hosts": [{"id": 7}]}})
}

#[tokio::test]
async fn tokens_are_created_listed_limited_and_revoked_while_the_edge_runs() {
    let mut installation = Installation::open(&[]).await;
    let all = installation.create(&["--name", "gateway #1"]);
    assert!(!installation.file().contains(&all), "only the hash is kept");
    assert!(installation.file().starts_with(&token_line("by hand")), "existing lines stay");
    for path in [EVENTS, RETELL] {
        assert!(installation.status(path, &all, &event(None)).await.is_success(), "{path}");
    }

    // A token for one route.
    let retell = installation.create(&["--name", "calls", "--scope", "retell", "--expires", "never"]);
    assert_eq!(installation.status(RETELL, &retell, &event(None)).await, StatusCode::OK);
    let (status, document) = problem(installation.post(EVENTS, &retell, &event(None)).await).await;
    assert_eq!(
        (status, &document["type"]),
        (StatusCode::FORBIDDEN, &json!("urn:hostmatch:problem:forbidden"))
    );

    // A token for one company: events of another company or of none are refused, alone or among others.
    let salon = installation.create(&["--name", "salon app", "--company", "15,17"]);
    assert_eq!(installation.status(EVENTS, &salon, &event(Some(15))).await, StatusCode::ACCEPTED);
    for (path, body, pointer) in [
        (EVENTS, event(Some(16)), json!("")),
        (EVENTS, event(None), json!("")),
        (EVENTS, json!([event(Some(15)), event(Some(16))]), json!("/1")),
        (EVENTS, json!({"triggerEvent": "BOOKING_CREATED", "payload": {"uid": "u1"}}), json!("")),
        // The company in the wrapper does not count.
        (
            EVENTS,
            json!({"specversion": "1.0", "id": "c", "company_id": 15, "data": event(Some(16))}),
            json!(""),
        ),
        (EVENTS, json!({"job": "appointment.created", "company_id": 15, "data": event(Some(16))}), json!("")),
        (RETELL, event(Some(16)), Value::Null),
        (RETELL, json!({"event": "appointment.created", "company_id": 16}), Value::Null),
        (RETELL, json!("unreadable"), Value::Null),
    ] {
        let (status, document) = problem(installation.post(path, &salon, &body).await).await;
        assert_eq!((status, &document["pointer"]), (StatusCode::FORBIDDEN, &pointer), "{body}");
    }
    let lines = format!("{}\n{}\n", event(Some(15)), event(Some(16)));
    let request = installation
        .client
        .post(format!("{}{EVENTS}", installation.base))
        .header("authorization", bearer(&salon));
    let request = request.header("content-type", "application/x-ndjson").body(lines);
    let (status, document) = problem(request.send().await.unwrap()).await;
    assert_eq!((status, &document["pointer"]), (StatusCode::FORBIDDEN, &json!("/1")));
    let call = json!({"event": "call_ended", "call": {}});
    assert_eq!(
        installation.status(RETELL, &salon, &call).await,
        StatusCode::OK,
        "there is nothing to do for the event"
    );

    // A token for a limited time.
    let brief = installation.create(&["--name", "brief", "--expires", "1s"]);
    let expired =
        crate::support::eventually("the token has expired", std::time::Duration::from_secs(20), async || {
            let (status, document) = refusal(installation.post(EVENTS, &brief, &event(None)).await).await?;
            Some((status, document))
        });
    let (status, document) = expired.await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(document["detail"].as_str().unwrap().contains("expired"), "{document}");

    // The list contains neither secrets nor hashes.
    let listed = installation.token(&["list"]);
    assert!(stdout(&listed).contains("gateway #1") && !stdout(&listed).contains(&all));
    let listed = json(&installation.token(&["list", "--output", "json"]));
    let named = |name: &str| {
        listed["tokens"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
    };
    assert_eq!(named("salon app")["companies"], json!([15, 17]));
    assert_eq!((&named("calls")["scopes"], &named("calls")["expires"]), (&json!(["retell"]), &Value::Null));
    assert_eq!((&named("brief")["state"], &named("gateway")["state"]), (&json!("expired"), &json!("active")));

    // A revoked token is unknown immediately. Nothing else changes, and a symbolic link stays a link.
    let id = named("salon app")["id"].as_str().unwrap().to_owned();
    let mode = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(installation.home.path().join("tokens"), mode).unwrap();
    let none = installation.token(&["revoke", &id, "nobody"]);
    assert_eq!(none.status.code(), Some(3));
    assert_eq!(
        installation.status(EVENTS, &salon, &event(Some(15))).await,
        StatusCode::ACCEPTED,
        "an unknown name revokes nothing"
    );
    std::fs::rename(installation.home.path().join("tokens"), installation.home.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", installation.home.path().join("tokens")).unwrap();
    let revoked = json(&installation.token(&["revoke", &id, "gateway #1", "--output", "json"]));
    assert_eq!(revoked["revoked"].as_array().unwrap().len(), 2);
    for secret in [&salon, &all] {
        assert_eq!(installation.status(EVENTS, secret, &event(Some(15))).await, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(installation.status(EVENTS, "by hand", &event(None)).await, StatusCode::ACCEPTED);
    assert!(std::fs::symlink_metadata(installation.home.path().join("tokens")).unwrap().is_symlink());
    let kept = std::fs::metadata(installation.home.path().join("real")).unwrap().permissions().mode();
    assert_eq!(kept & 0o777, 0o640, "the edge's user can still read it");
    assert_eq!(
        installation.token(&["create", "--name", "calls"]).status.code(),
        Some(1),
        "a second token with the same name"
    );
    let log = installation.edge.stderr();
    for secret in [&all, &salon, &brief] {
        assert!(!log.contains(secret.as_str()));
    }
    assert_eq!(installation.edge.stop().await, Some(0));
}

/// Returns the status and document of a refusal; `None` for a success.
async fn refusal(response: reqwest::Response) -> Option<(StatusCode, Value)> {
    if response.status().is_success() { None } else { Some(problem(response).await) }
}

#[tokio::test]
async fn one_token_over_its_rate_gets_429_and_others_do_not() {
    let mut installation = Installation::open(&[("HOSTMATCH_EDGE__TOKEN_RATE", "3")]).await;
    let (fast, other) = (installation.create(&["--name", "fast"]), installation.create(&["--name", "other"]));
    let mut reported = None;
    for _ in 0..200 {
        let response = installation.post(EVENTS, &fast, &event(None)).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            reported = Some(response);
            break;
        }
        assert_eq!(response.status(), StatusCode::ACCEPTED);
    }
    let response = reported.expect("the token was not rate-limited");
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(problem(response).await.1["type"], "urn:hostmatch:problem:too-fast");
    assert_eq!(
        installation.status(EVENTS, &other, &event(None)).await,
        StatusCode::ACCEPTED,
        "another token has its own limit"
    );
    let timeout = std::time::Duration::from_secs(10);
    crate::support::eventually("the token is accepted again", timeout, async || {
        installation.status(EVENTS, &fast, &event(None)).await.is_success().then_some(())
    })
    .await;
    assert_eq!(installation.edge.stop().await, Some(0));
}

#[tokio::test]
async fn every_event_of_a_request_counts_towards_the_rate_of_its_token() {
    let mut installation = Installation::open(&[("HOSTMATCH_EDGE__TOKEN_RATE", "2")]).await;
    let secret = installation.create(&["--name", "batches"]);
    let nine = json!(vec![event(None); 9]);
    assert_eq!(
        installation.status(EVENTS, &secret, &nine).await,
        StatusCode::ACCEPTED,
        "more than are allowed at once"
    );
    let response = installation.post(EVENTS, &secret, &event(None)).await;
    let retry_after: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((2..=4).contains(&retry_after), "{retry_after} s for the nine events");
    let (status, document) = problem(response).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(document["detail"].as_str().unwrap().contains("too many events"), "{document}");
    assert_eq!(installation.edge.stop().await, Some(0));
}

#[test]
fn a_token_file_is_private_and_can_be_changed_concurrently() {
    let home = tempfile::tempdir().unwrap();
    let create = |name: &str| configured(home.path(), &["token", "create", "--name", name]);
    let mut children: Vec<_> = (0..6)
        .map(|n| {
            create(&format!("t{n}"))
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    assert!(children.iter_mut().all(|child| child.wait().unwrap().success()));
    let path = home.path().join("tokens");
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 6, "no token is lost");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let remaining: Vec<_> = home.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(remaining, ["tokens"], "no other file is left");
    // The same token twice, added by hand: revoking it removes both lines.
    let line = token_line("by hand");
    let hash = line.lines().find(|line| !line.starts_with('#')).unwrap().split_whitespace().next().unwrap();
    std::fs::write(&path, format!("{hash} one\n# a comment\n{hash} other\n")).unwrap();
    let revoked = configured(home.path(), &["token", "revoke", &hash[..12]]).output().unwrap();
    assert_eq!(revoked.status.code(), Some(0), "{}", stderr(&revoked));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "# a comment\n");
    std::fs::write(&path, "the token itself\n").unwrap();
    let listed = configured(home.path(), &["token", "list"]).output().unwrap();
    assert!(stderr(&listed).contains("line 1") && !stderr(&listed).contains("itself"), "{}", stderr(&listed));
    let unconfigured = command(&["token", "list"]).current_dir(home.path()).output().unwrap();
    assert_eq!(unconfigured.status.code(), Some(9), "{}", stderr(&unconfigured));
}
