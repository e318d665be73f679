//! `hostmatch audit`: who changed which mapping, when and why.

use serde_json::Value;

use super::arguments::{self, HostFilter, PageArgs, moment};
use super::{Exit, Failure, Global, Output, output, output::dash};
use crate::app::{self, AppContext, AuditFilter, AuditRow};
use crate::event::StaffId;

/// Rows per query.
const PAGE_ROWS: u64 = 1000;

/// The audit trail: who changed which mapping, when and why
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Changes, newest first
    List(ListArgs),
    /// Write all changes to stdout, one per line, newest first
    Export(ExportArgs),
}

/// Filters, which must all match
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Of this mapping
    #[arg(long, value_name = "ID")]
    mapping: Option<i64>,
    #[command(flatten)]
    scope: HostFilter,
    /// Of this member of staff
    #[arg(long, value_name = "ID", value_parser = arguments::staff)]
    staff: Option<StaffId>,
    /// By this actor, such as worker, or 'cli:*' for all names that begin with cli:
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// With this action: created, updated, deleted, auto_matched, manual_override
    #[arg(long, value_name = "NAME")]
    action: Option<String>,
    /// At this time or later: 24h (ago), 2026-03-01 or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
}

impl Filter {
    fn to_filter(&self, before: Option<i64>) -> AuditFilter {
        AuditFilter {
            mapping: self.mapping,
            host: self.scope.host,
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
pub(super) struct ListArgs {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    page: PageArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    filter: Filter,
    /// The format
    #[arg(long, value_enum, default_value = "ndjson")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// One JSON object per line
    Ndjson,
    /// Comma-separated, with a header
    Csv,
}

/// Runs the command; fails when the database cannot be reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let filter = match command {
        Command::List(args) => &args.filter,
        Command::Export(args) => &args.filter,
    };
    let work = async |context: &AppContext| match command {
        Command::List(args) => list(context, global.output, args).await,
        Command::Export(args) => export(context, args).await,
    };
    global.with_context(None, filter.scope.company, work).await
}

async fn list(context: &AppContext, output: Output, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = args.filter.to_filter(args.page.before);
    let page = app::mappings::audits(context, &filter, args.page.limit).await?;
    output.list(&page, &page.audits, "No changes.", |audits| {
        table(audits)?;
        output::print_older_flag(page.next_before)
    })
}

async fn export(context: &AppContext, args: &ExportArgs) -> Result<Exit, Failure> {
    let (mut before, mut first) = (None, true);
    loop {
        let page = app::mappings::audits(context, &args.filter.to_filter(before), PAGE_ROWS).await?;
        match args.format {
            Format::Ndjson => output::ndjson(&page.audits)?,
            Format::Csv => output::csv(&page.audits, first)?,
        }
        (before, first) = (page.next_before, false);
        if before.is_none() {
            return Ok(Exit::Done);
        }
    }
}

/// The fields of a new mapping that are shown; the others repeat the host's data.
const NEW_MAPPING_FIELDS: [&str; 4] = ["staff_id", "mapping_source", "confidence_score", "is_active"];

/// Renders `is_active true → false` for each changed field, and for a new row the fields of the mapping.
fn changes(row: &AuditRow) -> String {
    let Some(new) = &row.new else { return "-".to_owned() };
    let render = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let changes = new.iter().filter_map(|(name, after)| match &row.old {
        Some(old) => {
            let before = old.get(name);
            (before != Some(after)).then(|| format!("{name} {} → {}", render(before), render(Some(after))))
        }
        None => {
            NEW_MAPPING_FIELDS.contains(&name.as_str()).then(|| format!("{name} {}", render(Some(after))))
        }
    });
    changes.collect::<Vec<_>>().join(", ")
}

pub(super) fn table(rows: &[AuditRow]) -> Result<(), Failure> {
    let head = ["AUDIT", "AT", "COMPANY", "HOST", "STAFF", "ACTION", "BY", "CHANGED", "WHY"];
    let rows = rows.iter().map(|row| {
        [
            row.id.to_string(),
            output::moment(row.at),
            dash(row.company),
            dash(row.host),
            dash(row.staff.as_ref()),
            row.action.to_string(),
            dash(row.actor.as_ref()),
            changes(row),
            dash(row.reason.as_deref()).replace('\n', " "),
        ]
    });
    output::table(&head, rows)
}
