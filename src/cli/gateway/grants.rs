//! `hostmatch gateway grants`: the statements with which an administrator lets hostmatch in.

use clap::ValueEnum;
use serde_json::json;

use crate::cli::engine::Engine;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::global::Global;
use crate::cli::output::{self, Output};
use crate::store::{self, Account, Database, Grants};

/// The GRANT statements with the least rights to inspect, to migrate and to run
///
/// Looks at the database for its columns; with --for it needs none, and assumes those of
/// `hostmatch migrate baseline`. Changes nothing: an administrator runs what it prints.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Without a database: for this engine
    #[arg(long = "for", value_name = "ENGINE")]
    engine: Option<Engine>,
    /// With --for: the name of the gateway's database
    #[arg(long, value_name = "NAME", requires = "engine", default_value = "gateway")]
    database: String,
    /// The user that gets the rights [default: hostmatch, hostmatch_migrate, hostmatch_inspect]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// MySQL and MariaDB: the host from which that user connects
    #[arg(long, value_name = "HOST", default_value = "%")]
    host: String,
    /// What the user is to do [default: one after the other]
    #[arg(long)]
    role: Option<Role>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// Look around before and after migrating
    Inspect,
    /// Make and take back our tables
    Migrate,
    /// Decide on events, and look at what became of them
    Run,
    /// Decide on events and write nothing of the gateway's (worker.mode = "observe")
    Observe,
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let roles = match args.role {
        Some(Role::Inspect) => vec![store::Role::Inspect],
        Some(Role::Migrate) => vec![store::Role::Migrate],
        Some(Role::Run) => vec![store::Role::Run],
        Some(Role::Observe) => vec![store::Role::Observe],
        None => store::Role::ALL.to_vec(),
    };
    let account = |role: store::Role| Account {
        user: args.user.clone().unwrap_or_else(|| role.usual_user().to_owned()),
        host: args.host.clone(),
    };
    let mut all = Vec::new();
    if let Some(engine) = args.engine {
        let grants = |role| store::grants_for(engine.into(), &args.database, &account(role), role);
        all.extend(roles.into_iter().map(grants));
    } else {
        let config = global.start(&[])?.config;
        let database = Database::connect_to_look(&config.database).await?;
        for role in roles {
            match database.in_time(store::grants(&database, &account(role), role)).await {
                Ok(grants) => all.push(grants),
                Err(error) => {
                    database.close().await;
                    return Err(error.into());
                }
            }
        }
        database.close().await;
    }
    match global.output {
        Output::Json => output::json(&json!({ "grants": all }))?,
        Output::Table => {
            for grants in &all {
                show(grants)?;
            }
        }
    }
    Ok(Exit::Done)
}

/// As a script: what is no statement is a comment, and holds no name of anybody's choosing.
fn show(grants: &Grants) -> Result<(), Failure> {
    let purpose = match grants.role {
        store::Role::Inspect => "to inspect",
        store::Role::Migrate => "to migrate",
        store::Role::Run => "to run",
        store::Role::Observe => "to observe",
    };
    output::line(&format!("-- {purpose}"))?;
    for note in &grants.notes {
        output::line(&format!("-- {note}"))?;
    }
    for statement in &grants.statements {
        output::line(&format!("{statement};"))?;
    }
    Ok(())
}
