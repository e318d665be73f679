//! `mappings export` and `mappings template`: the mappings there are, and the hosts that need one, as
//! CSV on stdout.

use std::io::{BufWriter, Write as _};

use super::sheet::{Form, Writer};
use super::{COLUMNS, MORE};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::event::CompanyId;
use crate::matching::InboxState;
use crate::runtime::clock::now_ms;
use crate::store::{Database, GatewaySchema, InboxFilter, MappingFilter, inbox_entries, list_mappings};

/// Rows read at once.
const PAGE: u64 = 1000;

/// Mappings as CSV, which `mappings import` reads
///
/// On stdout, in UTF-8. No cell can become a formula in a spreadsheet. Holds names and addresses.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Export {
    /// Only of this company
    #[arg(long, value_name = "N")]
    company: Option<i64>,
    /// Those that are switched off, too
    #[arg(long)]
    inactive: bool,
    /// For a German Excel: semicolons, and a mark that it is UTF-8
    #[arg(long)]
    excel: bool,
}

/// The hosts that need a person as CSV, to be filled in and imported
///
/// The column staff_id is empty, or with --suggestions filled in where there is just one suggestion.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Template {
    /// Only of this company
    #[arg(long, value_name = "N")]
    company: Option<i64>,
    /// Fill in whom hostmatch suggests, where that is one person
    #[arg(long)]
    suggestions: bool,
    /// For a German Excel: semicolons, and a mark that it is UTF-8
    #[arg(long)]
    excel: bool,
}

fn form(excel: bool) -> Form {
    if excel { Form::EXCEL } else { Form::PLAIN }
}

fn written(error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.into(),
        other => Failure::new(Exit::Failed, format!("writing CSV: {other:?}")),
    }
}

/// Runs `export`.
///
/// # Errors
/// When the database cannot be reached or stdout cannot be written.
pub(super) async fn export(
    args: &Export,
    database: &Database,
    schema: &GatewaySchema,
) -> Result<Exit, Failure> {
    let mut filter = MappingFilter {
        company: args.company.map(CompanyId),
        is_active: (!args.inactive).then_some(true),
        ..MappingFilter::default()
    };
    let out = BufWriter::new(std::io::stdout());
    let mut sheet = Writer::new(out, form(args.excel), &COLUMNS).map_err(written)?;
    loop {
        let page = list_mappings(database.connection(), schema, &filter, PAGE);
        let page = database.in_time(page).await?;
        let Some(last) = page.last() else { break };
        filter.before = Some(last.row.id);
        for entry in &page {
            let row = &entry.row;
            let company = row.company().map(|company| company.0.to_string()).unwrap_or_default();
            let cells = [
                company,
                row.host.0.to_string(),
                row.name.clone(),
                row.email.clone(),
                row.staff.id.to_string(),
                row.staff.name.clone(),
                row.state.source.to_string(),
                row.state.confidence.0.to_string(),
                row.state.is_active.to_string(),
                String::new(),
            ];
            sheet.row(&cells).map_err(written)?;
        }
    }
    sheet.end().map_err(written)?;
    std::io::stdout().flush()?;
    Ok(Exit::Done)
}

/// Runs `template`.
///
/// # Errors
/// As [`export`].
pub(super) async fn template(args: &Template, database: &Database) -> Result<Exit, Failure> {
    let filter = InboxFilter {
        company: args.company.map(CompanyId),
        state: Some(InboxState::Open),
        ..InboxFilter::default()
    };
    let columns: Vec<&str> = COLUMNS[..6].iter().chain(&COLUMNS[9..]).chain(&MORE[..2]).copied().collect();
    let out = BufWriter::new(std::io::stdout());
    let mut sheet = Writer::new(out, form(args.excel), &columns).map_err(written)?;
    let now_ms = now_ms();
    let mut skip = 0;
    loop {
        let page =
            database.in_time(inbox_entries(database.connection(), &filter, now_ms, skip, PAGE)).await?;
        if page.is_empty() {
            break;
        }
        skip += page.len() as u64;
        for entry in &page {
            let host = &entry.row.host;
            let suggestions = &entry.row.suggestions;
            let only = suggestions.first().filter(|_| args.suggestions && suggestions.len() == 1);
            let told =
                suggestions.iter().map(|it| format!("{} ({} {})", it.staff, it.strategy, it.confidence.0));
            let cells = [
                entry.row.key.company.0.to_string(),
                entry.row.key.host.0.to_string(),
                host.name.clone().unwrap_or_default(),
                host.email.clone().unwrap_or_default(),
                only.map(|it| it.staff.to_string()).unwrap_or_default(),
                String::new(),
                String::new(),
                told.collect::<Vec<_>>().join(" or "),
                entry.waiting.to_string(),
            ];
            sheet.row(&cells).map_err(written)?;
        }
    }
    sheet.end().map_err(written)?;
    Ok(Exit::Done)
}
