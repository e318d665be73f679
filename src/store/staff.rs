//! The active staff of companies, in whatever columns the gateway keeps them.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::ConnectionTrait;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};

use super::cells::Cells;
use super::statement::padded;
use super::{GatewaySchema, NameColumns, StoreError};
use crate::event::CompanyId;
use crate::matching::Staff;

/// Everybody of these companies who is active and not deleted, by id. A company without staff
/// has an empty list.
pub(super) async fn active(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    companies: &BTreeSet<CompanyId>,
) -> Result<BTreeMap<CompanyId, Vec<Staff>>, StoreError> {
    let mut rosters: BTreeMap<CompanyId, Vec<Staff>> = companies.iter().map(|id| (*id, Vec::new())).collect();
    if companies.is_empty() {
        return Ok(rosters);
    }
    let names: &[&'static str] = match schema.staff_name {
        NameColumns::Full => &["name"],
        NameColumns::FirstLast => &["first_name", "last_name"],
    };
    let mut select = Query::select();
    select.columns(["id", "company_id"]).from("staff");
    if schema.staff_email {
        select.column("email");
    }
    select.columns(names.iter().copied());
    select.and_where(Expr::col("company_id").is_in(padded(companies.iter().map(|id| id.0))));
    if let Some(flag) = schema.staff_active {
        select.and_where(Expr::col(flag).eq(true));
    }
    if schema.staff_deleted_at {
        select.and_where(Expr::col("deleted_at").is_null());
    }
    select.order_by("id", Order::Asc);
    for row in tx.query_all(&select).await? {
        let mut cells = Cells::of(&row);
        let (id, company) = (cells.next()?, cells.next()?);
        let email = if schema.staff_email { cells.next()? } else { None };
        let mut name = cells.next::<Option<String>>()?;
        for _ in 1..names.len() {
            name = match (name, cells.next::<Option<String>>()?) {
                (Some(first), Some(last)) => Some(first + " " + &last),
                (first, last) => first.or(last),
            };
        }
        let member = Staff { id, name: name.unwrap_or_default(), email };
        rosters.entry(company).or_default().push(member);
    }
    Ok(rosters)
}
