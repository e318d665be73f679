//! `hostmatch schema`: prints the contracts as documents for tools.

use clap::ValueEnum;

use super::{Exit, Failure, Global, output};
use crate::contract;
use crate::event::EVENT_TYPES;

/// The contracts as documents for tools
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Print a contract, generated from the program; docs/schema has copies
    Print {
        /// json-schema (2020-12): the events. asyncapi (3.0): the exchange. openapi (3.1): the edge
        what: Document,
        /// Only the schema of this event type, such as appointment.created
        #[arg(long = "type", value_name = "TYPE")]
        event_type: Option<String>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Document {
    JsonSchema,
    Asyncapi,
    Openapi,
}

/// Runs the command; fails when there is no such type, or the configuration that names the exchange is
/// invalid.
pub(super) fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let Command::Print { what, event_type } = command;
    let document = match (what, event_type) {
        (Document::JsonSchema, None) => contract::event_schema(),
        (Document::JsonSchema, Some(name)) => {
            let Some(known) = EVENT_TYPES.iter().find(|known| known.name == name) else {
                let names = EVENT_TYPES.map(|known| known.name).join(", ");
                let text = format!("unknown event type; the known types are {names}");
                return Err(Failure::new(Exit::NotFound, text));
            };
            contract::event_type_schema(known)
        }
        (_, Some(_)) => return Err(Failure::new(Exit::Usage, "--type requires json-schema")),
        (Document::Asyncapi, None) => contract::asyncapi(&global.start(&[])?.config.queue.prefix),
        (Document::Openapi, None) => contract::openapi(),
    };
    output::json(&document)?;
    Ok(Exit::Done)
}
