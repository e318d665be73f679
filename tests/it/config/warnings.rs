//! Warnings at startup about settings that are probably mistakes.

use std::process::Output;

use serde_json::json;

use crate::support::program::{command, hostmatch, json as document, stderr, stdout};
use crate::support::{Backend, GatewayShape, Stack};

fn validate(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    command(&[&["config", "validate"], arguments].concat()).envs(variables.iter().copied()).output().unwrap()
}

#[test]
fn a_url_without_a_database_is_refused_with_its_key_and_origin() {
    for url in [
        "mysql://gw:hunter2@db.example:3306",
        "mysql://gw:hunter2@db.example/",
        "mariadb://db.example?ssl-mode=required",
        "postgres://gw:hunter2@db.example:5432/?sslmode=require",
    ] {
        let output = validate(&[("HOSTMATCH_DATABASE__URL", url)], &[]);
        assert_eq!(output.status.code(), Some(9), "{url}");
        let text = stderr(&output);
        assert!(
            text.contains("database.url (environment variable HOSTMATCH_DATABASE__URL): names no database"),
            "{text}"
        );
        assert!(!text.contains("hunter2"));
    }
    for url in [
        "mysql://gw:a@b@db.example:3306/gw",
        "postgres://db.example?dbname=gw",
        "sqlite://gw.db",
        "postgres:///gw?host=/run",
    ] {
        assert_eq!(validate(&[("HOSTMATCH_DATABASE__URL", url)], &[]).status.code(), Some(0), "{url}");
    }
}

#[test]
fn a_variable_with_one_underscore_is_reported_and_others_are_ignored() {
    let one = [
        ("HOSTMATCH_DATABASE_URL", "mysql://gw:hunter2@db.example/gw"),
        ("HOSTMATCH_DATABASE_PORT", "tcp://x"),
    ];
    let output = validate(&one, &[]);
    assert_eq!(output.status.code(), Some(10));
    let text = stdout(&output);
    assert!(
        text.contains("HOSTMATCH_DATABASE_URL is not read") && text.contains("HOSTMATCH_DATABASE__URL"),
        "{text}"
    );
    assert!(!text.contains("PORT") && !text.contains("hunter2"), "{text}");
    let output = validate(&[("hostmatch_queue_retry_delays", "1s")], &["--output", "json"]);
    let warning = document(&output)["warnings"][0].clone();
    assert!(warning.as_str().unwrap().contains("HOSTMATCH_QUEUE__RETRY_DELAYS"), "{warning}");
    assert_eq!(document(&hostmatch(&["config", "validate", "--output", "json"]))["warnings"], json!([]));

    let directory = tempfile::tempdir().unwrap();
    let output = command(&["migrate", "status"]).envs(one).current_dir(&directory).output().unwrap();
    assert!(stderr(&output).contains("HOSTMATCH_DATABASE__URL, with two underscores"), "{}", stderr(&output));
}

#[test]
fn a_blank_or_short_secret_is_refused_with_its_key_and_origin() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hostmatch.toml");
    for (section, key) in [
        ("edge", "calcom_secrets"),
        ("edge", "retell_api_keys"),
        ("edge", "gateway_secrets"),
        ("queue", "header_key"),
    ] {
        let variable = format!("HOSTMATCH_{section}__{key}").to_ascii_uppercase();
        for (value, what) in [
            ("hunter2", "secret 1 of 1 is too short: use at least 8 characters"),
            ("whsec_long_enough,hunter2", "secret 2 of 2 is too short"),
            ("whsec_long_enough,hunter2", "_file"),
            ("hunter2,hunter2", "commas separate secrets"),
        ] {
            let output = validate(&[(&variable, value)], &[]);
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(9), "{key}={value}: {text}");
            let place = format!("{section}.{key} (environment variable {variable}): secret");
            assert!(text.contains(&place) && text.contains(what), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        for (value, what) in [("", "is blank"), ("         ", "is blank"), ("   x     ", "is too short")] {
            std::fs::write(&file, format!("[{section}]\n{key} = [\"whsec_long_enough\", \"{value}\"]\n"))
                .unwrap();
            let output = validate(&[], &["--config", file.to_str().unwrap()]);
            let (place, text) = (format!("{section}.{key} (file "), stderr(&output));
            assert_eq!(output.status.code(), Some(9), "{key}={value}: {text}");
            assert!(text.contains(&place) && text.contains(what), "{text}");
        }
        assert_eq!(validate(&[(&variable, "12345678")], &[]).status.code(), Some(0));
        assert_eq!(validate(&[(&variable, "")], &[]).status.code(), Some(0), "no secret at all");
    }
    let output = validate(&[("HOSTMATCH_TRACES__HEADERS", "authorization= ")], &[]);
    assert!(stderr(&output).contains("traces.headers (environment variable"), "{}", stderr(&output));
}

#[test]
fn secrets_that_are_split_at_commas_are_reported() {
    let two = [("HOSTMATCH_EDGE__CALCOM_SECRETS", "whsec_hunter2,whsec_hunter3")];
    let output = validate(&two, &[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(10), "{text}");
    for part in ["edge.calcom_secrets (environment variable", "into 2 values", "edge.calcom_secrets_file"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("hunter"), "{text}");
    let headers = [("HOSTMATCH_TRACES__HEADERS", "x-one=hunter2,x-two=hunter3")];
    assert!(stdout(&validate(&headers, &[])).contains("traces.headers_file"));
    let whole =
        [("HOSTMATCH_EDGE__CALCOM_SECRETS", "whsec_hunter2"), ("HOSTMATCH_QUEUE__RETRY_DELAYS", "1s,2s")];
    assert_eq!(validate(&whole, &[]).status.code(), Some(0));
}

#[tokio::test]
async fn the_edge_logs_which_routes_refuse_everything() {
    let mut stack = Stack::new(Backend::Sqlite, GatewayShape::Roadmap).await;
    let warnings = async |stack: &Stack| {
        let (mut edge, _) = stack.edge("edge").await;
        edge.stop().await;
        let lines = edge.stderr();
        lines
            .lines()
            .filter(|line| line.contains("everything"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .join("\n")
    };
    let all = warnings(&stack).await;
    for what in ["/webhooks/calcom", "everything from Retell", "/v1/events", "edge.tokens_file"] {
        assert!(all.contains(what), "{what}: {all}");
    }
    stack.set("edge.calcom_secrets", "whsec_one");
    stack.set("edge.gateway_secrets", "whsec_two");
    let fewer = warnings(&stack).await;
    assert!(
        !fewer.contains("calcom") && !fewer.contains("/v1/events") && fewer.contains("Retell"),
        "{fewer}"
    );
    stack.set("edge.allow_unsigned", "true");
    assert_eq!(warnings(&stack).await, "");
}
