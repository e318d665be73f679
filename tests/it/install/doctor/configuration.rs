//! Tests findings about valid but dangerous settings, and about files, folders and disks.

use std::fs::{Permissions, set_permissions, write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{ACCEPT_FULL_DISK, Installation, SECRET};
use crate::support::Backend;
use crate::support::program::{json, stdout};

/// Settings, and the finding that they cause: code, subject and remedy.
type Case = (&'static [(&'static str, &'static str)], &'static str, &'static str, &'static str);

const LOCAL_SERVERS: &[Case] = &[
    (
        &[("edge.allow_unsigned", "true"), ("edge.listen", "0.0.0.0:8080")],
        "edge_unsigned",
        "edge.allow_unsigned",
        "edge.allow_unsigned = false",
    ),
    (&[("edge.gateway_secrets", "")], "edge_refuses_all", "edge", "edge.tokens_file"),
    (&[("edge.calcom_secrets", "hush-hush")], "secret_weak", "edge.calcom_secrets", "openssl rand"),
    (
        &[("worker.health_listen", "127.0.0.1:8080")],
        "addresses_collide",
        "worker.health_listen",
        "worker.health_listen",
    ),
    (&[("worker.hold", "20m")], "hold_too_long", "worker.hold", "15m"),
    (
        &[("worker.shutdown_timeout", "3s")],
        "shutdown_too_short",
        "worker.shutdown_timeout",
        "statement_timeout",
    ),
    (&[("queue.delivery_limit", "3")], "delivery_limit_low", "queue.delivery_limit", "50"),
    (&[("retention.events", "1d")], "retention_too_short", "retention.events", "retention.events"),
    (&[("appointments.overwrite", "always")], "overwrite_always", "appointments.overwrite", "ours"),
    (&[("matching.auto_accept", "50")], "threshold_low", "matching.auto_accept", "80"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_dangerous_value_causes_exactly_its_finding() {
    for (settings, code, subject, remedy) in LOCAL_SERVERS {
        let mut installation = Installation::embedded(Backend::Sqlite).await;
        for (key, value) in *settings {
            installation.set(key, value);
        }
        let report = installation.doctor(&[]);
        report.finds(code, subject, remedy);
        report.only(&[*code]);
    }
}

/// Settings with a broker or a database that does not answer.
const REMOTE_SERVERS: &[Case] = &[
    (&[("queue.url", "amqp://u:hush@broker.invalid")], "broker_unencrypted", "queue.url", "amqps://"),
    (
        &[("queue.url", "amqps://guest:guest@broker.invalid")],
        "broker_guest",
        "queue.url",
        "rabbitmqctl add_user",
    ),
    (
        &[("database.url", "mysql://u:hush@db.invalid/gateway")],
        "database_unencrypted",
        "database.url",
        "VERIFY_IDENTITY",
    ),
    (
        &[
            ("database.url", "postgres://u:hush@127.0.0.1:1/g"),
            ("database.max_connections", "2"),
            ("worker.pipelines", "4"),
        ],
        "pool_too_small",
        "database.max_connections",
        "worker.pipelines",
    ),
    (
        &[("queue.url", "amqp://u:hush@127.0.0.1:1"), ("queue.prefetch", "120")],
        "prefetch_too_small",
        "queue.prefetch",
        "worker.batch_size",
    ),
    (
        &[("queue.url", "amqp://u:hush@127.0.0.1:1"), ("queue.header_key", "hush-hush")],
        "header_key_weak",
        "queue.header_key",
        "openssl rand",
    ),
    (
        &[("queue.url", "amqp://u:hush@127.0.0.1:1"), ("edge.spool", "")],
        "spool_off",
        "edge.spool",
        "edge.spool",
    ),
    (
        &[("queue.url", "amqp://u:hush@127.0.0.1:1"), ("edge.spool_max_bytes", "900000GiB")],
        "disk_nearly_full",
        "edge.spool",
        "edge.spool_max_bytes",
    ),
    (
        &[("queue.url", "amqp://u:hush@127.0.0.1:1"), ("edge.spool", "/nowhere/at/all/spool.db")],
        "folder_unwritable",
        "edge.spool",
        "mkdir -p '/nowhere/at/all'",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dangerous_settings_are_reported_even_if_the_servers_are_unreachable() {
    for (settings, code, subject, remedy) in REMOTE_SERVERS {
        let mut installation = Installation::embedded(Backend::Sqlite).await;
        installation.set("queue.connect_timeout", "1s");
        installation.set("database.acquire_timeout", "1s");
        for (key, value) in *settings {
            installation.set(key, value);
        }
        let report =
            if *code == "disk_nearly_full" { installation.report(&[]) } else { installation.doctor(&[]) };
        report.finds(code, subject, remedy);
        let unreachable =
            if settings[0].0 == "queue.url" { "broker_unreachable" } else { "database_unreachable" };
        report.finds(unreachable, "", "hostmatch config show");
        report.only(&[*code, unreachable]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ignored_variable_is_reported() {
    let installation = Installation::embedded(Backend::Sqlite).await;
    let output = installation
        .stack
        .command(&[&["doctor", "--output", "json"], &ACCEPT_FULL_DISK[..]].concat())
        .env("HOSTMATCH_WORKER_PIPELINES", "4")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(10));
    let finding = &json(&output)["findings"][0];
    assert_eq!(finding["code"], "environment_not_read");
    assert!(finding["what"].as_str().unwrap().contains("HOSTMATCH_WORKER__PIPELINES"), "{finding:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_configuration_is_reported_as_findings() {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    installation.set("worker.pipelines", "none");
    installation.set("queue.prefetch", "10");
    let output = installation.run(&["doctor", "--output", "json"]);
    assert_eq!(output.status.code(), Some(9));
    let report = json(&output);
    let found = report["findings"].as_array().unwrap();
    let subjects: Vec<&str> = found.iter().map(|one| one["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["worker.pipelines", "worker.batch_size"], "{report:#}");
    assert!(found.iter().all(|one| one["code"] == "config_invalid"), "{report:#}");
    assert!(
        stdout(&installation.run(&["doctor"]))
            .contains("what to do: correct worker.pipelines in environment variable")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_others_can_read_or_change_are_reported() {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    let home = installation.stack.home().to_owned();
    let file = |name: &str, text: &str, mode: u32| {
        let path = home.join(name);
        write(&path, text).unwrap();
        set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let config = file("hostmatch.toml", &format!("[edge]\ncalcom_secrets = [\"{SECRET}\"]\n"), 0o646);
    let report = installation.doctor(&[]);
    report.finds("secret_readable", "hostmatch.toml", "chmod o-rwx");
    report.finds("file_writable", "hostmatch.toml", "chmod o-w");
    report.only(&["secret_readable", "file_writable"]);
    std::fs::remove_file(config).unwrap();

    installation.set("edge.calcom_secrets_file", &file("calcom", SECRET, 0o644));
    installation.set("traces.headers_file", &file("headers", "authorization=Bearer abc", 0o644));
    installation.set("edge.tokens_file", &file("tokens", "what is this\n", 0o644));
    let report = installation.doctor(&[]);
    report.finds("secret_readable", "edge.calcom_secrets_file", "chmod o-rwx");
    report.finds("secret_readable", "traces.headers_file", "chmod o-rwx");
    report.finds("token_line_left_out", "edge.tokens_file", "hostmatch token create");
    report.only(&["secret_readable", "token_line_left_out"]);

    let hash = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let expired = format!("{hash}  {{\"name\":\"old\",\"expires\":\"2020-01-01T00:00:00Z\"}}\n");
    installation.set("edge.tokens_file", &file("tokens", &expired, 0o640));
    installation.set("edge.calcom_secrets_file", &file("calcom", SECRET, 0o640));
    installation.set("traces.headers_file", &file("headers", "authorization=Bearer abc", 0o640));
    installation
        .doctor(&[])
        .finds("tokens_expired", "edge.tokens_file", "hostmatch token")
        .only(&["tokens_expired"]);

    installation.set("edge.tokens_file", &home.join("nowhere").display().to_string());
    installation
        .doctor(&[])
        .finds("file_unreadable", "edge.tokens_file", "hostmatch token create")
        .only(&["file_unreadable"]);
    // A worker does not use it.
    assert_eq!(installation.doctor(&["--role", "worker"]).code, Some(0));
}

/// Files that an older version has created keep their mode.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_with_bookings_that_others_can_read_or_change_are_reported() {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    let mode = |path: &Path, mode| set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let file = |url: &str| PathBuf::from(url.trim_start_matches("sqlite://").split('?').next().unwrap());
    let queue = file(installation.stack.config.url.expose());
    let database = file(&installation.stack.world.test.url);
    mode(&queue, 0o644);
    mode(&database, 0o646);
    let report = installation.doctor(&[]);
    report.finds("data_readable", "(queue.url)", "chmod o-rwx");
    report.finds("data_readable", "(database.url)", "chmod o-rwx");
    report.finds("file_writable", "(database.url)", "chmod o-w");
    report.only(&["data_readable", "file_writable"]);
    mode(&queue, 0o640);
    mode(&database, 0o640);
    assert_eq!(installation.doctor(&[]).code, Some(0));

    let spool = installation.stack.home().join("spool.db");
    write(&spool, "").unwrap();
    mode(&spool, 0o644);
    installation.set("queue.url", "amqp://127.0.0.1:1/");
    installation.set("edge.spool", &spool.display().to_string());
    installation.doctor(&["--role", "edge"]).finds("data_readable", "spool.db (edge.spool)", "chmod o-rwx");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_queue_that_is_not_a_database_is_reported() {
    let mut installation = Installation::embedded(Backend::Sqlite).await;
    let path = installation.stack.home().join("other.db");
    write(&path, "this is not a database, but long enough to be read as the header of one").unwrap();
    set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    installation.set("queue.url", &format!("sqlite://{}", path.display()));
    installation
        .doctor(&[])
        .finds("queue_file_unusable", "other.db", "queue.url")
        .only(&["queue_file_unusable"]);
}
