//! `hostmatch migrate`: our tables in the gateway's database, up and down.

use std::io::Write as _;

use clap::Subcommand;
use migration::MigrateError;
use serde_json::json;

use super::{Exit, Failure, Global, Output, engine::Engine, output};
use crate::config::Config;
use crate::store::{Database, StoreError};

/// Make, show or take back our tables in the gateway's database
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make what is missing, or finish what was interrupted
    Up {
        /// Bring tables of ours that the gateway's own migrations made to our shape, and keep their rows
        #[arg(long)]
        adopt: bool,
    },
    /// Take back the last migration, or more, with the rows in its tables
    Down {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
        /// All of them: the tables are then as they were before hostmatch (a staff_id that it set stays)
        #[arg(long, conflicts_with = "steps")]
        all: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Which migrations are applied; exit code 10 when some are not
    Status,
    /// The statements that `up` would run, changing nothing
    Sql {
        /// Without a database: the statements for a new one of this engine
        #[arg(long = "for", value_name = "ENGINE")]
        engine: Option<Engine>,
        /// The statements that `up --adopt` would run
        #[arg(long, conflicts_with = "engine")]
        adopt: bool,
    },
    /// Make a minimal set of the gateway's own tables; refused where any of them exists
    Baseline,
}

/// Runs the command; fails when the database cannot be reached, or refuses, or something stands in the way.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    if let Command::Sql { engine: Some(engine), .. } = &args.command {
        return statements(global.output, &migration::sql_for((*engine).into()));
    }
    let config = global.start(&[])?.config;
    let database = match args.command {
        Command::Up { .. } | Command::Baseline => Database::connect_for_migrations(&config.database).await?,
        Command::Status | Command::Sql { .. } => Database::connect_to_look(&config.database).await?,
        Command::Down { .. } => {
            // Where there is nothing to take back, nothing is made either.
            Database::connect_to_look(&config.database).await?.close().await;
            Database::connect_for_migrations(&config.database).await?
        }
    };
    let done = with_database(global.output, args, &config, &database).await;
    database.close().await;
    done
}

async fn with_database(
    output: Output,
    args: &Args,
    config: &Config,
    database: &Database,
) -> Result<Exit, Failure> {
    let connection = database.connection();
    match &args.command {
        Command::Up { adopt } => {
            notes(database).await?;
            let applied =
                if *adopt { migration::adopt(connection).await } else { migration::up(connection).await };
            names(output, "applied", &applied.or_else(|error| refused(output, error))?)
        }
        Command::Down { steps, all, yes } => {
            let steps = (!all).then_some(*steps);
            let going = async { Ok(migration::going_down(connection, steps).await) };
            let going = database.with_deadline(going).await??;
            if !going.is_empty() && !yes {
                confirm_down(config, &going)?;
            }
            let done = migration::down(connection, steps).await;
            names(output, "taken_back", &done.or_else(|error| refused(output, error))?)
        }
        Command::Status => status(output, &states(database).await?),
        Command::Sql { adopt, .. } => {
            notes(database).await?;
            let sql = async { Ok(migration::sql(connection, *adopt).await) };
            let sql = database.with_deadline(sql).await?;
            statements(output, &sql.or_else(|error| refused(output, error))?)
        }
        Command::Baseline => names(output, "created", &migration::baseline(connection).await?),
    }
}

/// What will be different here, on stderr.
async fn notes(database: &Database) -> Result<(), Failure> {
    let examined =
        database.with_deadline(async { Ok(migration::examine(database.connection()).await) }).await?;
    let examined = examined?;
    for note in examined.notes {
        writeln!(std::io::stderr().lock(), "note: {note}")?;
    }
    for one in examined.lagging {
        writeln!(std::io::stderr().lock(), "note: {one}; migrating sets it")?;
    }
    Ok(())
}

/// With `--output json`, what was found goes to stdout, for whoever wants to work through it.
fn refused(output: Output, error: MigrateError) -> Result<Vec<String>, Failure> {
    if let (
        Output::Json,
        MigrateError::NotAdopted(found) | MigrateError::Obstacles(found) | MigrateError::Raced(found),
    ) = (output, &error)
    {
        output::json(found)?;
    }
    Err(error.into())
}

async fn states(database: &Database) -> Result<Vec<migration::Status>, Failure> {
    Ok(database.with_deadline(async { Ok(migration::status(database.connection()).await) }).await??)
}

fn confirm_down(config: &Config, names: &[String]) -> Result<(), Failure> {
    let question = format!(
        "This removes from {}, with all their rows:\n  {}\nGo on?",
        config.database.url.shown_as_url(),
        names.join("\n  ")
    );
    let text = match output::confirm(&question)? {
        Some(true) => return Ok(()),
        Some(false) => "nothing was changed",
        None => {
            "nothing was changed: taking migrations back removes rows and needs a confirmation; \
                 run it on a terminal, or with --yes"
        }
    };
    Err(Failure::new(Exit::NeedsConfirmation, text))
}

fn names(output: Output, what: &str, names: &[impl AsRef<str>]) -> Result<Exit, Failure> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    match output {
        Output::Json => output::json(&json!({ what: names }))?,
        Output::Table if names.is_empty() => output::line("Nothing to do.")?,
        Output::Table => {
            for name in names {
                output::line(&format!("{} {name}", what.replace('_', " ")))?;
            }
        }
    }
    Ok(Exit::Done)
}

fn status(output: Output, all: &[migration::Status]) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::json(&serde_json::to_value(all)?)?,
        Output::Table => {
            let state = |one: &migration::Status| match (one.applied, one.known) {
                (false, _) => "pending",
                (true, true) => "applied",
                (true, false) => "applied by a newer hostmatch",
            };
            let rows = all.iter().map(|one| [one.name.clone(), state(one).to_owned()]);
            output::table(&["MIGRATION", "STATE"], rows)?;
        }
    }
    Ok(if all.iter().all(|one| one.applied) { Exit::Done } else { Exit::Findings })
}

fn statements(output: Output, statements: &[String]) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::json(&json!({ "statements": statements }))?,
        Output::Table => {
            for statement in statements {
                output::line(&format!("{statement};"))?;
            }
        }
    }
    Ok(Exit::Done)
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::NotAdopted(_)
            | MigrateError::Obstacles(_)
            | MigrateError::Raced(_)
            | MigrateError::NotEmpty(_)
            | MigrateError::ReadOnly(_)
            | MigrateError::Rights(_)
            | MigrateError::Sequences { .. }
            | MigrateError::BeforeBaseline(_)
            | MigrateError::Newer { .. }
            | MigrateError::Interrupted => Self::new(Exit::NotAllowed, error),
            MigrateError::Gateway(_) | MigrateError::Drift(_) | MigrateError::Busy { .. } => {
                Self::new(Exit::Failed, error)
            }
            // The store knows which of a server's words may be shown, and which mean "away".
            MigrateError::Database { doing, source } => {
                Self::from(StoreError::from(source)).with(&format!("this was while {doing}"))
            }
        }
    }
}
