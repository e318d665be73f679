//! Reads the members of staff that a person refers to, active or not, of any company.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::QueryResult;

use crate::event::{CompanyId, StaffId};
use crate::store::entity::staff::{Column, Entity};
use crate::store::prelude::*;
use crate::store::staff::{S, has_active_flag, is_not_deleted};
use crate::store::statement::pad_in_list;
use crate::store::{DbId, GatewaySchema, NameColumns, Scope};

/// A member of staff.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaffFact {
    /// `staff.id`, as the database returns it.
    pub id: StaffId,
    /// The company.
    pub company: Option<CompanyId>,
    /// The full name.
    pub name: String,
    /// Whether they are active.
    pub is_active: bool,
    /// Whether they are soft-deleted.
    pub is_deleted: bool,
}

impl StaffFact {
    /// Returns whether they are active, not deleted, and in this company.
    pub fn is_valid_in(&self, company: CompanyId) -> bool {
        self.company == Some(company) && self.is_active && !self.is_deleted
    }
}

/// Returns the members of staff with these ids, by the requested id. An id of the wrong kind (a string where
/// ids are integers) does not match any row.
pub(crate) async fn staff_facts(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    ids: &BTreeSet<StaffId>,
) -> Result<BTreeMap<StaffId, StaffFact>> {
    let ids: Vec<&StaffId> = ids.iter().collect();
    let mut facts = BTreeMap::new();
    for some in ids.chunks(256) {
        let values = some.iter().filter_map(|id| id.of_kind(schema.staff_key).ok()).collect::<Vec<_>>();
        if values.is_empty() {
            continue;
        }
        let mut select = Query::select();
        select_staff(&mut select, schema);
        select.from_as(Entity, S).and_where(Expr::col((S, Column::Id)).is_in(pad_in_list(values)));
        let found: Vec<StaffFact> =
            tx.query_all(&select).await?.iter().map(read_staff).collect::<Result<_, _>>()?;
        for id in some {
            let text = id.to_string();
            // The database may ignore case, so an exact match comes first.
            let exact = found.iter().find(|one| one.id.to_string() == text);
            let ignoring_case = || found.iter().find(|one| one.id.to_string().eq_ignore_ascii_case(&text));
            if let Some(fact) = exact.or_else(ignoring_case) {
                facts.insert((*id).clone(), fact.clone());
            }
        }
    }
    Ok(facts)
}

/// A member of staff with their e-mail address, if the gateway has one.
pub(crate) type StaffWithEmail = (StaffFact, Option<String>);

/// Returns the members of staff of these companies, active or not, by company and id, at most `limit`.
pub(crate) async fn staff_of(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    scope: &Scope,
    limit: u64,
) -> Result<Vec<StaffWithEmail>> {
    let company = || Expr::col((S, Column::CompanyId));
    let email = format!("{PREFIX}{}", Column::Email.as_str());
    let mut select = Query::select();
    select_staff(&mut select, schema);
    let value = if schema.staff_email { Expr::col((S, Column::Email)) } else { Expr::null() };
    select.expr_as(value, email.clone());
    select.from_as(Entity, S).cond_where(scope.condition_of(company())).and_where(company().is_not_null());
    select.order_by((S, Column::CompanyId), Order::Asc).order_by((S, Column::Id), Order::Asc).limit(limit);
    let read = |row: &QueryResult| {
        let email = if schema.staff_email { row.try_get::<Option<String>>("", &email)? } else { None };
        Ok((read_staff(row)?, email.filter(|email| !email.is_empty())))
    };
    db.query_all(&select).await?.iter().map(read).collect()
}

/// The prefix of the selected columns of a member of staff: a mapping has some of the same names.
const PREFIX: &str = "s_";

/// Adds the columns that [`read_staff`] reads of the member of staff [`S`]. A single name column is selected
/// as the first name; the active and deleted flags are numbers.
pub(super) fn select_staff(select: &mut SelectStatement, schema: &GatewaySchema) {
    let col = |column: Column| Expr::col((S, column));
    let one_if = |condition: Expr| CaseStatement::new().case(condition, 1).finally(0).into();
    let (first_name, last_name) = match schema.staff_name {
        NameColumns::Full => (col(Column::Name), Expr::val("")),
        NameColumns::FirstLast => (col(Column::FirstName), col(Column::LastName)),
    };
    for (column, value) in [
        (Column::Id, col(Column::Id)),
        (Column::CompanyId, col(Column::CompanyId)),
        (Column::FirstName, first_name),
        (Column::LastName, last_name),
        (Column::IsActive, one_if(has_active_flag(schema))),
        (Column::DeletedAt, one_if(is_not_deleted(schema).not())),
    ] {
        select.expr_as(value, format!("{PREFIX}{}", column.as_str()));
    }
}

/// Reads what [`select_staff`] selected.
pub(super) fn read_staff(row: &QueryResult) -> Result<StaffFact> {
    let text = |column: Column| row.try_get::<Option<String>>(PREFIX, column.as_str());
    let flag = |column: Column| row.try_get::<DbId>(PREFIX, column.as_str()).map(|one| one.0 == 1);
    let parts = [text(Column::FirstName)?, text(Column::LastName)?];
    let parts = parts.into_iter().flatten().map(|part| part.trim().to_owned());
    Ok(StaffFact {
        id: row.try_get(PREFIX, Column::Id.as_str())?,
        company: row.try_get(PREFIX, Column::CompanyId.as_str())?,
        name: parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
        is_active: flag(Column::IsActive)?,
        is_deleted: flag(Column::DeletedAt)?,
    })
}
