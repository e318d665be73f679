//! `hostmatch mappings export|template|import|imports|import-undo`: mappings as files that a
//! spreadsheet reads and writes.

mod sheet;
mod out;
mod lines;
mod import;
mod imports;

use clap::Subcommand;

use super::exit::Exit;
use super::failure::Failure;
use super::gateway;
use super::global::Global;

/// What a line of a file is about. A file needs the host and the member of staff of each line, and the
/// company, where that is not said with --company.
const COLUMNS: [&str; 10] = [
    "company_id",
    "calcom_host_id",
    "calcom_name",
    "calcom_email",
    "staff_id",
    "staff_name",
    "mapping_source",
    "confidence",
    "is_active",
    "reason",
];

/// What a file may have besides: a template says more, and failed lines say why.
const MORE: [&str; 3] = ["suggestions", "waiting", "error"];

/// The commands about files.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Export(out::Export),
    Template(out::Template),
    Import(import::Args),
    Imports(imports::List),
    ImportUndo(imports::Undo),
}

/// Runs one of them.
///
/// # Errors
/// When the database cannot be reached, or a file cannot be read or written.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let config = global.start(&[])?.config;
    let output = global.output;
    // What the file says comes first: it needs no database.
    if let Command::Import(args) = command {
        return import::run(output, args, &config).await;
    }
    let writes = matches!(command, Command::ImportUndo(_));
    let (database, schema) = match writes {
        true => gateway::open_to_write(&config).await?,
        false => gateway::open(&config).await?,
    };
    let done = match command {
        Command::Export(args) => out::export(args, &database, &schema).await,
        Command::Template(args) => out::template(args, &database).await,
        Command::Imports(args) => imports::list(output, args, &database).await,
        Command::ImportUndo(args) => imports::undo(output, args, &database, &schema).await,
        Command::Import(_) => Ok(Exit::Usage),
    };
    database.close().await;
    done
}
