//! Reads the active staff of companies, from whichever columns the gateway has, and defines who is active.

use std::collections::{BTreeMap, BTreeSet};

use migration::by_engine;

use super::entity::staff::{Column, Entity};
use super::prelude::*;
use super::row_reader::selected;
use super::statement::pad_in_list;
use super::{GatewaySchema, NameColumns};
use crate::event::{CompanyId, StaffId};
use crate::matching::Staff;

selected! {
    /// A member of staff, with NULL for columns that the gateway lacks.
    struct Member of (schema) {
        id: StaffId = Expr::col((S, Column::Id)),
        company: CompanyId = Expr::col((S, Column::CompanyId)),
        email: Option<String> = optional(schema.staff_email, Column::Email),
        name: Option<String> = optional(schema.staff_name == NameColumns::Full, Column::Name),
        first_name: Option<String> = optional(schema.staff_name == NameColumns::FirstLast, Column::FirstName),
        last_name: Option<String> = optional(schema.staff_name == NameColumns::FirstLast, Column::LastName),
    }
}

fn optional(exists: bool, column: Column) -> Expr {
    if exists { Expr::col((S, column)) } else { Expr::null() }
}

/// The alias of the table `staff` in statements.
pub(super) const S: &str = "s";

/// Returns whether the member of staff [`S`] is active: the flag is set, or the gateway has none.
pub(super) fn has_active_flag(schema: &GatewaySchema) -> Expr {
    schema.staff_active.map_or(Expr::val(1).eq(1), |flag| Expr::col((S, flag)).eq(true))
}

/// Returns whether the member of staff [`S`] is not deleted.
pub(super) fn is_not_deleted(schema: &GatewaySchema) -> Expr {
    if schema.staff_deleted_at {
        Expr::cust(is_no_time(schema.backend, &format!("{S}.{}", Column::DeletedAt.as_str())))
    } else {
        Expr::val(1).eq(1)
    }
}

/// Returns the SQL condition that a time column holds no time: NULL, or what gateways write into a column that
/// cannot be NULL (`0000-00-00`, 0, an empty string). It is never NULL, and the same in WHERE as in an
/// expression: for a NOT NULL column MariaDB reads `IS NULL` as "is zero", but only in WHERE.
pub(crate) fn is_no_time(backend: DbBackend, column: &str) -> String {
    let text = by_engine(backend, ["CHAR", "TEXT", "TEXT"]);
    let text = format!("COALESCE(CAST({column} AS {text}), '')");
    format!("({text} IN ('', '0') OR {text} LIKE '0000-00-00%')")
}

/// Returns the active staff of these companies who are not deleted, ordered by id. A company without staff
/// has an empty list.
pub(super) async fn active(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    companies: &BTreeSet<CompanyId>,
) -> Result<BTreeMap<CompanyId, Vec<Staff>>> {
    let mut rosters: BTreeMap<CompanyId, Vec<Staff>> = companies.iter().map(|id| (*id, Vec::new())).collect();
    if companies.is_empty() {
        return Ok(rosters);
    }
    let mut select = Query::select();
    Member::select(&mut select, schema);
    select.from_as(Entity, S);
    select.and_where(Expr::col((S, Column::CompanyId)).is_in(pad_in_list(companies.iter().copied())));
    select.and_where(has_active_flag(schema)).and_where(is_not_deleted(schema));
    select.order_by((S, Column::Id), Order::Asc);
    for row in tx.query_all(&select).await? {
        let row = Member::read(&row)?;
        let full_name = match (row.first_name, row.last_name) {
            (Some(first), Some(last)) => Some(first + " " + &last),
            (first, last) => first.or(last),
        };
        let name = row.name.or(full_name).unwrap_or_default();
        let member = Staff { id: row.id, name, email: row.email };
        rosters.entry(row.company).or_default().push(member);
    }
    Ok(rosters)
}
