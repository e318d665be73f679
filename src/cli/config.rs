//! `hostmatch config`: what is in force, and is it right?

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Exit, Failure, Global, Output, output};

/// Show or check the configuration
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every key, its value in force and where it came from; secrets are hidden
    Show {
        /// Only keys that begin with this, such as `queue` or `queue.url`
        #[arg(value_name = "PREFIX")]
        prefix: Option<String>,
    },
    /// Check the configuration and list everything that is wrong; exit code 10 for warnings only. Connects to nothing
    Validate,
}

/// Runs the command; fails when the configuration is invalid, or nothing matches the prefix.
pub(super) fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let effective = global.load(&[])?;
    let mut shown = effective.shown()?;
    match &args.command {
        Command::Validate => {
            let warnings = &effective.warnings;
            match global.output {
                Output::Json => {
                    output::json(&json!({ "valid": true, "keys": shown.len(), "warnings": warnings }))?;
                }
                Output::Table => {
                    output::line(&format!("The configuration is valid ({} keys).", shown.len()))?;
                    for warning in warnings {
                        output::line(&format!("warning: {warning}"))?;
                    }
                }
            }
            return Ok(if warnings.is_empty() { Exit::Done } else { Exit::Findings });
        }
        Command::Show { prefix } => {
            if let Some(prefix) = prefix {
                shown.retain(|entry| entry.key.starts_with(prefix.as_str()));
                if shown.is_empty() {
                    let text = format!("no key begins with {prefix:?}; `hostmatch config show` lists all");
                    return Err(Failure::new(Exit::NotFound, text));
                }
            }
            match global.output {
                Output::Json => output::json(&shown)?,
                Output::Table => {
                    let rows = shown.into_iter().map(|entry| [entry.key, text(&entry.value), entry.origin]);
                    output::table(&["KEY", "VALUE", "FROM"], rows)?;
                }
            }
        }
    }
    Ok(Exit::Done)
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}
