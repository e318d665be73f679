//! The broker: reachable, new enough, willing, and with the topology that we want. Or the file of
//! the embedded queue.

use crate::config::{Config, Topology};
use crate::install::topology::{
    Change, Comparison, Look, LookError, Management, ManagementError, Object, Right, Written, compare,
};
use crate::queue::{Part, Queue};

use super::code::Code;
use super::{Report, Role, places, rules};

/// The oldest RabbitMQ on which the topology can be made.
const OLDEST: (u32, u32) = (3, 10);
/// Channels beside those of the pipelines.
const CHANNELS: u16 = 8;
/// What only the management API tells.
const BY_MANAGEMENT: [Code; 9] = [
    Code::BindingMissing,
    Code::AlternateExchange,
    Code::PolicyExpiresMessages,
    Code::PolicyBoundsQueue,
    Code::PolicyDeletesQueue,
    Code::PolicyRedirects,
    Code::PolicyDeliveryLimit,
    Code::ConsumerTimeoutShort,
    Code::BrokerAlarm,
];
const NO_API: &str = "AMQP does not tell; set queue.management_url";

/// Looks.
pub(super) async fn look(config: &Config, role: Role, report: &mut Report) {
    if config.queue.is_embedded() {
        return file(config, report).await;
    }
    report.looked(&[Code::ManagementUnusable]);
    let management = Management::of(&config.queue).unwrap_or_else(|error| {
        report.found(Code::ManagementUnusable, "queue.management_url", error.to_string());
        None
    });
    if management.is_none() {
        report.not_checked(&BY_MANAGEMENT, NO_API);
    }
    let subject = config.queue.url.shown_as_url();
    report.looked(&[Code::BrokerUnreachable]);
    let look = match Look::at(&config.queue).await {
        Ok(look) => look,
        Err(LookError { text, refused: true }) => return report.found(Code::BrokerRefused, subject, text),
        Err(error) => return report.found(Code::BrokerUnreachable, subject, error.text),
    };
    report.looked(&[Code::BrokerRefused]);
    if let Err(error) = through(&look, management.as_ref(), config, role, report).await {
        report.found(Code::BrokerUnreachable, subject, error.text);
    }
    look.close().await;
}

/// An embedded queue that is not there yet is made when something is published.
async fn file(config: &Config, report: &mut Report) {
    report.looked(&[Code::QueueFileUnusable]);
    let is_there = places::file(config.queue.url.expose()).is_some_and(|path| path.exists());
    if !is_there {
        return;
    }
    let opened = async {
        let queue = Queue::open(&config.queue).await?;
        let depth = queue.depth().await;
        queue.close().await;
        depth
    };
    if let Err(error) = opened.await {
        report.found(Code::QueueFileUnusable, config.queue.url.shown_as_url(), error.to_string());
    }
}

async fn through(
    look: &Look,
    management: Option<&Management>,
    config: &Config,
    role: Role,
    report: &mut Report,
) -> Result<(), LookError> {
    version(look, report).await;
    limits(look, config, report);
    let comparison = compare(look, management).await?;
    topology(&comparison, management, config, report);
    rules::judge(&comparison, config, report);
    let has = |part: Part| comparison.queues.iter().find(|queue| queue.part == part);
    traffic(&comparison, report);
    if let Some(api) = management.filter(|_| comparison.silent.is_none()) {
        alarms(api, report).await;
    }
    // Last: a broker that takes no messages answers nothing more on this connection.
    let mut lacking = Vec::new();
    if config.queue.topology == Topology::Declare && comparison.uncompared {
        lacking.push("configure on its exchange and queues".to_owned());
    }
    if role.has_worker() {
        for queue in [Part::Work, Part::Dead].into_iter().filter_map(has) {
            if look.read(&queue.name).await? == Right::Denied {
                lacking.push(format!("read on {}", queue.name));
            }
        }
    }
    writes(look, config, role, &mut lacking, report).await?;
    if !lacking.is_empty() {
        let what = format!("it lacks {}", lacking.join("; "));
        report.found_with(
            Code::BrokerRightMissing,
            format!("user {}", look.user()),
            what,
            grant(look, config, role),
        );
    }
    report.looked(&[Code::BrokerRightMissing]);
    Ok(())
}

async fn version(look: &Look, report: &mut Report) {
    let Some(server) = look.server().await else {
        return report.not_checked(&[Code::BrokerTooOld], "it does not say what it is");
    };
    report.looked(&[Code::BrokerTooOld]);
    report.fact(format!("{} {}", server.product, server.version));
    let is_old = server.numbers().is_some_and(|version| version < OLDEST);
    if server.product != "RabbitMQ" || is_old {
        let what = format!("it is {} {}", server.product, server.version);
        report.found(Code::BrokerTooOld, look.place(), what);
    }
}

fn limits(look: &Look, config: &Config, report: &mut Report) {
    report.looked(&[Code::ChannelsFew]);
    let (most, wanted) = (look.channels(), config.worker.pipelines + CHANNELS);
    // 0 is without a limit.
    if (1..wanted).contains(&most) {
        let what = format!("a connection may have {most} channels, and {wanted} are wanted");
        report.found(Code::ChannelsFew, look.place(), what);
    }
}

fn topology(found: &Comparison, management: Option<&Management>, config: &Config, report: &mut Report) {
    if let (Some(api), Some(error)) = (management, &found.silent) {
        report.found(Code::ManagementUnusable, api.base(), error.to_string());
        report.not_checked(&BY_MANAGEMENT, &error.to_string());
    } else if management.is_some() {
        report.looked(&BY_MANAGEMENT[..BY_MANAGEMENT.len() - 1]);
    }
    report.looked(&[Code::ExchangeMissing, Code::ExchangeDiffers, Code::QueueMissing, Code::QueueDiffers]);
    for one in &found.unseen {
        let code = match one.what.as_str() {
            what if what.starts_with("the exchange") => Code::ExchangeMissing,
            what if what.starts_with("the queue") => Code::QueueMissing,
            _ => continue,
        };
        report.not_checked(&[code], &one.why);
    }
    for one in &found.differences {
        let is_missing = one.change == Change::Missing;
        let (code, subject) = match &one.object {
            Object::Exchange { name } if is_missing => (Code::ExchangeMissing, name.clone()),
            Object::Exchange { name } => (Code::ExchangeDiffers, name.clone()),
            Object::Queue { name } if is_missing => (Code::QueueMissing, name.clone()),
            Object::Queue { name } => (Code::QueueDiffers, name.clone()),
            Object::Binding { source, destination, .. } => {
                (Code::BindingMissing, format!("{source} -> {destination}"))
            }
        };
        let what = match &one.change {
            Change::Missing if config.queue.topology == Topology::Declare => {
                "it is not there (queue.topology = \"declare\": hostmatch makes it when it starts)".to_owned()
            }
            Change::Missing => "it is not there".to_owned(),
            Change::Argument { argument, wanted, found } => {
                format!("its {argument} is {found}, and {wanted} is wanted")
            }
            Change::Other { said } => said.clone(),
        };
        report.found_with(code, subject, what, &one.remedy);
    }
}

fn traffic(found: &Comparison, report: &mut Report) {
    report.looked(&[Code::NoConsumers, Code::DeadLettersStuck]);
    for queue in found.queues.iter().filter(|queue| queue.consumers == Some(0)) {
        let ready = queue.messages.unwrap_or_default();
        match queue.part {
            Part::Work => {
                report.found(
                    Code::NoConsumers,
                    &queue.name,
                    format!("it has no consumer, and {ready} messages"),
                );
            }
            Part::Dead if ready > 0 => {
                report.found(Code::DeadLettersStuck, &queue.name, format!("it has {ready} messages"));
            }
            Part::Dead | Part::Retry => {}
        }
    }
}

async fn alarms(api: &Management, report: &mut Report) {
    let nodes = match api.nodes().await {
        Ok(nodes) => nodes,
        Err(error @ ManagementError::Refused(_)) => {
            report.found(Code::ManagementUnusable, api.base(), error.to_string());
            return report.not_checked(&[Code::BrokerAlarm], &error.to_string());
        }
        Err(error) => return report.not_checked(&[Code::BrokerAlarm], &error.to_string()),
    };
    report.looked(&[Code::BrokerAlarm]);
    for node in nodes {
        let short = [("memory", node.mem_alarm), ("disk", node.disk_free_alarm)];
        for (of, _) in short.into_iter().filter(|(_, alarm)| *alarm) {
            report.found(Code::BrokerAlarm, &node.name, format!("it is short of {of}: nobody can publish"));
        }
    }
}

async fn writes(
    look: &Look,
    config: &Config,
    role: Role,
    lacking: &mut Vec<String>,
    report: &mut Report,
) -> Result<(), LookError> {
    let events = look.topology().exchange.as_str();
    let exchanges = [(events, events, role.has_edge()), ("", "amq.default", role.has_worker())];
    for (exchange, name, _) in exchanges.into_iter().filter(|(_, _, wanted)| *wanted) {
        match look.write(exchange, config.edge.body_limit).await? {
            Written::Allowed => {}
            // That has been told.
            Written::Missing => continue,
            Written::Denied => lacking.push(format!("write on {name}")),
            Written::TooLarge { said } => {
                let subject = format!("edge.body_limit = {} bytes", config.edge.body_limit);
                report.found(Code::MessageSizeSmall, subject, said);
            }
            Written::Blocked => {
                let what = "it takes no messages (connection.blocked)";
                report.found(Code::BrokerBlocked, look.place(), what);
                return Ok(());
            }
            Written::Silent => {
                let why = "the broker did not answer a publish within queue.connect_timeout";
                report.not_checked(&[Code::BrokerBlocked, Code::MessageSizeSmall], why);
                return Ok(());
            }
        }
        report.looked(&[Code::BrokerBlocked, Code::MessageSizeSmall]);
    }
    Ok(())
}

/// The command that gives what the role needs.
fn grant(look: &Look, config: &Config, role: Role) -> String {
    let prefix = config.queue.prefix.replace('.', "\\.");
    let configure =
        if config.queue.topology == Topology::Declare { format!("^{prefix}\\.") } else { "^$".to_owned() };
    let declares = config.queue.topology == Topology::Declare;
    let write = match role {
        _ if declares => format!("^({prefix}\\..*|amq\\.default)$"),
        Role::Edge => format!("^{prefix}\\.events$"),
        Role::Worker => "^amq\\.default$".to_owned(),
        Role::All => format!("^({prefix}\\.events|amq\\.default)$"),
    };
    let read = match role {
        _ if declares => format!("^{prefix}\\."),
        Role::Edge => "^$".to_owned(),
        Role::Worker | Role::All => format!("^{prefix}\\.(bookings|dead)$"),
    };
    format!(
        "rabbitmqctl set_permissions -p '{}' '{}' '{configure}' '{write}' '{read}'",
        look.vhost(),
        look.user()
    )
}
