//! Use cases for mappings and their audit trail: list, show, switch on or off, and revert.

use serde::Serialize;

use super::context::page;
use super::repair::{self, Counts};
use super::{AppContext, AppError, Command, Decision};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{HostKey, MappingSource, Stored};
use crate::runtime::clock::as_rfc3339;
use crate::store::{self, AuditFilter, AuditRow, MappingFilter, MappingRow, change_of, list_mappings};

/// A mapping, as JSON. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct MappingView {
    pub(crate) id: i64,
    pub(crate) company: Option<CompanyId>,
    pub(crate) host: HostId,
    pub(crate) host_name: Option<String>,
    pub(crate) host_email: Option<String>,
    pub(crate) staff: StaffId,
    pub(crate) staff_name: String,
    pub(crate) source: Stored<MappingSource>,
    pub(crate) confidence: u8,
    pub(crate) active: bool,
    pub(crate) staff_valid: bool,
    /// When a booking of its host was last decided, ms since 1970.
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) last_used: Option<i64>,
    pub(crate) last_audit: Option<i64>,
}

impl From<MappingRow> for MappingView {
    fn from(row: MappingRow) -> Self {
        let non_empty = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            id: row.id,
            company: row.company(),
            host: row.host,
            staff_valid: row.has_valid_staff(),
            host_name: non_empty(row.name),
            host_email: non_empty(row.email),
            staff: row.staff.id,
            staff_name: row.staff.name,
            source: row.state.source,
            confidence: row.state.confidence.0,
            active: row.state.is_active,
            last_used: row.last_used_ms,
            last_audit: Some(row.last_audit).filter(|id| *id > 0),
        }
    }
}

/// A page of mappings.
#[derive(Debug, Serialize)]
pub(crate) struct MappingList {
    pub(crate) mappings: Vec<MappingView>,
    /// The value of `--before` for the next page.
    pub(crate) next_before: Option<i64>,
}

/// Returns mappings, newest first.
pub(crate) async fn list(
    context: &AppContext,
    filter: &MappingFilter,
    limit: u64,
) -> Result<MappingList, AppError> {
    let (mappings, next_before) = page(read(context, filter, limit + 1).await?, limit, |row| row.id);
    Ok(MappingList { mappings, next_before })
}

pub(super) async fn read(
    context: &AppContext,
    filter: &MappingFilter,
    limit: u64,
) -> Result<Vec<MappingView>, AppError> {
    let rows = list_mappings(context.connection(), &context.schema, &context.scope, filter, limit);
    Ok(context.with_deadline(rows).await?.into_iter().map(MappingView::from).collect())
}

/// Reads one mapping. Also returns its company and host.
async fn find_mapping(context: &AppContext, id: i64) -> Result<(HostKey, MappingView), AppError> {
    let filter = MappingFilter { id: Some(id), ..MappingFilter::default() };
    let found = read(context, &filter, 1).await?.pop();
    let with_key = found.and_then(|mapping| Some((HostKey::new(mapping.company?, mapping.host), mapping)));
    with_key.ok_or_else(|| context.not_found(format_args!("mapping {id}")))
}

/// A mapping with its history and the appointments that wait for its host.
#[derive(Debug, Serialize)]
pub(crate) struct MappingDetails {
    pub(crate) mapping: MappingView,
    pub(crate) waiting: Counts,
    pub(crate) history: Vec<AuditRow>,
}

/// Returns one mapping with its history and the appointments that wait for its host.
pub(crate) async fn show(context: &AppContext, id: i64) -> Result<MappingDetails, AppError> {
    let (key, mapping) = find_mapping(context, id).await?;
    let waiting = repair::preview(context, key).await?.counts();
    Ok(MappingDetails { mapping, waiting, history: changes(context, id, 20).await? })
}

/// The changes to a mapping.
#[derive(Debug, Serialize)]
pub(crate) struct MappingHistory {
    pub(crate) history: Vec<AuditRow>,
}

/// Returns the changes to a mapping, newest first: who, from what to what, and why.
pub(crate) async fn history(context: &AppContext, id: i64, limit: u64) -> Result<MappingHistory, AppError> {
    find_mapping(context, id).await?;
    Ok(MappingHistory { history: changes(context, id, limit).await? })
}

async fn changes(context: &AppContext, mapping: i64, limit: u64) -> Result<Vec<AuditRow>, AppError> {
    read_audits(context, &AuditFilter { mapping: Some(mapping), ..AuditFilter::default() }, limit).await
}

/// A page of the audit trail.
#[derive(Debug, Serialize)]
pub(crate) struct AuditList {
    pub(crate) audits: Vec<AuditRow>,
    /// The value of `--before` for the next page.
    pub(crate) next_before: Option<i64>,
}

/// Returns changes to mappings, newest first.
pub(crate) async fn audits(
    context: &AppContext,
    filter: &AuditFilter,
    limit: u64,
) -> Result<AuditList, AppError> {
    let (audits, next_before) = page(read_audits(context, filter, limit + 1).await?, limit, |row| row.id);
    Ok(AuditList { audits, next_before })
}

pub(super) async fn read_audits(
    context: &AppContext,
    filter: &AuditFilter,
    limit: u64,
) -> Result<Vec<AuditRow>, AppError> {
    let rows = store::audits(context.connection(), &context.schema, &context.scope, filter, limit);
    Ok(context.with_deadline(rows).await?)
}

/// Returns the decision that switches a mapping off or on.
pub(crate) async fn switch_decision(
    context: &AppContext,
    id: i64,
    command: fn(i64) -> Command,
) -> Result<Decision, AppError> {
    let (key, _) = find_mapping(context, id).await?;
    Ok(Decision::new(key.company, key.host, command(id)))
}

/// Returns the decision that reverts the change of this audit row.
pub(crate) async fn revert_decision(
    context: &AppContext,
    audit: i64,
    why: Option<&str>,
) -> Result<Decision, AppError> {
    let change = change_of(context.connection(), &context.schema, &context.scope, audit);
    let change = context.with_deadline(change).await?;
    let change = change.ok_or_else(|| context.not_found(format_args!("change {audit}")))?;
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Ok(Decision::reverting(change, format!("revert of audit {audit}{why}")))
}
