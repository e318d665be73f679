//! Lists mappings page by page.

use sea_orm::QueryResult;

use super::MappingRow;
use super::facts::{add_last_audits, read_mapping, select_mappings};
use crate::event::{HostId, StaffId};
use crate::store::entity::assignment;
use crate::store::entity::mapping::{Column, Entity};
use crate::store::mappings::M;
use crate::store::prelude::*;
use crate::store::row_reader::select_as;
use crate::store::{Compare, GatewaySchema, Scope, mappings};

/// A filter for mappings. A row must meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "most fields are columns")]
pub struct MappingFilter {
    pub id: Option<i64>,
    pub host: Option<HostId>,
    pub staff: Option<StaffId>,
    pub source: Option<String>,
    pub confidence: Option<(Compare, i32)>,
    /// Whether it is active.
    pub is_active: Option<bool>,
    /// Active at the same time as another mapping of its host or its member of staff.
    pub in_conflict: bool,
    /// Active, but its member of staff is inactive, deleted, or of another company.
    pub staff_inactive: bool,
    /// No booking of the host has been decided at this time or later, in ms since 1970.
    pub unused_since_ms: Option<i64>,
    /// Only mappings older than this id.
    pub before: Option<i64>,
}

/// Returns mappings, newest first, at most `limit`.
pub async fn list_mappings(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    scope: &Scope,
    filter: &MappingFilter,
    limit: u64,
) -> Result<Vec<MappingRow>> {
    let mut select = select_mappings(schema);
    let mut used = bookings();
    used.expr(Expr::col((A, assignment::Column::DecidedMs)).max());
    let last_used = Expr::SubQuery(None, Box::new(used.into()));
    select.expr(select_as(last_used, assignment::Column::DecidedMs));
    let col = |column: Column| Expr::col((M, column));
    if let Some(staff) = &filter.staff {
        // An id of the wrong kind belongs to no staff.
        let Ok(staff) = staff.of_kind(schema.staff_key) else { return Ok(Vec::new()) };
        select.and_where(col(Column::StaffId).eq(staff));
    }
    select.cond_where(scope.condition_of(mappings::company()));
    select.and_where_option(filter.id.map(|id| col(Column::Id).eq(id)));
    select.and_where_option(filter.host.map(|host| col(Column::CalcomHostId).eq(host)));
    let source = filter.source.as_deref();
    select.and_where_option(source.map(|source| col(Column::MappingSource).eq(source)));
    let confidence =
        |(compare, score): (Compare, i32)| compare.condition(col(Column::ConfidenceScore), score);
    select.and_where_option(filter.confidence.map(confidence));
    select.and_where_option(filter.is_active.map(|active| col(Column::IsActive).eq(active)));
    select.and_where_option(filter.before.map(|before| col(Column::Id).lt(before)));
    if filter.in_conflict {
        select.and_where(col(Column::IsActive).eq(true)).cond_where(has_conflicting_mapping());
    }
    if filter.staff_inactive {
        let valid = CaseStatement::new().case(mappings::has_valid_staff(schema), 1).finally(0);
        select.and_where(col(Column::IsActive).eq(true)).and_where(Expr::expr(valid).eq(0));
    }
    if let Some(since) = filter.unused_since_ms {
        let mut used = bookings();
        used.expr(Expr::val(1)).and_where(Expr::col((A, assignment::Column::DecidedMs)).gte(since));
        select.and_where(Expr::exists(used).not());
    }
    select.order_by((M, Column::Id), Order::Desc).limit(limit);
    let read = |row: &QueryResult| {
        let last_used_ms = row.try_get("", assignment::Column::DecidedMs.as_str())?;
        Ok(MappingRow { last_used_ms, ..read_mapping(row)? })
    };
    let mut rows: Vec<MappingRow> = db.query_all(&select).await?.iter().map(read).collect::<Result<_>>()?;
    add_last_audits(db, &mut rows).await?;
    Ok(rows)
}

/// The alias of an assignment in a statement about mappings.
const A: &str = "a";

/// Selects the decisions for the host of mapping [`M`] in its company.
fn bookings() -> SelectStatement {
    let mut select = Query::select();
    select
        .from_as(assignment::Entity, A)
        .and_where(Expr::col((A, assignment::Column::CompanyId)).eq(mappings::company()))
        .and_where(Expr::col((A, assignment::Column::HostId)).equals((M, Column::CalcomHostId)));
    select
}

/// Builds the condition that the host or the member of staff of [`M`] has another active mapping in the same
/// company.
fn has_conflicting_mapping() -> Cond {
    let o = "o";
    let is_same = |column: Column| Expr::col((o, column)).equals((M, column));
    let is_in_company = is_same(Column::CompanyId)
        .or(Expr::col((o, Column::CompanyId)).is_null())
        .or(Expr::col((M, Column::CompanyId)).is_null());
    let mut other = Query::select();
    other
        .expr(Expr::val(1))
        .from_as(Entity, o)
        .and_where(Expr::col((o, Column::Id)).not_equals((M, Column::Id)))
        .and_where(Expr::col((o, Column::IsActive)).eq(true))
        .and_where(is_in_company)
        .and_where(is_same(Column::CalcomHostId).or(is_same(Column::StaffId)));
    Cond::all().add(Expr::exists(other))
}
