//! `hostmatch topology`: the exchange and the queues that hostmatch wants, against what a broker has.

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use super::output::{self, Output};
use crate::config::QueueConfig;
use crate::install::topology::{self, Change, Comparison, Difference, Look, LookError, Management, Object};
use crate::queue::Part;
use crate::queue::topology::{EVERYTHING, Topology};

/// The exchange and the queues on RabbitMQ: what hostmatch wants, and what the broker has
///
/// With the embedded queue there is nothing to do.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is wanted; connects to nothing
    Show,
    /// What the broker has against it; exit code 10 when it differs
    ///
    /// Bindings, and all arguments, are seen only where queue.management_url is set.
    Diff,
    /// Make what is missing, whatever queue.topology says; deletes nothing and empties nothing
    ///
    /// Needs the right to configure. What is there with other arguments stays as it is: the exit code is 10
    /// then, and the output says what to do about it.
    Apply,
    /// What is wanted as definitions, for `rabbitmqctl import_definitions`
    Export {
        /// The virtual host [default: that of queue.url]
        #[arg(long, value_name = "NAME")]
        vhost: Option<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// When the broker cannot be asked.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let config = global.examined()??.config.queue;
    if config.is_embedded() {
        return embedded(global.output);
    }
    let topology = Topology::new(&config)?;
    match &args.command {
        Command::Show => show(global.output, &topology),
        Command::Export { vhost } => {
            let vhost = vhost.clone().map_or_else(|| topology::vhost(&config), Ok)?;
            output::json(&topology::definitions(&topology, &vhost))?;
            Ok(Exit::Done)
        }
        Command::Diff => {
            let comparison =
                looking(&config, async |look, management| Ok(topology::compare(look, management).await?));
            differences(global.output, &comparison.await?, None)
        }
        Command::Apply => {
            let (comparison, applied) = looking(&config, apply).await?;
            differences(global.output, &comparison, Some(&applied))
        }
    }
}

fn embedded(output: Output) -> Result<Exit, Failure> {
    let text =
        "queue.url is the embedded queue, one file that hostmatch makes by itself: there is nothing to do";
    match output {
        Output::Json => output::json(&json!({ "embedded": true, "note": text }))?,
        Output::Table => output::line(text)?,
    }
    Ok(Exit::Done)
}

/// Does something over a connection that only looks.
async fn looking<T>(
    config: &QueueConfig,
    work: impl AsyncFnOnce(&Look, Option<&Management>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let management = Management::of(config)?;
    let look = Look::at(config).await?;
    let done = work(&look, management.as_ref()).await;
    look.close().await;
    done
}

/// What was made, and what could not be.
struct Applied {
    made: Vec<Difference>,
    problems: Vec<String>,
}

async fn apply(look: &Look, management: Option<&Management>) -> Result<(Comparison, Applied), Failure> {
    let before = topology::compare(look, management).await?;
    let problems = look.make().await?;
    let after = topology::compare(look, management).await?;
    let is_left = |one: &&Difference| !after.differences.iter().any(|left| left.object == one.object);
    let missing = before.differences.iter().filter(|one| one.change == Change::Missing);
    let made = missing.filter(is_left).cloned().collect();
    // What differs was refused, and is told with the differences.
    let told = |text: &String| {
        !after.differences.iter().any(|one| text.contains(&format!("{:?}", name(&one.object))))
    };
    let problems = problems.into_iter().filter(told).collect();
    Ok((after, Applied { made, problems }))
}

fn show(output: Output, topology: &Topology) -> Result<Exit, Failure> {
    let queues = topology.queues.iter();
    match output {
        Output::Json => {
            let queues = queues.map(|queue| {
                json!({
                    "name": queue.name, "role": queue.part.as_str(), "durable": true, "arguments": queue.arguments,
                })
            });
            output::json(&json!({
                "exchange": { "name": topology.exchange, "type": "topic", "durable": true },
                "queues": queues.collect::<Vec<_>>(),
                "bindings": [{
                    "source": topology.exchange, "destination": topology.work, "routing_key": EVERYTHING,
                }],
            }))?;
        }
        Output::Table => {
            let exchange = ["exchange".to_owned(), topology.exchange.clone(), "topic, durable".to_owned()];
            let queues = queues.map(|queue| {
                let role = match queue.part {
                    Part::Work => "work queue",
                    Part::Retry => "wait queue",
                    Part::Dead => "dead letters",
                };
                let arguments =
                    queue.arguments.iter().map(|(name, value)| format!("{name}={}", plain(&value.into())));
                [role.to_owned(), queue.name.clone(), arguments.collect::<Vec<_>>().join("\n")]
            });
            let route = format!("{} -> {}", topology.exchange, topology.work);
            let binding = ["binding".to_owned(), route, format!("routing key {EVERYTHING}")];
            output::table(&["WHAT", "NAME", "AS"], std::iter::once(exchange).chain(queues).chain([binding]))?;
        }
    }
    Ok(Exit::Done)
}

fn differences(output: Output, found: &Comparison, applied: Option<&Applied>) -> Result<Exit, Failure> {
    match output {
        Output::Json => {
            let mut document = json!({
                "equal": found.is_equal(), "differences": found.differences, "not_compared": found.unseen,
            });
            if let (Some(applied), Some(object)) = (applied, document.as_object_mut()) {
                let made: Vec<&Object> = applied.made.iter().map(|one| &one.object).collect();
                object.insert("made".to_owned(), serde_json::to_value(made)?);
                object.insert("problems".to_owned(), json!(applied.problems));
            }
            output::json(&document)?;
        }
        Output::Table => told(found, applied)?,
    }
    let problems = applied.is_some_and(|applied| !applied.problems.is_empty());
    Ok(match (problems, found.is_equal()) {
        (true, _) => Exit::Failed,
        (false, true) => Exit::Done,
        (false, false) => Exit::Findings,
    })
}

fn told(found: &Comparison, applied: Option<&Applied>) -> Result<(), Failure> {
    for one in applied.map_or(&[][..], |applied| &applied.made) {
        output::line(&format!("made {}", described(&one.object)))?;
    }
    for problem in applied.map_or(&[][..], |applied| &applied.problems) {
        output::line(&format!("not made: {problem}"))?;
    }
    for one in &found.differences {
        let what = match &one.change {
            Change::Missing => "is not there".to_owned(),
            Change::Argument { argument, wanted, found } => {
                format!("has {argument} {}, wanted is {}", plain(found), plain(wanted))
            }
            Change::Other { said } => format!("differs: {said}"),
        };
        output::line(&format!("{} {what}\n  what to do: {}", described(&one.object), one.remedy))?;
    }
    for one in &found.unseen {
        output::line(&format!("not compared: {}: {}", one.what, one.why))?;
    }
    if found.is_equal() {
        let all = found.unseen.is_empty();
        output::line(if all {
            "The broker has what is wanted."
        } else {
            "What could be compared is as wanted."
        })?;
    }
    Ok(())
}

fn name(object: &Object) -> &str {
    match object {
        Object::Exchange { name } | Object::Queue { name } => name,
        Object::Binding { destination, .. } => destination,
    }
}

/// A part of the topology, in words.
pub(super) fn described(object: &Object) -> String {
    match object {
        Object::Exchange { name } => format!("exchange {name}"),
        Object::Queue { name } => format!("queue {name}"),
        Object::Binding { source, destination, routing_key } => {
            format!("binding of {destination} to {source} with {routing_key}")
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl From<LookError> for Failure {
    fn from(error: LookError) -> Self {
        Self::new(Exit::BrokerUnreachable, format!("the broker cannot be used: {error}"))
    }
}
