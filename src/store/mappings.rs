//! Reads rows of `calcom_host_mappings`, with the data that decisions need.
//!
//! A gateway that writes to an adopted table leaves the company out. Such a row belongs to the company of its
//! member of staff, and no unique index prevents a second one for the same host. So rows are read in the
//! order of their ids, and there may be several for a host.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::QueryResult;
use sea_orm::sea_query::{Func, JoinType};

use super::entity::mapping::Column;
use super::entity::{mapping, mapping_audit, staff};
use super::prelude::*;
use super::row_reader::{select_as, selected};
use super::staff::{S, has_active_flag, is_not_deleted};
use super::statement::{any_host, pad_in_list};
use super::{DbId, GatewaySchema};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{
    Actor, AuditAction, Confidence, HostKey, Mapping, MappingChange, MappingRef, MappingSource, MappingWrite,
    Stored,
};

/// Reads the active mappings of these hosts, each in its own company, without audits: hosts with a valid
/// mapping do not need more.
pub(super) async fn active(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<Vec<Mapping>> {
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

/// Reads all mappings of these hosts, inactive ones too, and whether a person deactivated them. A mapping
/// that was made for another company is listed under each company whose host is requested: its member of
/// staff may have moved there, and host and staff together are unique.
pub(super) async fn all(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<Vec<Mapping>> {
    let rows = tx.query_all(&select(schema, keys)).await?;
    let found: Vec<Mapping> =
        rows.iter().filter_map(|row| read(row).transpose()).collect::<Result<_, _>>()?;
    let rows = found.iter().filter_map(|it| if let MappingRef::Row(id) = it.row { Some(id) } else { None });
    let audits = last_audits(tx, rows.collect()).await?;
    let mut mappings = Vec::new();
    for mut mapping in found {
        if let MappingRef::Row(id) = mapping.row {
            let last = audits.get(&id);
            // The program deactivated the mapping only if its last audit records that. An inactive mapping
            // with another last audit, or with none, was deactivated without an audit: that counts as a
            // person's decision.
            let by_program = last.is_some_and(|(_, by_program)| *by_program);
            mapping.switched_off_by_person = !mapping.is_active && !by_program;
        }
        for key in keys.iter().filter(|key| key.host == mapping.host) {
            let is_own_company = mapping.made_for == key.company;
            mappings.push(Mapping {
                company: key.company,
                is_active: mapping.is_active && is_own_company,
                switched_off_by_person: mapping.switched_off_by_person && is_own_company,
                ..mapping.clone()
            });
        }
    }
    Ok(mappings)
}

/// The row of a host's mapping after an insert.
#[derive(Clone, Copy, Debug)]
pub(super) struct InsertedMapping {
    /// `calcom_host_mappings.id`
    pub(super) row: i64,
    /// Whether our own change inserted it. If not, another session inserted one in the meantime, and audits
    /// it.
    pub(super) is_ours: bool,
}

/// Reads the mappings that these changes tried to insert, by host.
pub(super) async fn read_inserted(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    changes: &[MappingChange],
) -> Result<BTreeMap<HostKey, InsertedMapping>> {
    let inserts = changes.iter().filter(|change| matches!(change.write, MappingWrite::Insert { .. }));
    let change_keys: BTreeMap<HostKey, String> =
        inserts.map(|change| (change.audit.key, change.audit.change_key.to_string())).collect();
    let mut inserted = BTreeMap::new();
    if change_keys.is_empty() {
        return Ok(inserted);
    }
    let mut select = select_active(schema, &change_keys.keys().copied().collect());
    let text = if schema.backend == DbBackend::MySql { "CHAR" } else { "TEXT" };
    select.expr(select_as(Expr::col((M, Column::Metadata)).cast_as(text), Column::Metadata));
    for row in tx.query_all(&select).await? {
        let Some(mapping) = read(&row)? else { continue };
        let key = mapping.key();
        let (Some(change_key), MappingRef::Row(row_id)) = (change_keys.get(&key), mapping.row) else {
            continue;
        };
        let metadata = row.try_get::<Option<String>>("", Column::Metadata.as_str())?;
        let is_ours = metadata.is_some_and(|metadata| metadata.contains(change_key));
        match inserted.entry(key) {
            Entry::Occupied(mut first) if is_ours => {
                _ = first.insert(InsertedMapping { row: row_id, is_ours })
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(none) => _ = none.insert(InsertedMapping { row: row_id, is_ours }),
        }
    }
    Ok(inserted)
}

/// The alias of a mapping.
pub(super) const M: &str = "m";

/// Joins the member of staff [`S`] of each mapping [`M`], in any company.
pub(super) fn join_staff(select: &mut SelectStatement) {
    let is_theirs = Expr::col((S, staff::Column::Id)).equals((M, Column::StaffId));
    select.join_as(JoinType::LeftJoin, staff::Entity, S, is_theirs);
}

/// Returns the company of mapping [`M`] with the member of staff [`S`].
pub(super) fn company() -> Expr {
    Func::coalesce([Expr::col((M, Column::CompanyId)), Expr::col((S, staff::Column::CompanyId))]).into()
}

/// Returns whether the member of staff [`S`] of mapping [`M`] is active, not deleted, and in its company.
pub(super) fn has_valid_staff(schema: &GatewaySchema) -> Expr {
    let is_in_company = Expr::col((S, staff::Column::CompanyId)).eq(company());
    is_in_company.and(has_active_flag(schema)).and(is_not_deleted(schema))
}

selected! {
    /// A mapping as needed for a decision. An adopted table may hold NULL where ours cannot.
    struct Row of (schema) {
        company: Option<CompanyId> = select_as(company(), Column::CompanyId),
        id: DbId = Expr::col((M, Column::Id)),
        host: HostId = Expr::col((M, Column::CalcomHostId)),
        staff: StaffId = Expr::col((M, Column::StaffId)),
        source: Option<Stored<MappingSource>> = Expr::col((M, Column::MappingSource)),
        confidence: Option<Confidence> = Expr::col((M, Column::ConfidenceScore)),
        is_active: Option<bool> = Expr::col((M, Column::IsActive)),
        valid_staff: Option<StaffId> =
            CaseStatement::new().case(has_valid_staff(schema), Expr::col((S, staff::Column::Id))),
    }
}

fn select(schema: &GatewaySchema, keys: &BTreeSet<HostKey>) -> SelectStatement {
    let hosts: BTreeSet<HostId> = keys.iter().map(|key| key.host).collect();
    let mut select = Query::select();
    Row::select(&mut select, schema);
    select.from_as(mapping::Entity, M);
    join_staff(&mut select);
    select.and_where(Expr::col((M, Column::CalcomHostId)).is_in(pad_in_list(hosts)));
    select.order_by((M, Column::Id), Order::Asc);
    select
}

fn select_active(schema: &GatewaySchema, keys: &BTreeSet<HostKey>) -> SelectStatement {
    let mut select = select(schema, keys);
    select.and_where(Expr::col((M, Column::IsActive)).eq(true));
    select
}

/// Reads a row of [`select`]; `None` if it has no company.
fn read(row: &QueryResult) -> Result<Option<Mapping>> {
    let row = Row::read(row)?;
    let Some(company) = row.company else { return Ok(None) };
    Ok(Some(Mapping {
        row: MappingRef::Row(row.id.0),
        made_for: company,
        company,
        host: row.host,
        staff: row.staff,
        source: row.source.unwrap_or_else(|| Stored::read("")),
        confidence: row.confidence.unwrap_or(Confidence(100)),
        is_active: row.is_active.unwrap_or(false),
        staff_is_valid: row.valid_staff.is_some(),
        switched_off_by_person: false,
    }))
}

/// Returns the newest audit row of each host, even if its mapping no longer exists. Hosts without audits are
/// left out.
pub(super) async fn last_audits_of(
    tx: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<HashMap<HostKey, i64>> {
    use mapping_audit::Column;
    let (company, host) = (Column::CompanyId, Column::CalcomHostId);
    let newest: Vec<(CompanyId, HostId, DbId)> = mapping_audit::Entity::find()
        .select_only()
        .columns([company, host])
        .column_as(Column::Id.max(), "newest")
        .filter(any_host(company, host, keys.iter().copied()))
        .group_by(company)
        .group_by(host)
        .into_tuple()
        .all(tx)
        .await?;
    Ok(newest.into_iter().map(|(company, host, id)| (HostKey::new(company, host), id.0)).collect())
}

/// Returns the newest audit row of each of these mappings: its id, and whether it records that the
/// program deactivated the mapping.
pub(super) async fn last_audits(
    tx: &impl ConnectionTrait,
    rows: Vec<i64>,
) -> Result<HashMap<i64, (i64, bool)>> {
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    use mapping_audit::Column;
    let mut newest = Query::select();
    newest
        .expr(Expr::col(Column::Id).max())
        .from(mapping_audit::Entity)
        .and_where(Expr::col(Column::MappingId).is_in(pad_in_list(rows)))
        .group_by_col(Column::MappingId);
    type Newest = (DbId, DbId, Option<Actor>, Option<Stored<AuditAction>>);
    let last: Vec<Newest> = mapping_audit::Entity::find()
        .select_only()
        .columns([Column::MappingId, Column::Id, Column::Actor, Column::Action])
        .filter(Column::Id.in_subquery(newest))
        .into_tuple()
        .all(tx)
        .await?;
    let audits = last.into_iter().map(|(mapping, id, actor, action)| {
        let by_program = actor.is_some_and(|actor| actor.is_own_process());
        let deactivated = action.is_some_and(|action| action.known() == Some(AuditAction::Updated));
        (mapping.0, (id.0, by_program && deactivated))
    });
    Ok(audits.collect())
}
