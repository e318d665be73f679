//! `hostmatch migrate`: creates and removes hostmatch's tables in the gateway's database.

use migration::MigrateError;
use serde_json::json;

use super::{Exit, Failure, Global, Output, arguments::Engine, output};
use crate::config::Config;
use crate::store::{Database, StoreError};

/// Create, show or remove hostmatch's tables in the gateway's database
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Create what is missing, or finish an interrupted migration
    Up {
        /// Convert tables of hostmatch that the gateway's own migrations created, and keep their rows
        #[arg(long)]
        adopt: bool,
    },
    /// Undo the last migration, or more, and delete the rows in its tables
    Down {
        /// The number of migrations to undo
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        steps: u32,
        /// Undo all: the gateway's tables are then as they were before hostmatch (each staff_id that it set stays)
        #[arg(long, conflicts_with = "steps")]
        all: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Show which migrations are applied; exit code 10 when some are not
    Status,
    /// Print the statements that `up` would run; changes nothing
    Sql {
        /// Print the statements for a new database of this engine, without a database
        #[arg(long = "for", value_name = "ENGINE")]
        engine: Option<Engine>,
        /// Print the statements that `up --adopt` would run
        #[arg(long, conflicts_with = "engine")]
        adopt: bool,
    },
    /// Create a minimal set of the gateway's own tables; refused if any of them exists
    Baseline,
}

/// Runs the command; fails when the database cannot be reached or refuses, or when an obstacle is found.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    if let Command::Sql { engine: Some(engine), .. } = command {
        return statements(global.output, &migration::sql_for((*engine).into()));
    }
    let config = global.start(&[])?.config;
    let database = match command {
        Command::Up { .. } | Command::Baseline => Database::connect_for_migrations(&config.database).await?,
        Command::Status | Command::Sql { .. } => Database::connect_read_only(&config.database).await?,
        Command::Down { .. } => {
            // The first connection fails for a missing SQLite file, so that `down` does not create one.
            Database::connect_read_only(&config.database).await?.close().await;
            Database::connect_for_migrations(&config.database).await?
        }
    };
    let result = with_database(global.output, command, &config, &database).await;
    database.close().await;
    result
}

async fn with_database(
    output: Output,
    command: &Command,
    config: &Config,
    database: &Database,
) -> Result<Exit, Failure> {
    let connection = database.connection();
    match command {
        Command::Up { adopt } => {
            print_notes(database).await?;
            let applied =
                if *adopt { migration::adopt(connection).await } else { migration::up(connection).await };
            print_names(
                output,
                ("applied", "applied"),
                &applied.or_else(|error| report_obstacles(output, error))?,
            )
        }
        Command::Down { steps, all, yes } => {
            let steps = (!all).then_some(*steps);
            let names = async { Ok(migration::migrations_to_undo(connection, steps).await) };
            let names = database.with_deadline(names).await??;
            if !names.is_empty() {
                confirm_down(config, &names, *yes)?;
            }
            let done = migration::down(connection, steps).await;
            print_names(
                output,
                ("taken_back", "reverted"),
                &done.or_else(|error| report_obstacles(output, error))?,
            )
        }
        Command::Status => {
            let states = async { Ok(migration::status(connection).await) };
            status(output, &database.with_deadline(states).await??)
        }
        Command::Sql { adopt, .. } => {
            print_notes(database).await?;
            let sql = async { Ok(migration::sql(connection, *adopt).await) };
            let sql = database.with_deadline(sql).await?;
            statements(output, &sql.or_else(|error| report_obstacles(output, error))?)
        }
        Command::Baseline => {
            print_names(output, ("created", "created"), &migration::baseline(connection).await?)
        }
    }
}

/// Writes to stderr how the migrated tables will differ in this database.
async fn print_notes(database: &Database) -> Result<(), Failure> {
    let examining = async { Ok(migration::examine(database.connection()).await) };
    let examined = database.with_deadline(examining).await??;
    let lagging = examined.lagging.into_iter().map(|one| format!("{one}; migrating sets it"));
    examined.notes.into_iter().chain(lagging).try_for_each(|note| output::note(&note))
}

/// Writes the obstacles to stdout with `--output json`, so that a program can process them.
fn report_obstacles(output: Output, error: MigrateError) -> Result<Vec<String>, Failure> {
    if let (
        Output::Json,
        MigrateError::NotAdopted(found) | MigrateError::Obstacles(found) | MigrateError::Raced(found),
    ) = (output, &error)
    {
        output::json(found)?;
    }
    Err(error.into())
}

fn confirm_down(config: &Config, names: &[String], yes: bool) -> Result<(), Failure> {
    let question = format!(
        "This removes from {}, with all their rows:\n  {}\nContinue?",
        config.database.url.redacted_url(),
        names.join("\n  ")
    );
    output::confirm(yes, &question, |was_asked| {
        let why = ": undoing migrations deletes rows and needs a confirmation; run the command on a \
                   terminal, or with --yes";
        format!("nothing was changed{}", if was_asked { "" } else { why })
    })
}

fn print_names(
    output: Output,
    (key, verb): (&str, &str),
    names: &[impl AsRef<str>],
) -> Result<Exit, Failure> {
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    output.list(&json!({ key: names }), &names, "Nothing to do.", |names| {
        names.iter().try_for_each(|name| output::print_line(&format!("{verb} {name}")))
    })
}

fn status(output: Output, all: &[migration::Status]) -> Result<Exit, Failure> {
    let state = |one: &migration::Status| match (one.applied, one.known) {
        (false, _) => "pending",
        (true, true) => "applied",
        (true, false) => "applied by a newer hostmatch",
    };
    let rows = all.iter().map(|one| [one.name.clone(), state(one).to_owned()]);
    output.show(&all, || output::table(&["MIGRATION", "STATE"], rows))?;
    Ok(if all.iter().all(|one| one.applied) { Exit::Done } else { Exit::Findings })
}

fn statements(output: Output, statements: &[String]) -> Result<Exit, Failure> {
    output.show(&json!({ "statements": statements }), || {
        statements.iter().try_for_each(|statement| output::print_line(&format!("{statement};")))
    })
}

impl From<MigrateError> for Failure {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::NotAdopted(_)
            | MigrateError::Obstacles(_)
            | MigrateError::Raced(_)
            | MigrateError::NotEmpty(_)
            | MigrateError::ReadOnly(_)
            | MigrateError::MissingPrivileges(_)
            | MigrateError::Sequences { .. }
            | MigrateError::BeforeBaseline(_)
            | MigrateError::Newer { .. }
            | MigrateError::Interrupted => Self::new(Exit::NotAllowed, error),
            MigrateError::Gateway(_) | MigrateError::Drift(_) | MigrateError::Busy { .. } => {
                Self::new(Exit::Failed, error)
            }
            // The store knows which of a server's messages may be shown, and which of them mean that the
            // server is unreachable.
            MigrateError::Database { doing, source } => {
                Self::from(StoreError::from(source)).with_hint(&format!("this happened while {doing}"))
            }
        }
    }
}
