//! Values that are legal and dangerous.

use std::time::Duration;

use super::code::Code;
use super::places::{host, is_here, parameter};
use super::{Report, Role};
use crate::config::{Config, Effective, Overwrite};

/// What RabbitMQ allows a consumer by itself before it is closed.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const SHORTEST_SECRET: usize = 16;
const FEW_DELIVERIES: u32 = 10;
/// The confidence of a match by name alone.
const NAME: u8 = 75;
/// Connections beside those of the pipelines: the recorder's and housekeeping's.
const OTHERS: u32 = 2;

/// Looks.
pub(super) fn look(effective: &Effective, role: Role, report: &mut Report) {
    let config = &effective.config;
    report.looked(&[Code::ConfigInvalid, Code::EnvironmentNotRead]);
    for warning in &effective.warnings {
        report.found(Code::EnvironmentNotRead, "environment", warning);
    }
    broker(config, report);
    addresses(config, role, report);
    if role.has_edge() {
        edge(config, report);
    }
    if role.has_worker() {
        database(config, report);
        worker(config, report);
    }
}

fn broker(config: &Config, report: &mut Report) {
    report.looked(&[Code::BrokerUnencrypted, Code::BrokerGuest, Code::DeliveryLimitLow]);
    if config.queue.delivery_limit < FEW_DELIVERIES {
        let what = format!("it is {}", config.queue.delivery_limit);
        report.found(Code::DeliveryLimitLow, "queue.delivery_limit", what);
    }
    if config.queue.is_embedded() {
        return;
    }
    let addresses =
        [("queue.url", &config.queue.url), ("queue.management_url", &config.queue.management_url)];
    for (key, url) in addresses {
        let url = url.expose();
        let (scheme, _) = url.split_once("://").unwrap_or_default();
        if ["amqp", "http"].contains(&scheme) && !is_here(host(url)) {
            let what = format!("{scheme}:// to {} is not encrypted", host(url));
            report.found(Code::BrokerUnencrypted, key, what);
        }
    }
    let url = config.queue.url.expose();
    let user = url.split_once("://").and_then(|(_, rest)| rest.rsplit_once('@')).map(|(user, _)| user);
    // Without a user it is guest, too.
    if matches!(user, None | Some("guest" | "guest:guest")) && !is_here(host(url)) {
        report.found(Code::BrokerGuest, "queue.url", format!("{} is used as guest", host(url)));
    }
}

/// One process listens on all of them.
fn addresses(config: &Config, role: Role, report: &mut Report) {
    report.looked(&[Code::AddressesCollide]);
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
            report.found(Code::AddressesCollide, *key, format!("{other} is {taken}, too"));
        }
    }
}

/// Whether only one of them can be listened on: one port, at one address or at all of them.
fn collide(one: &str, other: &str) -> bool {
    let (one, other) = (one.rsplit_once(':'), other.rsplit_once(':'));
    let is_any = |place: &str| matches!(place, "0.0.0.0" | "[::]");
    match (one, other) {
        (Some((place, port)), Some((other, same))) => {
            port == same && (place == other || is_any(place) || is_any(other))
        }
        _ => false,
    }
}

fn edge(config: &Config, report: &mut Report) {
    report.looked(&[Code::EdgeUnsigned, Code::EdgeRefusesAll, Code::SecretWeak, Code::SpoolOff]);
    let edge = &config.edge;
    let (place, _) = edge.listen.rsplit_once(':').unwrap_or((&edge.listen, ""));
    if edge.allow_unsigned && !is_here(place.trim_matches(['[', ']'])) {
        let what =
            format!("it is on, and edge.listen is {}: whoever reaches it can post events", edge.listen);
        report.found(Code::EdgeUnsigned, "edge.allow_unsigned", what);
    }
    let secrets =
        [("edge.calcom_secrets", &edge.calcom_secrets), ("edge.gateway_secrets", &edge.gateway_secrets)];
    let has_any = secrets.iter().any(|(_, secrets)| !secrets.is_empty()) || !edge.retell_api_keys.is_empty();
    if !has_any && edge.tokens_file.as_os_str().is_empty() && !edge.allow_unsigned {
        report.found(Code::EdgeRefusesAll, "edge", "no secret, key or token is configured");
    }
    for (key, secrets) in secrets {
        let weak = secrets.iter().filter(|secret| secret.expose().len() < SHORTEST_SECRET).count();
        if weak > 0 {
            let what = format!("{weak} of {} are shorter than {SHORTEST_SECRET} characters", secrets.len());
            report.found(Code::SecretWeak, key, what);
        }
    }
    if !config.queue.is_embedded() && edge.spool.as_os_str().is_empty() {
        report.found(Code::SpoolOff, "edge.spool", "it is empty");
    }
}

fn database(config: &Config, report: &mut Report) {
    report.looked(&[Code::DatabaseUnencrypted, Code::PoolTooSmall]);
    let url = config.database.url.expose();
    let is_server = !url.starts_with("sqlite");
    let mode = if url.starts_with("postgres") { "sslmode" } else { "ssl-mode" };
    let verifies = parameter(url, mode).is_some_and(|mode| mode.to_ascii_lowercase().starts_with("verify"));
    if is_server && !verifies && !is_here(host(url)) {
        let what =
            format!("the server {} is not asked for a certificate ({mode} does not verify)", host(url));
        report.found(Code::DatabaseUnencrypted, "database.url", what);
    }
    let needed = u32::from(config.worker.pipelines) + OTHERS;
    if is_server && config.database.max_connections < needed {
        let what = format!(
            "it is {}, and worker.pipelines = {} want {needed}",
            config.database.max_connections, config.worker.pipelines
        );
        report.found(Code::PoolTooSmall, "database.max_connections", what);
    }
}

fn worker(config: &Config, report: &mut Report) {
    report.looked(&[
        Code::HoldTooLong,
        Code::ShutdownTooShort,
        Code::PrefetchTooSmall,
        Code::RetentionTooShort,
        Code::OverwriteAlways,
        Code::ThresholdLow,
    ]);
    let (worker, queue) = (&config.worker, &config.queue);
    if worker.hold > CONSUMER_TIMEOUT / 2 {
        report.found(Code::HoldTooLong, "worker.hold", format!("it is {} s", worker.hold.as_secs()));
    }
    let longest = config.database.statement_timeout + queue.confirm_timeout;
    if worker.shutdown_timeout < longest {
        let what = format!(
            "it is {} s; a statement and a confirm may take {} s",
            worker.shutdown_timeout.as_secs(),
            longest.as_secs()
        );
        report.found(Code::ShutdownTooShort, "worker.shutdown_timeout", what);
    }
    if !queue.is_embedded() && usize::from(queue.prefetch) < 2 * worker.batch_size {
        let what = format!("it is {}, and worker.batch_size is {}", queue.prefetch, worker.batch_size);
        report.found(Code::PrefetchTooSmall, "queue.prefetch", what);
    }
    let on_its_way = config.edge.spool_max_age + queue.retry_delays.iter().sum::<Duration>();
    if config.retention.events < on_its_way {
        let hours = |duration: Duration| duration.as_secs().div_ceil(3600);
        let what = format!(
            "it is {} h, and an event may be on its way for {} h",
            hours(config.retention.events),
            hours(on_its_way)
        );
        report.found(Code::RetentionTooShort, "retention.events", what);
    }
    if config.appointments.overwrite == Overwrite::Always {
        report.found(Code::OverwriteAlways, "appointments.overwrite", "it is always");
    }
    if config.matching.auto_accept < NAME {
        let what = format!("it is {}", config.matching.auto_accept);
        report.found(Code::ThresholdLow, "matching.auto_accept", what);
    }
}
