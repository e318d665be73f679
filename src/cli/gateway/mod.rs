//! `hostmatch gateway`: what stands in the gateway's database, and which rights hostmatch needs
//! there.

mod report;

use serde_json::json;

use super::arguments::{Engine, one_of};
use super::{Exit, Failure, Global, output};
use crate::install::inspection::{Verdict, inspect};
use crate::install::privileges::{Account, Grants, Role, grants, grants_for};

/// Look at the gateway's database before letting hostmatch in
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// What is there, what hostmatch would use and do, and what stands in its way; changes nothing
    ///
    /// Needs no more than the right to read, and works before any migration. The exit code is 0
    /// when all is well, 10 when there is something to put right or to know.
    Inspect,
    Grants(GrantsArgs),
}

/// The GRANT statements with the least rights to inspect, to migrate and to run
///
/// Looks at the database for its columns; with --for it needs none, and assumes those of
/// `hostmatch migrate baseline`. Changes nothing: an administrator runs what it prints.
#[derive(Debug, clap::Args)]
pub(super) struct GrantsArgs {
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
    /// What the user is to do [default: the first three, one after the other]
    ///
    /// inspect: look around before and after migrating. migrate: make and take back our tables. run: decide on
    /// events, and look at what became of them. observe: decide on events and write nothing of the gateway's
    /// (worker.mode = "observe").
    #[arg(long, value_parser = one_of::<Role>())]
    role: Option<Role>,
}

/// Runs the command; fails when the database cannot be reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Inspect => {
            let inspection = inspect(&global.start(&[])?.config).await?;
            global.output.show(&inspection, || report::show(&inspection))?;
            Ok(if inspection.verdict == Verdict::Ready { Exit::Done } else { Exit::Findings })
        }
        Command::Grants(args) => print_grants(global, args).await,
    }
}

async fn print_grants(global: &Global, args: &GrantsArgs) -> Result<Exit, Failure> {
    let account = Account { user: args.user.clone(), host: args.host.clone(), role: args.role };
    let all = match args.engine {
        Some(engine) => grants_for(engine.into(), &args.database, &account),
        None => grants(&global.start(&[])?.config.database, &account).await?,
    };
    global.output.show(&json!({ "grants": all }), || all.iter().try_for_each(script))
}

/// As a script: what is no statement is a comment, and holds no name of anybody's choosing.
fn script(grants: &Grants) -> Result<(), Failure> {
    output::line(&format!("-- to {}", <&str>::from(grants.role)))?;
    grants.notes.iter().try_for_each(|note| output::line(&format!("-- {note}")))?;
    grants.statements.iter().try_for_each(|statement| output::line(&format!("{statement};")))
}
