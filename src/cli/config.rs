//! `hostmatch config`: shows and validates the configuration.

use serde_json::{Value, json};

use super::{Exit, Failure, Global, output};
use crate::app::pluralize;

/// Show or check the configuration
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show every key, its effective value and its origin; secrets are hidden
    Show {
        /// Only keys that begin with this prefix, such as `queue` or `queue.url`
        #[arg(value_name = "PREFIX")]
        prefix: Option<String>,
    },
    /// Check the configuration without connecting to anything, and list all problems; exit code 10 if
    /// there are only warnings
    Validate,
}

/// Runs the command; fails when the configuration is invalid, or nothing matches the prefix.
pub(super) fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let effective = global.load(&[])?;
    let mut shown = effective.redacted()?;
    match command {
        Command::Validate => {
            let warnings = &effective.warnings;
            let document = json!({ "valid": true, "keys": shown.len(), "warnings": warnings });
            global.output.show(&document, || {
                let keys = pluralize(shown.len(), "key", "keys");
                output::print_line(&format!("The configuration is valid ({keys})."))?;
                warnings.iter().try_for_each(|warning| output::print_line(&format!("warning: {warning}")))
            })?;
            Ok(if warnings.is_empty() { Exit::Done } else { Exit::Findings })
        }
        Command::Show { prefix } => {
            if let Some(prefix) = prefix {
                shown.retain(|entry| entry.key.starts_with(prefix.as_str()));
                if shown.is_empty() {
                    let text = format!("no key begins with {prefix:?}; `hostmatch config show` lists all");
                    return Err(Failure::new(Exit::NotFound, text));
                }
            }
            let rows = shown
                .iter()
                .map(|entry| [entry.key.clone(), render_value(&entry.value), entry.origin.clone()]);
            global.output.show(&shown, || output::table(&["KEY", "VALUE", "FROM"], rows))
        }
    }
}

fn render_value(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(render_value).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
