//! `hostmatch audit`: who changed which mapping, when and why.

use clap::Subcommand;
use serde_json::json;

use super::Desk;
use super::named;
use super::trail::{self, Line};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::global::Global;
use crate::cli::moments::moment;
use crate::cli::output::{self, Output};
use crate::cli::rows;
use crate::event::{CompanyId, HostId, StaffId};
use crate::store::{AuditFilter, audits};

/// Rows read at a time.
const PAGE: u64 = 1000;

/// The audit trail: who changed which mapping, when and why
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Changes, newest first
    List(ListArgs),
    /// All changes, one a line, newest first: to stdout
    Export(ExportArgs),
}

/// Which changes; what is given must all be true
#[derive(Debug, clap::Args)]
struct Filter {
    /// Of this mapping
    #[arg(long, value_name = "ID")]
    mapping: Option<i64>,
    /// Of this company
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    /// Of this Cal.com user
    #[arg(long, value_name = "ID", value_parser = named::host)]
    host: Option<HostId>,
    /// Of this member of staff
    #[arg(long, value_name = "ID", value_parser = named::staff)]
    staff: Option<StaffId>,
    /// By this one, such as worker, or 'cli:*' for all whose name begins so
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// With this action: created, updated, deleted, auto_matched, manual_override
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// At this moment or later: 24h ago, or 2026-03-01, or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Before this moment
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
}

impl Filter {
    fn chosen(&self, before: Option<i64>) -> AuditFilter {
        AuditFilter {
            mapping: self.mapping,
            company: self.company,
            host: self.host,
            staff: self.staff.clone(),
            actor: self.actor.clone(),
            action: self.action.clone(),
            since_ms: self.since,
            until_ms: self.until,
            before,
        }
    }
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Only older ones than this: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
}

#[derive(Debug, clap::Args)]
struct ExportArgs {
    #[command(flatten)]
    filter: Filter,
    /// What it looks like
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
}

/// What an export looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One JSON object a line
    Ndjson,
    /// Comma-separated, with a head
    Csv,
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached.
pub(in crate::cli) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let desk = Desk::open(global, true).await?;
    let done = match &args.command {
        Command::List(args) => list(&desk, args).await,
        Command::Export(args) => export(&desk, args).await,
    };
    desk.database.close().await;
    done
}

async fn page(desk: &Desk, filter: &AuditFilter, limit: u64) -> Result<(Vec<Line>, Option<i64>), Failure> {
    // One more than wanted tells whether there are more.
    let rows = audits(desk.database.connection(), &desk.schema, filter, limit + 1);
    let mut rows = desk.database.in_time(rows).await?;
    let more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().map(|row| row.id).filter(|_| more);
    Ok((rows.into_iter().map(Line::from).collect(), next))
}

async fn list(desk: &Desk, args: &ListArgs) -> Result<Exit, Failure> {
    let (lines, next) = page(desk, &args.filter.chosen(args.before), args.limit).await?;
    match desk.output {
        Output::Json => output::json(&json!({ "audits": lines, "next_before": next }))?,
        Output::Table if lines.is_empty() => output::line("No changes.")?,
        Output::Table => {
            trail::table(&lines)?;
            if let Some(next) = next {
                output::line(&format!("There are older ones: --before {next}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn export(desk: &Desk, args: &ExportArgs) -> Result<Exit, Failure> {
    let (mut before, mut first) = (None, true);
    loop {
        let (lines, next) = page(desk, &args.filter.chosen(before), PAGE).await?;
        match args.format {
            Format::Ndjson => rows::ndjson(&lines)?,
            Format::Csv => rows::csv(&lines, first)?,
        }
        (before, first) = (next, false);
        if before.is_none() {
            return Ok(Exit::Done);
        }
    }
}
