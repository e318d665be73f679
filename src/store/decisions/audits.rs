//! Reads the audit trail: what was changed, by whom, when and why.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use sea_orm::QueryResult;
use sea_orm::sea_query::LikeExpr;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::write::{REVERT, change_key};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Actor, AuditAction, HostKey, Stored};
use crate::runtime::clock::as_rfc3339;
use crate::store::clock::{audit_clock_offset, in_ms};
use crate::store::entity::mapping_audit::{Column, Entity};
use crate::store::prelude::*;
use crate::store::row_reader::selected;
use crate::store::statement::{like_literal, pad_in_list};
use crate::store::{DbId, Document, GatewaySchema, Scope};

/// A filter for audit rows. A row must meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "most fields are columns")]
pub struct AuditFilter {
    pub mapping: Option<i64>,
    pub host: Option<HostId>,
    pub staff: Option<StaffId>,
    /// The actor; with a `*` at the end, a prefix of the actor's name.
    pub actor: Option<String>,
    pub action: Option<String>,
    /// Changed at this time or later, in ms since 1970.
    pub since_ms: Option<i64>,
    /// Changed before this time, in ms since 1970.
    pub until_ms: Option<i64>,
    /// Only rows older than this id.
    pub before: Option<i64>,
}

selected! {
    /// A row of `calcom_host_mapping_audits` as it is shown: `docs/commands.md` describes its JSON. The
    /// gateway's own rows may lack some fields.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize)]
    #[expect(missing_docs, reason = "most fields are columns")]
    pub struct AuditRow of (schema) {
        /// The row's id; a later row has a higher one.
        pub id: i64 = Expr::col(Column::Id) => |id: DbId| id.0,
        /// The time of the change, in ms since 1970.
        #[serde(serialize_with = "as_rfc3339")]
        pub at: i64 = changed_at(schema.backend) => |ms: Option<i64>| ms.unwrap_or(0),
        /// The mapping; none if its row was deleted.
        pub mapping: Option<i64> = Expr::col(Column::MappingId) => |id: Option<DbId>| id.map(|id| id.0),
        pub company: Option<CompanyId> = Expr::col(Column::CompanyId),
        pub host: Option<HostId> = Expr::col(Column::CalcomHostId),
        pub staff: Option<StaffId> = Expr::col(Column::StaffId),
        pub action: Stored<AuditAction> = Expr::col(Column::Action)
            => |action: Option<Stored<AuditAction>>| action.unwrap_or_else(|| Stored::read("")),
        pub actor: Option<Actor> = Expr::col(Column::Actor),
        pub reason: Option<String> = Expr::col(Column::Reason),
        /// The fields before.
        pub old: Option<Map<String, Value>> = Expr::col(Column::OldValues) => fields,
        /// The fields after.
        pub new: Option<Map<String, Value>> = Expr::col(Column::NewValues) => fields,
        #[serde(skip)]
        change_key: Option<Uuid> = Expr::col(Column::ChangeKey)
            => |key: Option<String>| Uuid::parse_str(key?.trim_end()).ok(),
    }
}

/// Reads the fields of an audit row. A gateway may have written JSON within JSON.
fn fields(document: Option<Document>) -> Option<Map<String, Value>> {
    match document?.0 {
        Value::Object(fields) => Some(fields),
        Value::String(inner) => serde_json::from_str(&inner).ok(),
        _ => None,
    }
}

/// One change, made by one decision of a person or of the program; it may affect several rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Company and host.
    pub key: HostKey,
    /// Its audit rows, in the order in which they were written.
    pub rows: Vec<AuditRow>,
}

/// Returns audit rows, newest first, at most `limit`.
pub async fn audits(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    scope: &Scope,
    filter: &AuditFilter,
    limit: u64,
) -> Result<Vec<AuditRow>> {
    let ahead = audit_clock_offset(db, schema).await?;
    let at = || changed_at(schema.backend);
    let mut condition = scope
        .condition(Column::CompanyId)
        .add_option(filter.mapping.map(|id| Column::MappingId.eq(id)))
        .add_option(filter.host.map(|id| Column::CalcomHostId.eq(id)))
        .add_option(filter.before.map(|before| Column::Id.lt(before)))
        .add_option(filter.action.as_deref().map(|action| Expr::col(Column::Action).eq(action)))
        .add_option(filter.since_ms.map(|ms| at().gte(ms.saturating_add(ahead))))
        .add_option(filter.until_ms.map(|ms| at().lt(ms.saturating_add(ahead))));
    if let Some(staff) = &filter.staff {
        // An id of the wrong kind belongs to no staff.
        let Ok(staff) = staff.of_kind(schema.staff_key) else { return Ok(Vec::new()) };
        condition = condition.add(Expr::col(Column::StaffId).eq(staff));
    }
    if let Some(actor) = &filter.actor {
        let column = Expr::col(Column::Actor);
        condition = condition.add(match actor.strip_suffix('*') {
            Some(start) => column.like(LikeExpr::new(format!("{}%", like_literal(start))).escape('!')),
            None => column.eq(actor.as_str()),
        });
    }
    let mut select = select(schema, condition);
    select.order_by(Column::Id, Order::Desc).limit(limit);
    read(db, &select, ahead).await
}

/// Returns the change that an audit row belongs to, with all of its rows. `None` if there is no such row, or
/// it has no host.
pub async fn change_of(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    scope: &Scope,
    id: i64,
) -> Result<Option<Change>> {
    let wanted = scope.condition(Column::CompanyId).add(Column::Id.eq(id));
    let Some(row) = all(db, schema, wanted).await?.pop() else { return Ok(None) };
    let Some(key) = row.host_key() else { return Ok(None) };
    let rows = match row.decision() {
        None => vec![row],
        Some((action, number)) => {
            let range = change_key(action, number, 0)..=change_key(action, number, u16::MAX);
            in_range(db, schema, range).await?
        }
    };
    Ok(Some(Change { key, rows }))
}

/// Returns all changes of one action (an import, a hand-over), in the order in which they were made.
pub async fn changes_of_batch(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    action: Uuid,
) -> Result<Vec<Change>> {
    let range = change_key(action, 0, 0)..=change_key(action, u32::MAX, u16::MAX);
    let mut changes: Vec<Change> = Vec::new();
    for row in in_range(db, schema, range).await? {
        let Some(key) = row.host_key() else { continue };
        match changes.last_mut() {
            Some(last) if last.rows.last().and_then(AuditRow::decision) == row.decision() => {
                last.rows.push(row)
            }
            _ => changes.push(Change { key, rows: vec![row] }),
        }
    }
    Ok(changes)
}

/// Returns the audit rows of the same mappings that are newer than the oldest of these rows, oldest first.
pub(crate) async fn audits_since(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    rows: impl IntoIterator<Item = &AuditRow>,
) -> Result<Vec<AuditRow>> {
    let (ids, mappings): (Vec<i64>, BTreeSet<Option<i64>>) =
        rows.into_iter().map(|row| (row.id, row.mapping)).unzip();
    let Some(oldest) = ids.into_iter().min() else { return Ok(Vec::new()) };
    let of_mappings = Column::MappingId.is_in(pad_in_list(mappings.into_iter().flatten()));
    all(db, schema, Cond::all().add(of_mappings).add(Column::Id.gt(oldest))).await
}

async fn in_range(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    range: RangeInclusive<Uuid>,
) -> Result<Vec<AuditRow>> {
    let [first, last] = [range.start(), range.end()].map(|key| key_value(schema.backend, &key.to_string()));
    let wanted = Cond::all().add(Expr::col(Column::ChangeKey).between(first, last));
    let mut rows = all(db, schema, wanted).await?;
    rows.retain(|row| row.change_key.is_some_and(|key| range.contains(&key)));
    Ok(rows)
}

impl AuditRow {
    /// Returns the company and host, if it has both.
    pub fn host_key(&self) -> Option<HostKey> {
        Some(HostKey::new(self.company?, self.host?))
    }

    /// Returns the person's action that the row belongs to, and the number of the decision within it. `None`
    /// for a row that the program or the gateway wrote: it belongs to no action.
    pub fn decision(&self) -> Option<(Uuid, u32)> {
        let key = self.change_key.filter(|key| key.get_version_num() == 8)?;
        let bytes = key.as_bytes();
        let number = u32::from_be_bytes([bytes[10], bytes[11], bytes[12], bytes[13]]);
        Some((change_key(key, 0, 0), number))
    }

    /// Returns whether this row undid the other one, which must be the preceding row of the same mapping.
    /// Equal values are not enough: a person may have made a new decision with the earlier values.
    pub fn undoes(&self, other: &Self) -> bool {
        let key = self.change_key.filter(|key| key.get_version_num() == 8);
        if key.is_none_or(|key| u16::from_be_bytes([key.as_bytes()[14], key.as_bytes()[15]]) & REVERT == 0) {
            return false;
        }
        let (Some(from), Some(to), Some(new)) = (&self.old, &self.new, &other.new) else { return false };
        let Some(old) = &other.old else {
            // The other row created the mapping, and mappings are never deleted: undoing it deactivates the
            // mapping.
            return to.len() == 1 && to.get("is_active") == Some(&Value::Bool(false));
        };
        let mut changed = old.iter().filter(|(name, before)| new.get(*name).is_some_and(|it| it != *before));
        let count = changed.clone().count();
        count == to.len()
            && changed.all(|(name, before)| to.get(name) == Some(before) && from.get(name) == new.get(name))
    }
}

/// Returns a value to compare `change_key` with. The column is a CHAR, so PostgreSQL would not use its index
/// for a value of type text.
pub(in crate::store) fn key_value(backend: DbBackend, key: &str) -> Expr {
    let value = Expr::val(key);
    if backend == DbBackend::Postgres { value.cast_as("bpchar") } else { value }
}

/// Returns the expression for the time of a change, in ms since 1970, read as UTC.
fn changed_at(backend: DbBackend) -> Expr {
    Expr::cust(in_ms(backend, Column::ChangedAt.as_str()))
}

fn select(schema: &GatewaySchema, wanted: Cond) -> SelectStatement {
    let mut select = Query::select();
    AuditRow::select(&mut select, schema);
    select.from(Entity).cond_where(wanted);
    select
}

/// Returns all of these rows, oldest first.
async fn all(db: &impl ConnectionTrait, schema: &GatewaySchema, wanted: Cond) -> Result<Vec<AuditRow>> {
    let ahead = audit_clock_offset(db, schema).await?;
    let mut select = select(schema, wanted);
    select.order_by(Column::Id, Order::Asc);
    read(db, &select, ahead).await
}

async fn read(db: &impl ConnectionTrait, select: &SelectStatement, ahead: i64) -> Result<Vec<AuditRow>> {
    let read = |row: &QueryResult| {
        let row = AuditRow::read(row)?;
        // A row without a time keeps 0.
        let at = if row.at == 0 { 0 } else { row.at.saturating_sub(ahead) };
        Ok(AuditRow { at, ..row })
    };
    db.query_all(select).await?.iter().map(read).collect()
}
