//! `hostmatch gateway`: inspects the gateway's database, and prints the privileges that hostmatch needs there.

mod report;

use serde_json::json;

use super::arguments::{Engine, one_of};
use super::{Exit, Failure, Global, output};
use crate::install::inspection::{Verdict, inspect};
use crate::install::privileges::{Account, Grants, Role, grants, grants_for};

/// Inspect the gateway's database before you install hostmatch
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what exists, what hostmatch would use and do, and what prevents it; changes nothing
    ///
    /// Needs only read privileges, and works before any migration. The exit code is 0 when there is
    /// nothing to report, 10 when there are problems or notes.
    Inspect,
    Grants(GrantsArgs),
}

/// Print the GRANT statements with the minimum privileges to inspect, to migrate and to run
///
/// Reads the columns of the database; with --for no database is needed, and the columns are those of
/// `hostmatch migrate baseline`. The command changes nothing: an administrator runs the printed statements.
#[derive(Debug, clap::Args)]
pub(super) struct GrantsArgs {
    /// Print them without a database, for this engine
    #[arg(long = "for", value_name = "ENGINE")]
    engine: Option<Engine>,
    /// With --for: the name of the gateway's database
    #[arg(long, value_name = "NAME", requires = "engine", default_value = "gateway")]
    database: String,
    /// The user who gets the privileges [default: hostmatch, hostmatch_migrate, hostmatch_inspect]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// MySQL and MariaDB: the host from which that user connects
    #[arg(long, value_name = "HOST", default_value = "%")]
    host: String,
    /// The role of the user [default: the first three, one after the other]
    ///
    /// inspect: inspect the database before and after migrating. migrate: create and remove hostmatch's
    /// tables. run: decide events, and read the results. observe: decide events without writing to the
    /// gateway's tables (worker.mode = "observe").
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

/// Writes the grants as a script. Everything else is a comment, which contains no name that a user chose.
fn script(grants: &Grants) -> Result<(), Failure> {
    output::print_line(&format!("-- to {}", <&str>::from(grants.role)))?;
    grants.notes.iter().try_for_each(|note| output::print_line(&format!("-- {note}")))?;
    grants.statements.iter().try_for_each(|statement| output::print_line(&format!("{statement};")))
}
