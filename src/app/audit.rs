//! The audit trail: who changed which mapping, when and why.

use serde::Serialize;

use super::names::page;
use super::{AppContext, AppError};
use crate::store::{AuditFilter, AuditRow, audits};

/// A page of the audit trail.
#[derive(Debug, Serialize)]
pub(crate) struct AuditList {
    pub(crate) audits: Vec<AuditRow>,
    pub(crate) next_before: Option<i64>,
}

/// Changes of mappings, newest first.
pub(crate) async fn list(
    context: &AppContext,
    filter: &AuditFilter,
    limit: u64,
) -> Result<AuditList, AppError> {
    let (audits, more) = page(read(context, filter, limit + 1).await?, limit);
    let next_before = audits.last().map(|row| row.id).filter(|_| more);
    Ok(AuditList { audits, next_before })
}

/// At most so many changes, newest first.
pub(super) async fn read(
    context: &AppContext,
    filter: &AuditFilter,
    limit: u64,
) -> Result<Vec<AuditRow>, AppError> {
    let rows = audits(context.connection(), &context.schema, &context.scope, filter, limit);
    Ok(context.with_deadline(rows).await?)
}
