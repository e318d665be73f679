//! Configuration: layers, errors with key and origin, and secrets that stay secret.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hostmatch::config::{ConfigError, Effective, Overrides, load_from};
use serde_json::json;
use tempfile::TempDir;

/// The sources of a configuration: a file, environment variables and flags.
#[derive(Default)]
struct Sources {
    file: String,
    variables: Vec<(OsString, OsString)>,
    flags: Overrides,
}

impl Sources {
    fn file(text: &str) -> Self {
        Self { file: text.to_owned(), ..Self::default() }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, key: &str, value: &str) -> Self {
        self.flags.set(&format!("--set {key}"), key, value);
        self
    }

    fn load(self) -> Result<Effective, ConfigError> {
        let (_directory, path) = write_temporary("hostmatch.toml", &self.file);
        load_from(Some(&path), self.variables.into_iter(), &self.flags)
    }

    fn error_text(self) -> String {
        self.load().unwrap_err().to_string()
    }
}

fn write_temporary(name: &str, text: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, text).unwrap();
    (directory, path)
}

fn origin<'a>(effective: &'a Effective, key: &str) -> &'a str {
    &effective.origins.iter().find(|(k, _)| k == key).unwrap().1
}

#[test]
fn the_embedded_default_is_valid_and_contains_only_known_keys() {
    let effective = Sources::default().load().unwrap();
    assert!(effective.origins.iter().all(|(_, origin)| origin == "default"));
    assert_eq!(effective.origins[0].0, "database.url");
    assert_eq!(effective.origins.last().unwrap().0, "log.format");
    let config = serde_json::to_value(&effective.config).unwrap();
    let keys: usize = config.as_object().unwrap().values().map(|s| s.as_object().unwrap().len()).sum();
    assert_eq!(effective.origins.len(), keys, "config.toml documents every key, and nothing else");
}

#[test]
fn later_layers_win_and_each_value_has_its_origin() {
    let text = "[worker]\npipelines = 3\nbatch_size = 50\n[queue]\nprefetch = 100\nretry_delays = [\"1s\"]";
    let effective = Sources::file(text)
        .variable("HOSTMATCH_WORKER__BATCH_SIZE", "60")
        .variable("hostmatch_queue__retry_delays", "1s, 2m")
        .flag("worker.batch_size", "70")
        .load()
        .unwrap();
    assert_eq!(effective.config.worker.pipelines, 3);
    assert_eq!(effective.config.worker.batch_size, 70);
    let delays = [Duration::from_secs(1), Duration::from_secs(120)];
    assert_eq!(effective.config.queue.retry_delays, delays);
    assert!(origin(&effective, "worker.pipelines").starts_with("file /"));
    assert_eq!(origin(&effective, "worker.batch_size"), "flag --set worker.batch_size");
    assert_eq!(
        origin(&effective, "queue.retry_delays"),
        "environment variable hostmatch_queue__retry_delays"
    );
    assert_eq!(origin(&effective, "log.level"), "default");
}

#[test]
fn variables_without_a_section_are_ignored() {
    let effective = Sources::default()
        .variable("HOSTMATCH_SERVICE_HOST", "10.0.0.1")
        .variable("HOSTMATCH_PORT_8080_TCP", "tcp://10.0.0.1:8080")
        .variable("HOSTMATCH_TEST_AMQP_URL", "x")
        .variable("OTHER__KEY", "x")
        .load()
        .unwrap();
    assert!(effective.origins.iter().all(|(_, origin)| origin == "default"));
}

#[test]
fn strings_from_the_environment_are_kept_unchanged() {
    let effective = Sources::default()
        .variable("HOSTMATCH_EDGE__CALCOM_SECRETS", "00700700,true-true")
        .variable("HOSTMATCH_QUEUE__PREFIX", "12345678")
        .variable("HOSTMATCH_EDGE__ALLOW_UNSIGNED", "true")
        .load()
        .unwrap();
    let secrets: Vec<_> = effective.config.edge.calcom_secrets.iter().map(|s| s.expose()).collect();
    assert_eq!(secrets, ["00700700", "true-true"]);
    assert_eq!(effective.config.queue.prefix, "12345678");
    assert!(effective.config.edge.allow_unsigned);
}

#[test]
fn one_run_reports_every_error_with_key_and_origin() {
    let text = "log = 3\n[worker]\npipelines = \"many\"\nbatchsize = 7\nhold = 5\n[wroker]\nhold = \"1s\"\n";
    let refused = Sources::file(text)
        .variable("HOSTMATCH_MATCHING__AUTO_ACCEPT", "101")
        .variable("HOSTMATCH_QUEUE__TOPOLOGY", "guess")
        .variable("HOSTMATCH_EDGE__PORT", "80")
        .variable("HOSTMATCH_EDGE__BODY_LIMIT", "1GB")
        .flag("queue.delivery_limit", "-1")
        .flag("nothing.at_all", "1")
        .error_text();
    for (key, origin, reason) in [
        ("log", "file /", "is a section"),
        ("worker.pipelines", "file /", "expected a whole number"),
        ("worker.batchsize", "file /", "[worker] has mode, pipelines, batch_size"),
        ("worker.hold", "file /", "\"5\" is not a duration"),
        ("wroker.hold", "file /", "there is no section [wroker]"),
        ("matching.auto_accept", "environment variable HOSTMATCH_MATCHING__AUTO_ACCEPT", "0 to 100"),
        ("queue.topology", "environment variable HOSTMATCH_QUEUE__TOPOLOGY", "declare"),
        ("edge.port", "environment variable HOSTMATCH_EDGE__PORT", "unknown key"),
        ("edge.body_limit", "environment variable HOSTMATCH_EDGE__BODY_LIMIT", "is not a size"),
        ("queue.delivery_limit", "flag --set queue.delivery_limit", "-1 is out of range"),
        ("nothing.at_all", "flag --set nothing.at_all", "there is no section"),
    ] {
        let line = refused.lines().find(|line| line.trim_start().starts_with(&format!("{key} (")));
        let line = line.unwrap_or_else(|| panic!("{key} is missing in:\n{refused}"));
        assert!(line.contains(origin) && line.contains(reason), "{line}");
    }
    assert_eq!(refused.lines().count(), 12, "{refused}");
}

#[test]
fn impossible_values_are_refused() {
    for (key, value) in [
        ("database.url", "oracle://h/d"),
        ("database.max_connections", "0"),
        ("database.acquire_timeout", "0s"),
        ("gateway.timezone", "Europe/Berlin'; --"),
        ("gateway.timezone", "+2"),
        ("queue.url", "http://h"),
        ("queue.prefix", ""),
        ("queue.prefix", "a b"),
        ("queue.prefetch", "0"),
        ("queue.delivery_limit", "0"),
        ("queue.retry_delays", ""),
        ("queue.retry_delays", "0s"),
        ("queue.retry_delays", "25h"),
        ("queue.retry_delays", "60s,1m"),
        ("worker.pipelines", "65"),
        ("worker.batch_size", "0"),
        ("worker.batch_size", "401"),
        ("worker.batch_bytes", "0"),
        ("worker.hold", "25m"),
        ("worker.redecide_limit", "0"),
        ("edge.listen", "8080"),
        ("edge.listen", "localhost:99999"),
        ("edge.body_limit", "17MiB"),
        ("edge.spool_max_bytes", "1000"),
        ("edge.spool_max_age", "0s"),
        ("edge.max_in_flight", "0"),
        ("edge.max_connections", "0"),
        ("edge.write_timeout", "0s"),
        ("edge.body_min_rate", "2MiB"),
        ("edge.idle_timeout", "10s"),
        ("log.level", "verbose"),
        ("log.level", "info,hostmatch=loud"),
        ("log.format", "xml"),
    ] {
        let refused = Sources::default().flag(key, value).error_text();
        assert!(refused.contains(&format!("{key} (flag --set {key}):")), "{key}={value}: {refused}");
    }
    for (key, value) in [
        ("database.url", "postgresql://h/d"),
        ("database.url", "mariadb://h/d"),
        ("gateway.timezone", "+02:00"),
        ("gateway.timezone", "Europe/Berlin"),
        ("queue.url", "amqps://h"),
        ("edge.listen", "[::1]:0"),
        ("edge.listen", "localhost:8080"),
        ("log.level", "info,hostmatch::worker=debug"),
        ("matching.auto_accept", "75"),
    ] {
        let accepted = Sources::default().flag(key, value).load();
        assert!(accepted.is_ok(), "{key}={value}: {}", accepted.unwrap_err());
    }
}

#[test]
fn secrets_are_read_from_files() {
    let (_one, url) = write_temporary("url", "mysql://gateway:pass@db.example/gateway\r\n");
    let (_two, keys) = write_temporary("keys", "the first\n\nsecond,with comma\n");
    let effective = Sources::default()
        .variable("HOSTMATCH_DATABASE__URL_FILE", url.to_str().unwrap())
        .variable("HOSTMATCH_EDGE__CALCOM_SECRETS_FILE", keys.to_str().unwrap())
        .load()
        .unwrap();
    assert_eq!(effective.config.database.url.expose(), "mysql://gateway:pass@db.example/gateway");
    let secrets: Vec<_> = effective.config.edge.calcom_secrets.iter().map(|s| s.expose()).collect();
    assert_eq!(secrets, ["the first", "second,with comma"]);
    assert_eq!(effective.warnings, [""; 0], "the lines of a file are not split");
    let from = origin(&effective, "database.url");
    assert!(from.contains(url.to_str().unwrap()) && from.contains("database.url_file"), "{from}");
}

#[test]
fn a_secret_that_is_set_twice_and_an_unreadable_secret_file_are_refused() {
    let (_directory, path) = write_temporary("secret", "x\n");
    let refused = Sources::file("[edge]\ngateway_secrets = [\"a\"]")
        .variable("HOSTMATCH_EDGE__GATEWAY_SECRETS_FILE", path.to_str().unwrap())
        .variable("HOSTMATCH_QUEUE__URL_FILE", "/nowhere/queue-url")
        .error_text();
    assert!(refused.contains("edge.gateway_secrets_file (environment variable"), "{refused}");
    assert!(refused.contains("set only one of them"), "{refused}");
    assert!(
        refused.contains("queue.url_file (environment variable HOSTMATCH_QUEUE__URL_FILE):"),
        "{refused}"
    );
    assert!(refused.contains("/nowhere/queue-url cannot be read"), "{refused}");
}

#[test]
fn no_secret_is_ever_shown() {
    let effective = Sources::default()
        .variable("HOSTMATCH_DATABASE__URL", "postgres://gw:hunter2@db.example:5432/gw?password=hunter2")
        .variable("HOSTMATCH_QUEUE__URL", "amqp://gw:hunt@r/hunter2@mq.example/vhost")
        .variable("HOSTMATCH_EDGE__RETELL_API_KEYS", "hunter2-hunter2")
        .load()
        .unwrap();
    let shown = effective.redacted().unwrap();
    let value = |key: &str| shown.iter().find(|s| s.key == key).unwrap().value.clone();
    assert_eq!(value("database.url"), json!("postgres://gw:***@db.example:5432/gw?***"));
    assert_eq!(value("queue.url"), json!("amqp://gw:***@mq.example/vhost"));
    assert_eq!(value("edge.retell_api_keys"), json!(["[hidden]"]));
    assert_eq!(value("queue.retry_delays"), json!(["5s", "30s", "2m", "10m", "1h"]));
    let all = format!("{shown:?}{effective:?}");
    assert!(!all.contains("hunt"), "{all}");

    let refused = Sources::file("[edge]\ncalcom_secrets = 12345678\n[queue]\nurl = 12345678")
        .variable("HOSTMATCH_DATABASE__URL", "oracle://gw:hunter2@db.example")
        .error_text();
    assert!(!refused.contains("hunter2") && !refused.contains("12345678"), "{refused}");
    let refused = Sources::file("[database]\nurl = \"mysql://gw:hunter2@db.example").error_text();
    assert!(refused.contains("line 2") && !refused.contains("hunter2"), "{refused}");
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let missing = Path::new("/nowhere/hostmatch.toml");
    let refused = load_from(Some(missing), std::iter::empty(), &Overrides::default()).unwrap_err();
    assert!(refused.to_string().contains("file /nowhere/hostmatch.toml: cannot be read"), "{refused}");
}

#[test]
fn trace_settings_are_checked_before_anything_starts() {
    let refused = |key: &str, value: &str| Sources::file(&format!("[traces]\n{key} = {value}")).error_text();
    for (key, value, why) in [
        ("endpoint", "\"collector:4318\"", "must be a URL"),
        ("endpoint", "\"grpc://collector:4317\"", "must be a URL"),
        ("endpoint", "\"https://me:hunter2@traces.example\"", "must contain no secret"),
        ("endpoint", "\"https://traces.example?key=hunter2\"", "must contain no secret"),
        ("sample_ratio", "1.5", "must be a ratio from 0 to 1"),
        ("sample_ratio", "\"half\"", "expected a number"),
        ("headers", "[\"authorization: hunter2\"]", "every header must be name=value"),
        ("headers", "[\"an name=hunter2\"]", "every header must be name=value"),
    ] {
        let text = refused(key, value);
        assert!(text.contains(&format!("traces.{key}")) && text.contains(why), "{value}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let (_directory, headers) = write_temporary("headers", "authorization=Bearer hunter2\nx-tenant = 7\n");
    let text = format!("[traces]\nheaders_file = {headers:?}\nendpoint = \"https://traces.example/otlp\"");
    let effective = Sources::file(&text).variable("HOSTMATCH_TRACES__SAMPLE_RATIO", "0.25").load().unwrap();
    assert!((effective.config.traces.sample_ratio - 0.25).abs() < 1e-9);
    assert_eq!(effective.config.traces.headers.len(), 2);
    assert!(!format!("{:?}{:?}", effective.config, effective.redacted().unwrap()).contains("hunter2"));
}
