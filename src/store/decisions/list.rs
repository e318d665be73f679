//! Pages of mappings.

use migration::names;
use sea_orm::sea_query::{CaseStatement, Cond, Expr, ExprTrait as _, Order, Query, SelectStatement};
use sea_orm::{ConnectionTrait, QueryResult};

use super::MappingRow;
use super::facts::{add_last_audits, read_mapping, select_mappings};
use crate::event::{CompanyId, HostId, StaffId};
use crate::store::{Compare, DbId, GatewaySchema, StoreError, bind_staff, mappings};

/// Which mappings; what is given must all be true.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MappingFilter {
    /// Of this company.
    pub company: Option<CompanyId>,
    /// Of this Cal.com user.
    pub host: Option<HostId>,
    /// Of this member of staff.
    pub staff: Option<StaffId>,
    /// With this source.
    pub source: Option<String>,
    /// With such a confidence.
    pub confidence: Option<(Compare, i32)>,
    /// In force, or switched off.
    pub is_active: Option<bool>,
    /// In force together with another one of the same host, or of the same member of staff.
    pub in_conflict: bool,
    /// In force for somebody who does not count: inactive, deleted, or of another company.
    pub staff_inactive: bool,
    /// No booking of the host has been decided then or later, ms since 1970.
    pub unused_since_ms: Option<i64>,
    /// Only older ones than this.
    pub before: Option<i64>,
}

/// A mapping in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingEntry {
    /// The row.
    pub row: MappingRow,
    /// Its member of staff is active, not deleted, and in its company.
    pub staff_is_valid: bool,
    /// When a booking of its host was decided last, ms since 1970.
    pub last_used_ms: Option<i64>,
}

/// Mappings, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn list_mappings(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    filter: &MappingFilter,
    limit: u64,
) -> Result<Vec<MappingEntry>, StoreError> {
    let mut select = select_mappings(schema);
    let valid = CaseStatement::new().case(mappings::has_valid_staff(schema), 1).finally(0);
    let mut used = bookings();
    used.expr_as(Expr::col(("a", "decided_ms")).max(), "newest");
    select
        .expr_as(valid, "staff_is_valid")
        .expr_as(Expr::SubQuery(None, Box::new(used.into())), "last_used_ms");
    let col = |name: &'static str| Expr::col(("m", name));
    if let Some(staff) = &filter.staff {
        // An id that cannot be anybody's has no mapping.
        let Ok(staff) = bind_staff(staff, schema.staff_key) else { return Ok(Vec::new()) };
        select.and_where(col("staff_id").eq(staff));
    }
    select.and_where_option(filter.company.map(|id| mappings::company().eq(id.0)));
    select.and_where_option(filter.host.map(|host| col("calcom_host_id").eq(host.0)));
    select.and_where_option(filter.source.as_ref().map(|source| col("mapping_source").eq(source.as_str())));
    select.and_where_option(filter.confidence.map(|(compare, score)| match compare {
        Compare::Exactly => col("confidence_score").eq(score),
        Compare::AtLeast => col("confidence_score").gte(score),
        Compare::AtMost => col("confidence_score").lte(score),
    }));
    select.and_where_option(filter.is_active.map(|active| col("is_active").eq(active)));
    select.and_where_option(filter.before.map(|before| col("id").lt(before)));
    if filter.in_conflict {
        select.and_where(col("is_active").eq(true)).cond_where(another());
    }
    if filter.staff_inactive {
        let valid = CaseStatement::new().case(mappings::has_valid_staff(schema), 1).finally(0);
        select.and_where(col("is_active").eq(true)).and_where(Expr::expr(valid).eq(0));
    }
    if let Some(since) = filter.unused_since_ms {
        let mut used = bookings();
        used.expr(Expr::val(1)).and_where(Expr::col(("a", "decided_ms")).gte(since));
        select.and_where(Expr::exists(used).not());
    }
    select.order_by(("m", "id"), Order::Desc).limit(limit);
    let mut entries: Vec<MappingEntry> =
        db.query_all(&select).await?.iter().map(entry).collect::<Result<_, StoreError>>()?;
    let mut rows: Vec<MappingRow> = entries.iter().map(|entry| entry.row.clone()).collect();
    add_last_audits(db, &mut rows).await?;
    for (entry, row) in entries.iter_mut().zip(rows) {
        entry.row = row;
    }
    Ok(entries)
}

/// What was decided for the host of mapping `m` in its company.
fn bookings() -> SelectStatement {
    let mut select = Query::select();
    select
        .from_as(names::ASSIGNMENTS, "a")
        .and_where(Expr::col(("a", "company_id")).eq(mappings::company()))
        .and_where(Expr::col(("a", "host_id")).equals(("m", "calcom_host_id")));
    select
}

/// There is another mapping in force beside `m`, in the same company, of its host or of its member of staff.
fn another() -> Cond {
    let mut other = Query::select();
    let same = Expr::col(("o", "calcom_host_id"))
        .equals(("m", "calcom_host_id"))
        .or(Expr::col(("o", "staff_id")).equals(("m", "staff_id")));
    let company =
        Expr::col(("o", "company_id"))
            .equals(("m", "company_id"))
            .or(Expr::col(("o", "company_id")).is_null());
    other
        .expr(Expr::val(1))
        .from_as(names::MAPPINGS, "o")
        .and_where(Expr::col(("o", "id")).not_equals(("m", "id")))
        .and_where(Expr::col(("o", "is_active")).eq(true))
        .and_where(company.or(Expr::col(("m", "company_id")).is_null()))
        .and_where(same);
    Cond::all().add(Expr::exists(other))
}

fn entry(row: &QueryResult) -> Result<MappingEntry, StoreError> {
    Ok(MappingEntry {
        row: read_mapping(row)?,
        staff_is_valid: row.try_get::<DbId>("", "staff_is_valid")?.0 == 1,
        last_used_ms: row.try_get::<Option<DbId>>("", "last_used_ms")?.map(|ms| ms.0),
    })
}
