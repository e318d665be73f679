//! Reads the active staff of companies, from whichever columns the gateway has.

use std::collections::{BTreeMap, BTreeSet};

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
        id: StaffId = Expr::col(Column::Id),
        company: CompanyId = Expr::col(Column::CompanyId),
        email: Option<String> = optional(schema.staff_email, Column::Email),
        name: Option<String> = optional(schema.staff_name == NameColumns::Full, Column::Name),
        first_name: Option<String> = optional(schema.staff_name == NameColumns::FirstLast, Column::FirstName),
        last_name: Option<String> = optional(schema.staff_name == NameColumns::FirstLast, Column::LastName),
    }
}

fn optional(exists: bool, column: Column) -> Expr {
    if exists { Expr::col(column) } else { Expr::null() }
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
    select.from(Entity);
    select.and_where(Expr::col(Column::CompanyId).is_in(pad_in_list(companies.iter().copied())));
    if let Some(flag) = schema.staff_active {
        select.and_where(Expr::col(flag).eq(true));
    }
    if schema.staff_deleted_at {
        select.and_where(Expr::col(Column::DeletedAt).is_null());
    }
    select.order_by(Column::Id, Order::Asc);
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
