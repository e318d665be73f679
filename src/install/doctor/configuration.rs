//! Checks the configuration for values that are valid but dangerous.

use std::time::Duration;

use super::urls::{host, is_local, parameter};
use super::{Code, Report, Role};
use crate::config::{Config, Effective, Overwrite, Secret};

/// RabbitMQ's default consumer timeout.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const MIN_SECRET_LENGTH: usize = 16;
const MIN_DELIVERY_LIMIT: u32 = 10;
/// The confidence of a match by name alone.
const NAME_CONFIDENCE: u8 = 75;
/// The number of connections that are not used by pipelines: one for the recorder, one for housekeeping.
const OTHER_CONNECTIONS: u32 = 2;

/// Checks the configuration. [`Report::finish`] drops the findings that do not apply to this installation.
pub(super) fn check(effective: &Effective, role: Role, report: &mut Report) {
    report.checked(Code::ConfigInvalid.to(Code::SpoolOff));
    for warning in &effective.warnings {
        report.found(Code::EnvironmentNotRead, "environment", warning);
    }
    check_servers(&effective.config, report);
    check_addresses(&effective.config, role, report);
    check_edge(&effective.config, report);
    check_worker(&effective.config, report);
}

fn check_servers(config: &Config, report: &mut Report) {
    let (queue, database) = (&config.queue, &config.database);
    for (key, url) in [("queue.url", &queue.url), ("queue.management_url", &queue.management_url)] {
        let url = url.expose();
        let (scheme, _) = url.split_once("://").unwrap_or_default();
        let is_unencrypted = ["amqp", "http"].contains(&scheme) && !is_local(host(url));
        let what = format!("{scheme}:// to {} is not encrypted", host(url));
        report.check(is_unencrypted, Code::BrokerUnencrypted, key, what);
    }
    check_length(Code::HeaderKeyWeak, "queue.header_key", &queue.header_key, report);
    let url = queue.url.expose();
    let user = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    // Without a user in the URL, the user is guest too.
    let is_guest = matches!(user, None | Some("guest" | "guest:guest")) && !is_local(host(url));
    report.check(is_guest, Code::BrokerGuest, "queue.url", format!("the user at {} is guest", host(url)));

    let url = database.url.expose();
    let is_server = !url.starts_with("sqlite");
    let mode = if url.starts_with("postgres") { "sslmode" } else { "ssl-mode" };
    let verifies = parameter(url, mode).is_some_and(|mode| mode.to_ascii_lowercase().starts_with("verify"));
    let is_unverified = is_server && !verifies && !is_local(host(url));
    let what = format!("the certificate of the server {} is not verified ({mode})", host(url));
    report.check(is_unverified, Code::DatabaseUnencrypted, "database.url", what);
    let (pipelines, connections) = (config.worker.pipelines, database.max_connections);
    let needed = u32::from(pipelines) + OTHER_CONNECTIONS;
    let what = format!("it is {connections}, but worker.pipelines = {pipelines} needs {needed}");
    let is_small = is_server && connections < needed;
    report.check(is_small, Code::PoolTooSmall, "database.max_connections", what);
}

/// Checks that the addresses differ, because one process listens on all of them.
fn check_addresses(config: &Config, role: Role, report: &mut Report) {
    let addresses = [
        ("edge.listen", &config.edge.listen, role.has_edge()),
        ("worker.health_listen", &config.worker.health_listen, role.has_worker()),
        ("metrics.listen", &config.metrics.listen, true),
    ];
    let fixed = |(_, address, is_used): &(&str, &String, bool)| {
        *is_used && !address.is_empty() && !address.ends_with(":0")
    };
    let used: Vec<_> = addresses.into_iter().filter(fixed).collect();
    for (index, (key, address, _)) in used.iter().enumerate() {
        if let Some((other, taken, _)) = used[..index].iter().find(|(_, taken, _)| collide(taken, address)) {
            report.found(Code::AddressesCollide, *key, format!("{other} is also {taken}"));
        }
    }
}

/// Returns whether a process can listen on only one of these addresses, because they have the same port at
/// the same address or at all addresses.
fn collide(one: &str, other: &str) -> bool {
    let (one, other) = (one.rsplit_once(':'), other.rsplit_once(':'));
    let is_any = |host: &str| matches!(host, "0.0.0.0" | "[::]");
    match (one, other) {
        (Some((host, port)), Some((other_host, other_port))) => {
            port == other_port && (host == other_host || is_any(host) || is_any(other_host))
        }
        _ => false,
    }
}

fn check_length(code: Code, key: &str, secrets: &[Secret], report: &mut Report) {
    let weak = secrets.iter().filter(|secret| secret.expose().len() < MIN_SECRET_LENGTH).count();
    let verb = if weak == 1 { "is" } else { "are" };
    let what = format!("{weak} of {} {verb} shorter than {MIN_SECRET_LENGTH} characters", secrets.len());
    report.check(weak > 0, code, key, what);
}

fn check_edge(config: &Config, report: &mut Report) {
    let edge = &config.edge;
    let (host, _) = edge.listen.rsplit_once(':').unwrap_or((&edge.listen, ""));
    let is_open = edge.allow_unsigned && !is_local(host.trim_matches(['[', ']']));
    let what = format!("it is on, and edge.listen is {}: anybody can post events there", edge.listen);
    report.check(is_open, Code::EdgeUnsigned, "edge.allow_unsigned", what);
    let secrets =
        [("edge.calcom_secrets", &edge.calcom_secrets), ("edge.gateway_secrets", &edge.gateway_secrets)];
    let has_any = secrets.iter().any(|(_, secrets)| !secrets.is_empty()) || !edge.retell_api_keys.is_empty();
    let refuses_all = !has_any && edge.tokens_file.as_os_str().is_empty() && !edge.allow_unsigned;
    report.check(refuses_all, Code::EdgeRefusesAll, "edge", "no secret, key or token is configured");
    for (key, secrets) in secrets {
        check_length(Code::SecretWeak, key, secrets, report);
    }
    report.check(edge.spool.as_os_str().is_empty(), Code::SpoolOff, "edge.spool", "it is empty");
}

fn check_worker(config: &Config, report: &mut Report) {
    let (worker, queue) = (&config.worker, &config.queue);
    let (is_low, what) =
        (queue.delivery_limit < MIN_DELIVERY_LIMIT, format!("it is {}", queue.delivery_limit));
    report.check(is_low, Code::DeliveryLimitLow, "queue.delivery_limit", what);
    let what = format!("it is {} s", worker.hold.as_secs());
    report.check(worker.hold > CONSUMER_TIMEOUT / 2, Code::HoldTooLong, "worker.hold", what);
    let (timeout, longest) =
        (worker.shutdown_timeout, config.database.statement_timeout + queue.confirm_timeout);
    let (is, needed) = (timeout.as_secs(), longest.as_secs());
    let what = format!("it is {is} s; a statement and a confirm may take {needed} s");
    report.check(timeout < longest, Code::ShutdownTooShort, "worker.shutdown_timeout", what);
    let is_small = usize::from(queue.prefetch) < 2 * worker.batch_size;
    let what = format!("it is {}, but worker.batch_size is {}", queue.prefetch, worker.batch_size);
    report.check(is_small, Code::PrefetchTooSmall, "queue.prefetch", what);
    let retention = config.retention.events;
    let in_transit = config.edge.spool_max_age + queue.retry_delays.iter().sum::<Duration>();
    let [is, needed] = [retention, in_transit].map(|duration| duration.as_secs().div_ceil(3600));
    let what = format!("it is {is} h, but an event may be in transit for {needed} h");
    report.check(retention < in_transit, Code::RetentionTooShort, "retention.events", what);
    let is_always = config.appointments.overwrite == Overwrite::Always;
    report.check(is_always, Code::OverwriteAlways, "appointments.overwrite", "it is always");
    let threshold = config.matching.auto_accept;
    report.check(
        threshold < NAME_CONFIDENCE,
        Code::ThresholdLow,
        "matching.auto_accept",
        format!("it is {threshold}"),
    );
}
