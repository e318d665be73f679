//! `hostmatch topology`: shows, compares, creates and exports the exchange and queues that hostmatch needs.

use serde_json::{Value, json};

use super::{Exit, Failure, Global, Output, output};
use crate::install::topology::{self, Applied, BINDING_KEY, Change, Comparison, Object, QueueRole, Topology};

/// The exchange and the queues on RabbitMQ: what hostmatch needs, and what the broker has
///
/// With the embedded queue there is nothing to do.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what hostmatch needs, without connecting to the broker
    Show,
    /// Compare what hostmatch needs with what the broker has; exit code 10 if they differ
    ///
    /// Bindings and all arguments are compared only if queue.management_url is set.
    Diff,
    /// Create what is missing, whatever queue.topology says; deletes nothing and purges nothing
    ///
    /// Needs the configure permission. An object with other arguments stays as it is: the exit code is then
    /// 10, and the output says what to do.
    Apply,
    /// Print the topology as definitions, for `rabbitmqctl import_definitions`
    Export {
        /// The virtual host [default: that of queue.url]
        #[arg(long, value_name = "NAME")]
        vhost: Option<String>,
    },
}

/// Runs the command; fails when the broker cannot be read.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let config = global.load_for_checks()??.config.queue;
    if config.is_embedded() {
        let text = "queue.url is the embedded queue, a file that hostmatch creates: there is nothing to do";
        return global.output.show(&json!({ "embedded": true, "note": text }), || output::print_line(text));
    }
    let topology = Topology::new(&config)?;
    match command {
        Command::Show => show(global.output, &topology),
        Command::Export { vhost } => {
            let vhost = vhost.clone().map_or_else(|| topology::vhost(&config), Ok)?;
            output::json(&topology::definitions(&topology, &vhost))?;
            Ok(Exit::Done)
        }
        Command::Diff | Command::Apply => {
            let apply = matches!(command, Command::Apply);
            let (comparison, applied) = topology::diff(&config, apply).await?;
            differences(global.output, &comparison, applied.as_ref())
        }
    }
}

fn show(output: Output, topology: &Topology) -> Result<Exit, Failure> {
    let queues = topology.queues.iter().map(|queue| {
        json!({
            "name": queue.name, "role": queue.role.as_str(), "durable": true, "arguments": queue.arguments,
        })
    });
    let document = json!({
        "exchange": { "name": topology.exchange, "type": "topic", "durable": true },
        "queues": queues.collect::<Vec<_>>(),
        "bindings": [{
            "source": topology.exchange, "destination": topology.work, "routing_key": BINDING_KEY,
        }],
    });
    let exchange = ["exchange".to_owned(), topology.exchange.clone(), "topic, durable".to_owned()];
    let queues = topology.queues.iter().map(|queue| {
        let role = match queue.role {
            QueueRole::Work => "work queue",
            QueueRole::Retry => "wait queue",
            QueueRole::Dead => "dead letters",
        };
        let arguments = queue.arguments.iter().map(|(name, value)| format!("{name}={}", render_value(value)));
        [role.to_owned(), queue.name.clone(), arguments.collect::<Vec<_>>().join("\n")]
    });
    let route = format!("{} -> {}", topology.exchange, topology.work);
    let binding = ["binding".to_owned(), route, format!("routing key {BINDING_KEY}")];
    let rows = std::iter::once(exchange).chain(queues).chain([binding]);
    output.show(&document, || output::table(&["WHAT", "NAME", "DETAILS"], rows))
}

fn differences(output: Output, found: &Comparison, applied: Option<&Applied>) -> Result<Exit, Failure> {
    output.show(&document(found, applied)?, || describe(found, applied))?;
    Ok(match applied {
        Some(applied) if !applied.problems.is_empty() => Exit::Failed,
        _ if found.findings.is_empty() => Exit::Done,
        _ => Exit::Findings,
    })
}

fn document(found: &Comparison, applied: Option<&Applied>) -> Result<Value, Failure> {
    let mut differences = Vec::new();
    for one in &found.findings {
        let mut difference = serde_json::to_value(&one.difference)?;
        difference["remedy"] = one.remedy.as_str().into();
        differences.push(difference);
    }
    let not_compared = found.not_checked.iter().map(|one| json!({ "what": one.what, "why": one.why }));
    let mut document = json!({
        "equal": differences.is_empty(), "differences": differences,
        "not_compared": not_compared.collect::<Vec<_>>(),
    });
    if let Some(applied) = applied {
        document["made"] = serde_json::to_value(&applied.made)?;
        document["problems"] = json!(applied.problems);
    }
    Ok(document)
}

fn describe(found: &Comparison, applied: Option<&Applied>) -> Result<(), Failure> {
    if let Some(Applied { made, problems }) = applied {
        for object in made {
            output::print_line(&format!("created {}", describe_object(object)))?;
        }
        for problem in problems {
            output::print_line(&format!("not created: {problem}"))?;
        }
    }
    for (one, difference) in found.findings.iter().zip(found.differences()) {
        let what = match &difference.change {
            Change::Missing => "is missing".to_owned(),
            Change::Argument { argument, wanted, found } => {
                format!("has {argument} {} instead of {}", render_value(found), render_value(wanted))
            }
            Change::Other { said } => format!("differs: {said}"),
        };
        let object = describe_object(&difference.object);
        output::print_line(&format!("{object} {what}\n  what to do: {}", one.remedy))?;
    }
    for one in &found.not_checked {
        output::print_line(&format!("not compared: {}: {}", one.what, one.why))?;
    }
    match (found.findings.is_empty(), found.not_checked.is_empty()) {
        (true, true) => output::print_line("The broker has what hostmatch needs."),
        (true, false) => output::print_line("Everything that could be compared is as hostmatch needs it."),
        (false, _) => Ok(()),
    }
}

/// Describes an object of the topology.
fn describe_object(object: &Object) -> String {
    match object {
        Object::Exchange { name } => format!("exchange {name}"),
        Object::Queue { name } => format!("queue {name}"),
        Object::Binding { source, destination, routing_key } => {
            format!("binding of {destination} to {source} with {routing_key}")
        }
    }
}

fn render_value(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
