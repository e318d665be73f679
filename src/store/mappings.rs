//! Rows of `calcom_host_mappings`, with what has to be known about them.
//!
//! A gateway that writes to a table that was its own leaves the company out. Such a row counts for
//! the company of its member of staff, and no unique index keeps it from standing beside another of
//! the same host: so what is read here is in order of ids, and may be more than one for a host.

use migration::names;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::sea_query::{
    Alias, CaseStatement, Expr, ExprTrait as _, Func, Order, Query, SelectStatement, TableRef,
};
use sea_orm::{ConnectionTrait, DbBackend, QueryResult};

use super::cells::Cells;
use super::statement::{any_host, padded};
use super::{DbId, GatewaySchema, StoreError};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Actor, AuditAction, Confidence, HostKey, Mapping, MappingChange, MappingRef, Stored};

/// The active mappings of these hosts, each in its own company, without audits: for hosts whose
/// mapping is valid nothing more is needed.
pub(super) async fn active(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<Vec<Mapping>, StoreError> {
    let mut mappings = Vec::new();
    if keys.is_empty() {
        return Ok(mappings);
    }
    for row in tx.query_all(&select_active(schema, keys)).await? {
        let Some(mapping) = read(&row)? else { continue };
        if keys.contains(&mapping.key()) {
            mappings.push(mapping);
        }
    }
    Ok(mappings)
}

/// All mappings of these hosts, switched off ones too, with whose doing that was. A mapping that
/// was made for another company is listed under each company that asks about its host: its
/// member of staff may have moved here, and host and staff together are unique.
pub(super) async fn all(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<Vec<Mapping>, StoreError> {
    let rows = tx.query_all(&select(schema, keys)).await?;
    let found: Vec<Mapping> =
        rows.iter().filter_map(|row| read(row).transpose()).collect::<Result<_, _>>()?;
    let audits = last_audits(tx, &found).await?;
    let mut mappings = Vec::new();
    for mut mapping in found {
        if let MappingRef::Row(id) = mapping.row {
            let last = audits.get(&id);
            // It is the machine's doing only when the machine's own switching off was the last that
            // happened to it. A row without an audit, or one that is off although its last audit
            // does not say so, was switched off past us: that counts as a person's doing.
            let by_machine = last.is_some_and(|(_, machine_switched_off)| *machine_switched_off);
            mapping.switched_off_by_person = !mapping.is_active && !by_machine;
        }
        for key in keys.iter().filter(|key| key.host == mapping.host) {
            let here = mapping.made_for == key.company;
            mappings.push(Mapping {
                company: key.company,
                is_active: mapping.is_active && here,
                switched_off_by_person: mapping.switched_off_by_person && here,
                ..mapping.clone()
            });
        }
    }
    Ok(mappings)
}

/// The row under which a host is mapped now that mappings were made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    /// `calcom_host_mappings.id`
    pub(super) row: i64,
    /// It was made by the change that asks. Else somebody made one in the meantime, and there is
    /// nothing to tell about it.
    pub(super) is_ours: bool,
}

/// What has become of the mappings that these changes were to make, by host.
pub(super) async fn made(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    changes: &[MappingChange],
) -> Result<BTreeMap<HostKey, Made>, StoreError> {
    let inserts = changes.iter().filter_map(|change| match change {
        MappingChange::Insert { key, audit, .. } => Some((*key, audit.change_key.to_string())),
        _ => None,
    });
    let change_keys: BTreeMap<HostKey, String> = inserts.collect();
    let mut made = BTreeMap::new();
    if change_keys.is_empty() {
        return Ok(made);
    }
    let mut select = select_active(schema, &change_keys.keys().copied().collect());
    let text = if schema.backend == DbBackend::MySql { "CHAR" } else { "TEXT" };
    select.expr_as(Expr::col(("m", "metadata")).cast_as(text), Alias::new("metadata"));
    for row in tx.query_all(&select).await? {
        let Some(mapping) = read(&row)? else { continue };
        let key = mapping.key();
        let (Some(change_key), MappingRef::Row(row_id)) = (change_keys.get(&key), mapping.row) else {
            continue;
        };
        let metadata = row.try_get::<Option<String>>("", "metadata")?;
        let is_ours = metadata.is_some_and(|metadata| metadata.contains(change_key));
        match made.entry(key) {
            Entry::Occupied(mut first) if is_ours => _ = first.insert(Made { row: row_id, is_ours }),
            Entry::Occupied(_) => {}
            Entry::Vacant(none) => _ = none.insert(Made { row: row_id, is_ours }),
        }
    }
    Ok(made)
}

/// Joins the member of staff `s` of each mapping `m`, whoever that is.
pub(super) fn join_staff(select: &mut SelectStatement) {
    let staff = TableRef::Table("staff".into(), Some("s".into()));
    select.left_join(staff, Expr::col(("s", "id")).equals(("m", "staff_id")));
}

/// The company of mapping `m` with the member of staff `s`.
pub(super) fn company() -> Expr {
    Func::coalesce([Expr::col(("m", "company_id")), Expr::col(("s", "company_id"))]).into()
}

/// Whether the member of staff `s` of mapping `m` is active, not deleted, and in its company.
pub(super) fn has_valid_staff(schema: &GatewaySchema) -> Expr {
    let mut valid = Expr::col(("s", "company_id")).eq(company());
    if let Some(flag) = schema.staff_active {
        valid = valid.and(Expr::col(("s", flag)).eq(true));
    }
    if schema.staff_deleted_at {
        valid = valid.and(Expr::col(("s", "deleted_at")).is_null());
    }
    valid
}

fn select(schema: &GatewaySchema, keys: &BTreeSet<HostKey>) -> SelectStatement {
    let hosts: BTreeSet<i64> = keys.iter().map(|key| key.host.0).collect();
    let mut select = Query::select();
    select.expr_as(company(), Alias::new("company_id"));
    for column in ["id", "calcom_host_id", "staff_id", "mapping_source", "confidence_score", "is_active"] {
        select.column(("m", column));
    }
    let valid_staff = CaseStatement::new().case(has_valid_staff(schema), Expr::col(("s", "id")));
    select.expr_as(valid_staff, Alias::new("valid_staff")).from_as(names::MAPPINGS, "m");
    join_staff(&mut select);
    select.and_where(Expr::col(("m", "calcom_host_id")).is_in(padded(hosts)));
    select.order_by(("m", "id"), Order::Asc);
    select
}

fn select_active(schema: &GatewaySchema, keys: &BTreeSet<HostKey>) -> SelectStatement {
    let mut select = select(schema, keys);
    select.and_where(Expr::col(("m", "is_active")).eq(true));
    select
}

/// A row of [`select`]. None where nothing says the company. An adopted table may hold NULL where ours does not.
fn read(row: &QueryResult) -> Result<Option<Mapping>, StoreError> {
    let mut cells = Cells::of(row);
    let Some(company) = cells.next::<Option<CompanyId>>()? else { return Ok(None) };
    let (id, host) = (cells.next::<DbId>()?.0, cells.next::<DbId>()?.0);
    Ok(Some(Mapping {
        row: MappingRef::Row(id),
        made_for: company,
        company,
        host: HostId(host),
        staff: cells.next()?,
        source: Stored::read(&cells.next::<Option<String>>()?.unwrap_or_default()),
        confidence: Confidence(
            cells
                .next::<Option<DbId>>()?
                .map_or(100, |score| u8::try_from(score.0.clamp(0, 100)).unwrap_or(100)),
        ),
        is_active: cells.next::<Option<bool>>()?.unwrap_or(false),
        staff_is_valid: cells.next::<Option<StaffId>>()?.is_some(),
        switched_off_by_person: false,
    }))
}

/// The newest audit row of each host, whatever became of the mapping that it was about: 0 where
/// there is none.
pub(super) async fn last_audits_of(
    tx: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<HashMap<HostKey, i64>, StoreError> {
    let mut select = Query::select();
    select
        .columns(["company_id", "calcom_host_id"])
        .expr_as(Expr::col("id").max(), Alias::new("newest"))
        .from(names::AUDITS)
        .cond_where(any_host("calcom_host_id", keys.iter().copied()))
        .group_by_columns(["company_id", "calcom_host_id"]);
    let mut newest = HashMap::new();
    for row in tx.query_all(&select).await? {
        let host = HostId(row.try_get::<DbId>("", "calcom_host_id")?.0);
        newest
            .insert(HostKey::new(row.try_get("", "company_id")?, host), row.try_get::<DbId>("", "newest")?.0);
    }
    Ok(newest)
}

/// The newest audit row of each of these mappings: its id, and whether the machine switched the
/// mapping off with it.
async fn last_audits(
    tx: &impl ConnectionTrait,
    mappings: &[Mapping],
) -> Result<HashMap<i64, (i64, bool)>, StoreError> {
    let rows: Vec<i64> = mappings
        .iter()
        .filter_map(|m| if let MappingRef::Row(id) = m.row { Some(id) } else { None })
        .collect();
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let mut newest = Query::select();
    newest
        .expr(Expr::col("id").max())
        .from(names::AUDITS)
        .and_where(Expr::col("mapping_id").is_in(padded(rows)))
        .group_by_col("mapping_id");
    let mut select = Query::select();
    select
        .columns(["id", "mapping_id", "actor", "action"])
        .from(names::AUDITS)
        .and_where(Expr::col("id").in_subquery(newest));
    let mut audits = HashMap::new();
    for row in tx.query_all(&select).await? {
        let (mapping, audit) = (row.try_get::<DbId>("", "mapping_id")?.0, row.try_get::<DbId>("", "id")?.0);
        let [actor, action] = ["actor", "action"].map(|column| row.try_get::<Option<String>>("", column));
        let by_machine = actor?.is_some_and(|actor| Actor::from(actor.as_str()).is_machine());
        let switched_off = action?.is_some_and(|action| action == AuditAction::Updated.as_ref());
        audits.insert(mapping, (audit, by_machine && switched_off));
    }
    Ok(audits)
}
