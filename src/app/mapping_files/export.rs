//! Writes mappings, and hosts that need a mapping, as CSV.

use std::io::Write;

use super::sheet::{Form, Writer};
use super::{COLUMNS, MORE_COLUMNS};
use crate::app::{AppContext, AppError};
use crate::matching::InboxState;
use crate::store::{InboxFilter, MappingFilter, inbox_hosts, list_mappings};

const PAGE_ROWS: u64 = 1000;

/// Writes the mappings as CSV. `with_inactive` includes inactive ones.
pub(crate) async fn export(
    context: &AppContext,
    with_inactive: bool,
    form: Form,
    out: impl Write,
) -> Result<(), AppError> {
    let is_active = (!with_inactive).then_some(true);
    let mut filter = MappingFilter { is_active, ..MappingFilter::default() };
    let mut sheet = Writer::new(out, form, &COLUMNS)?;
    loop {
        let page = list_mappings(context.connection(), &context.schema, &context.scope, &filter, PAGE_ROWS);
        let page = context.with_deadline(page).await?;
        let Some(last) = page.last() else { return Ok(sheet.end()?) };
        filter.before = Some(last.id);
        for row in &page {
            sheet.row(&[
                row.company().map(|company| company.to_string()).unwrap_or_default(),
                row.host.to_string(),
                row.name.clone(),
                row.email.clone(),
                row.staff.id.to_string(),
                row.staff.name.clone(),
                row.state.source.to_string(),
                row.state.confidence.0.to_string(),
                row.state.is_active.to_string(),
                String::new(),
            ])?;
        }
    }
}

/// Writes a CSV file of the hosts in the inbox, for people to complete and import. `with_suggestions` fills
/// in the suggestion where there is only one.
pub(crate) async fn template(
    context: &AppContext,
    with_suggestions: bool,
    form: Form,
    out: impl Write,
) -> Result<(), AppError> {
    let filter = InboxFilter { state: Some(InboxState::Open), ..InboxFilter::default() };
    let columns = [&COLUMNS[..6], &COLUMNS[9..], &MORE_COLUMNS[..2]].concat();
    let mut sheet = Writer::new(out, form, &columns)?;
    let mut skip = 0;
    loop {
        let page = inbox_hosts(context.connection(), &context.scope, &filter, (skip, PAGE_ROWS));
        let page = context.with_deadline(page).await?;
        if page.is_empty() {
            return Ok(sheet.end()?);
        }
        skip += page.len() as u64;
        for entry in &page {
            let suggestions = &entry.row.suggestions;
            let only = suggestions.first().filter(|_| with_suggestions && suggestions.len() == 1);
            let described =
                suggestions.iter().map(|it| format!("{} ({} {})", it.staff, it.strategy, it.confidence.0));
            sheet.row(&[
                entry.row.key.company.to_string(),
                entry.row.key.host.to_string(),
                entry.row.host.name.clone().unwrap_or_default(),
                entry.row.host.email.clone().unwrap_or_default(),
                only.map(|it| it.staff.to_string()).unwrap_or_default(),
                String::new(),
                String::new(),
                described.collect::<Vec<_>>().join(" or "),
                entry.bookings.waiting.to_string(),
            ])?;
        }
    }
}
