//! Checks the broker: whether it is reachable and new enough, accepts messages, and has the expected
//! topology. With an embedded queue, checks the file instead.

use std::time::Duration;

use super::{Code, Report, Role, urls};
use crate::app::pluralize;
use crate::config::{Config, Topology};
use crate::install::topology::{
    BrokerReader, Comparison, FoundQueue, Management, ManagementError, PublishProbe, QueueRole, ReadError,
    compare,
};
use crate::queue::Queue;

/// The oldest version of RabbitMQ on which the topology can be created.
const OLDEST: (u32, u32) = (3, 10);
/// The number of channels that are not used by pipelines.
const OTHER_CHANNELS: u16 = 8;
const NO_MANAGEMENT: &str = "AMQP does not report it; set queue.management_url";

/// Returns the codes that need the management API, besides alarms.
fn codes_from_management() -> &'static [Code] {
    Code::BindingMissing.to(Code::ConsumerTimeoutShort)
}

pub(super) async fn check(config: &Config, role: Role, report: &mut Report) {
    if config.queue.is_embedded() {
        return check_file(config, report).await;
    }
    report.checked(&[Code::ManagementUnusable]);
    let management = Management::of(&config.queue).unwrap_or_else(|error| {
        report.found(Code::ManagementUnusable, "queue.management_url", error.to_string());
        None
    });
    if management.is_none() {
        report.not_checked(codes_from_management(), NO_MANAGEMENT);
        report.not_checked(&[Code::BrokerAlarm], NO_MANAGEMENT);
    }
    let subject = config.queue.url.redacted_url();
    report.checked(&[Code::BrokerUnreachable]);
    let reader = match BrokerReader::connect(&config.queue).await {
        Ok(reader) => reader,
        Err(ReadError::Unreachable(text)) => return report.found(Code::BrokerUnreachable, subject, text),
        Err(error) => return report.found(Code::BrokerRefused, subject, error.to_string()),
    };
    report.checked(&[Code::BrokerRefused]);
    if let Err(error) = check_connected(&reader, management.as_ref(), config, role, report).await {
        report.found(Code::BrokerUnreachable, subject, error.to_string());
    }
    reader.close().await;
}

/// Checks the file of the embedded queue. A missing file is fine: the first publish creates it.
async fn check_file(config: &Config, report: &mut Report) {
    report.checked(&[Code::QueueFileUnusable]);
    let exists = urls::file(config.queue.url.expose()).is_some_and(|path| path.exists());
    if !exists {
        return;
    }
    let opened = async {
        let queue = Queue::open(&config.queue).await?;
        let depth = queue.depth().await;
        queue.close().await;
        depth
    };
    if let Err(error) = opened.await {
        report.found(Code::QueueFileUnusable, config.queue.url.redacted_url(), error.to_string());
    }
}

async fn check_connected(
    reader: &BrokerReader,
    management: Option<&Management>,
    config: &Config,
    role: Role,
    report: &mut Report,
) -> Result<(), ReadError> {
    check_server(reader, config, report).await;
    let found = compare(reader, management).await?;
    report.checked(Code::ExchangeMissing.to(Code::QueueDiffers));
    report.findings.extend(found.findings.iter().cloned());
    check_queues(&found, config, report);
    if let Some(api) = management {
        match &found.api_error {
            None => {
                report.checked(codes_from_management());
                check_alarms(api, report).await;
            }
            Some(error) => {
                report.found(Code::ManagementUnusable, api.base(), error.to_string());
                report.not_checked(codes_from_management(), &error.to_string());
                report.not_checked(&[Code::BrokerAlarm], &error.to_string());
            }
        }
    }
    // This comes last, because a broker that accepts no messages no longer responds on this connection.
    let mut missing = Vec::new();
    if reader.declares() && found.has_uncompared {
        missing.push("configure on its exchange and queues".to_owned());
    }
    if role.has_worker() {
        for queue in found.queues.iter().filter(|queue| queue.role != QueueRole::Retry) {
            if reader.is_read_denied(&queue.name).await? {
                missing.push(format!("read on {}", queue.name));
            }
        }
    }
    report.not_checked.extend(found.not_checked);
    check_writes(reader, config, role, &mut missing, report).await?;
    if !missing.is_empty() {
        let (user, what) = (format!("user {}", reader.user()), format!("it lacks {}", missing.join("; ")));
        report.found_with(Code::BrokerRightMissing, user, what, grant_command(reader, config, role));
    }
    report.checked(&[Code::BrokerRightMissing]);
    Ok(())
}

async fn check_server(reader: &BrokerReader, config: &Config, report: &mut Report) {
    match reader.server().await {
        None => report.not_checked(&[Code::BrokerTooOld], "the broker does not report its version"),
        Some(server) => {
            report.checked(&[Code::BrokerTooOld]);
            let name = format!("{} {}", server.product, server.version);
            let is_old = server.major_minor().is_some_and(|version| version < OLDEST);
            if server.product != "RabbitMQ" || is_old {
                report.found(Code::BrokerTooOld, reader.address(), format!("it is {name}"));
            }
            report.facts.push(name);
        }
    }
    report.checked(&[Code::ChannelsFew]);
    let (max, needed) = (reader.channels(), config.worker.pipelines + OTHER_CHANNELS);
    // 0 means no limit.
    if (1..needed).contains(&max) {
        let what = format!("a connection may have {max} channels, but {needed} are needed");
        report.found(Code::ChannelsFew, reader.address(), what);
    }
}

/// Checks the consumers of our queues, and the effect of policies and of arguments that an administrator
/// has added.
fn check_queues(found: &Comparison, config: &Config, report: &mut Report) {
    if let Some(to) = &found.alternate {
        let subject = format!("{}.events", config.queue.prefix);
        report.found(Code::AlternateExchange, subject, format!("events that no queue accepts go to {to}"));
    }
    report.checked(Code::NoConsumers.to(Code::DeadLettersStuck));
    for queue in &found.queues {
        if let Some((ready, 0)) = queue.counts {
            match queue.role {
                QueueRole::Work => {
                    let what = format!("it has no consumer, but {}", pluralize(ready, "message", "messages"));
                    report.found(Code::NoConsumers, &queue.name, what);
                }
                QueueRole::Dead if ready > 0 => {
                    let what = format!("it has {}", pluralize(ready, "message", "messages"));
                    report.found(Code::DeadLettersStuck, &queue.name, what);
                }
                QueueRole::Dead | QueueRole::Retry => {}
            }
        }
        check_policies(queue, config, report);
    }
}

fn check_policies(queue: &FoundQueue, config: &Config, report: &mut Report) {
    let (by_policy, by_argument) = (&queue.info["effective_policy_definition"], &queue.info["arguments"]);
    let policy = |rule: &str| by_policy[rule].as_i64();
    let argument = |rule: &str| by_argument[format!("x-{rule}").as_str()].as_i64();
    let named = [("policy", "policy"), ("operator policy", "operator_policy")];
    let named = named.into_iter().filter_map(|(kind, key)| {
        let name = queue.info[key].as_str().filter(|name| !name.is_empty())?;
        Some(format!("{kind} {name}"))
    });
    let named = named.collect::<Vec<_>>().join(" and ");
    let by = if named.is_empty() { named } else { format!(" ({named})") };
    let mut found = |code, what: String| report.found(code, format!("{}{by}", queue.name), what);
    let is_retry = queue.role == QueueRole::Retry;
    // A wait queue has its own TTL; the shorter of the two applies.
    let wait = argument("message-ttl");
    if let Some(ttl) = policy("message-ttl").filter(|ttl| !is_retry || wait.is_none_or(|wait| *ttl < wait)) {
        found(Code::PolicyExpiresMessages, format!("message-ttl is {ttl} ms"));
    }
    for bound in ["max-length", "max-length-bytes"] {
        if let Some(max) = policy(bound) {
            found(Code::PolicyBoundsQueue, format!("{bound} is {max}"));
        }
    }
    if let Some(ms) = policy("expires") {
        found(Code::PolicyDeletesQueue, format!("expires is {ms} ms"));
    }
    // Our own argument takes precedence over a policy; the dead-letter queue has no such argument.
    let has_own = !by_argument["x-dead-letter-exchange"].is_null();
    if let Some(exchange) = by_policy["dead-letter-exchange"].as_str().filter(|_| !has_own) {
        found(Code::PolicyRedirects, format!("dead-letter-exchange is {exchange:?}"));
    }
    let limit = argument("delivery-limit").unwrap_or(i64::MAX);
    if let Some(lower) = policy("delivery-limit").filter(|lower| *lower < limit) {
        found(Code::PolicyDeliveryLimit, format!("delivery-limit is {lower}"));
    }
    let timeouts = [policy("consumer-timeout"), argument("consumer-timeout")];
    let shortest = timeouts.into_iter().flatten().min().filter(|_| !is_retry);
    let hold = config.worker.hold;
    if let Some(ms) = shortest.and_then(|ms| u64::try_from(ms).ok())
        && Duration::from_millis(ms) < hold * 2
    {
        let what = format!("its consumer timeout is {ms} ms, but worker.hold is {} ms", hold.as_millis());
        found(Code::ConsumerTimeoutShort, what);
    }
}

async fn check_alarms(api: &Management, report: &mut Report) {
    let nodes = match api.get(&["nodes"]).await {
        Ok(nodes) => nodes.unwrap_or_default(),
        Err(error) => {
            if matches!(error, ManagementError::Refused(_)) {
                report.found(Code::ManagementUnusable, api.base(), error.to_string());
            }
            return report.not_checked(&[Code::BrokerAlarm], &error.to_string());
        }
    };
    report.checked(&[Code::BrokerAlarm]);
    for node in nodes.as_array().into_iter().flatten() {
        for (of, alarm) in [("memory", "mem_alarm"), ("disk", "disk_free_alarm")] {
            if node[alarm] == true {
                let name = node["name"].as_str().unwrap_or_default();
                report.found(Code::BrokerAlarm, name, format!("it is short of {of}: publishing is blocked"));
            }
        }
    }
}

async fn check_writes(
    reader: &BrokerReader,
    config: &Config,
    role: Role,
    missing: &mut Vec<String>,
    report: &mut Report,
) -> Result<(), ReadError> {
    let events = reader.settings.topology.exchange.as_str();
    let exchanges = [(events, events, role.has_edge()), ("", "amq.default", role.has_worker())];
    for (exchange, name, _) in exchanges.into_iter().filter(|(_, _, wanted)| *wanted) {
        match reader.probe_publish(exchange, config.edge.body_limit).await? {
            PublishProbe::Allowed => {}
            // This has already been reported.
            PublishProbe::Missing => continue,
            PublishProbe::Denied => missing.push(format!("write on {name}")),
            PublishProbe::TooLarge(text) => {
                let subject = format!("edge.body_limit = {} bytes", config.edge.body_limit);
                report.found(Code::MessageSizeSmall, subject, text);
            }
            PublishProbe::Blocked => {
                let what = "it accepts no messages (connection.blocked)";
                report.found(Code::BrokerBlocked, reader.address(), what);
                return Ok(());
            }
            PublishProbe::NoAnswer => {
                let why = "the broker did not answer a publish within queue.connect_timeout";
                report.not_checked(&[Code::BrokerBlocked, Code::MessageSizeSmall], why);
                return Ok(());
            }
        }
        report.checked(&[Code::BrokerBlocked, Code::MessageSizeSmall]);
    }
    Ok(())
}

/// Returns the command that grants the permissions that the role needs.
fn grant_command(reader: &BrokerReader, config: &Config, role: Role) -> String {
    let prefix = config.queue.prefix.replace('.', "\\.");
    let (all, none) = (format!("^{prefix}\\."), "^$".to_owned());
    let queues = format!("^{prefix}\\.(bookings|dead)$");
    let (configure, write, read) = match (config.queue.topology, role) {
        (Topology::Declare, _) => (all.clone(), format!("^({prefix}\\..*|amq\\.default)$"), all),
        (Topology::Verify, Role::Edge) => (none.clone(), format!("^{prefix}\\.events$"), none),
        (Topology::Verify, Role::Worker) => (none, "^amq\\.default$".to_owned(), queues),
        (Topology::Verify, Role::All) => (none, format!("^({prefix}\\.events|amq\\.default)$"), queues),
    };
    let (vhost, user) = (reader.vhost(), reader.user());
    format!("rabbitmqctl set_permissions -p '{vhost}' '{user}' '{configure}' '{write}' '{read}'")
}
