//! Reads what decisions depend on: a fixed number of set-based statements for many hosts at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::QueryResult;

use super::staff::{read_staff, select_staff};
use super::{HostFacts, MappingRow, MappingState};
use crate::event::{CompanyId, HostId};
use crate::matching::{Confidence, HostKey, MappingSource, Stored};
use crate::store::entity::mapping::{Column, Entity};
use crate::store::entity::{assignment, company};
use crate::store::mappings::M;
use crate::store::prelude::*;
use crate::store::row_reader::selected;
use crate::store::statement::{any_host, pad_in_list, set_nowait, values_of};
use crate::store::{DbId, GatewaySchema, HostLockMode, Scope, hosts, mappings, rows};

/// The number of hosts per statement.
const HOSTS_CHUNK: usize = 256;

/// Locks these hosts until the transaction ends, after waiting for sessions that have locked them: workers
/// that decide about one of them, and other people. After that the transaction does not wait for locks.
pub(crate) async fn lock_hosts_for_decision(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<()> {
    hosts::lock(tx, schema.backend, keys, HostLockMode::Exclusive).await?;
    set_nowait(tx, schema.backend).await
}

/// Reads everything that decisions about these hosts depend on.
pub async fn facts(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeMap<HostKey, HostFacts>> {
    let mut all = BTreeMap::new();
    let keys: Vec<HostKey> = keys.iter().copied().collect();
    for some in keys.chunks(HOSTS_CHUNK) {
        let some: BTreeSet<HostKey> = some.iter().copied().collect();
        let mut select = select_mappings(schema);
        let hosts: BTreeSet<HostId> = some.iter().map(|key| key.host).collect();
        select.and_where(Expr::col((M, Column::CalcomHostId)).is_in(pad_in_list(hosts)));
        select.order_by((M, Column::Id), Order::Asc);
        let mut mappings: Vec<MappingRow> =
            tx.query_all(&select).await?.iter().map(read_mapping).collect::<Result<_, _>>()?;
        add_last_audits(tx, &mut mappings).await?;
        let mut by_host: HashMap<HostId, Vec<MappingRow>> = HashMap::new();
        for mapping in mappings {
            by_host.entry(mapping.host).or_default().push(mapping);
        }
        let last_audits = mappings::last_audits_of(tx, &some).await?;
        let mut inbox = rows::inbox(tx, &some).await?;
        let booked = hosts_with_bookings(tx, &some).await?;
        for key in some {
            let mappings = by_host.get(&key.host).cloned().unwrap_or_default();
            let inbox = inbox.remove(&key);
            let is_mapped = mappings.iter().any(|mapping| mapping.company() == Some(key.company));
            let is_known = is_mapped || inbox.is_some() || booked.contains(&key);
            let last_audit = last_audits.get(&key).copied().unwrap_or(0);
            all.insert(key, HostFacts { key, mappings, last_audit, is_known, inbox });
        }
    }
    Ok(all)
}

/// Returns those of these hosts that have occurred in a booking.
async fn hosts_with_bookings(
    tx: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeSet<HostKey>> {
    use assignment::Column;
    let hosts: Vec<(CompanyId, HostId)> = assignment::Entity::find()
        .select_only()
        .columns([Column::CompanyId, Column::HostId])
        .distinct()
        .filter(any_host(Column::CompanyId, Column::HostId, keys.iter().copied()))
        .into_tuple()
        .all(tx)
        .await?;
    Ok(hosts.into_iter().map(|(company, host)| HostKey::new(company, host)).collect())
}

/// Returns those of these companies that exist.
pub(crate) async fn existing_companies(
    tx: &impl ConnectionTrait,
    ids: &BTreeSet<CompanyId>,
) -> Result<BTreeSet<CompanyId>> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    use company::Column;
    let ids = pad_in_list(ids.iter().copied());
    values_of(tx, company::Entity::find().filter(Column::Id.is_in(ids)), Column::Id).await
}

/// Returns the companies of this scope by id, at most `limit`, each with its name where there is one.
pub(crate) async fn companies(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    scope: &Scope,
    limit: u64,
) -> Result<Vec<(CompanyId, Option<String>)>> {
    use company::Column;
    let ids = company::Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(scope.condition(Column::Id))
        .order_by_asc(Column::Id)
        .limit(limit);
    if schema.columns.has(Column::Name) {
        // The user of the database may not be allowed to read the names.
        match ids.clone().column(Column::Name).into_tuple().all(db).await {
            Ok(companies) => return Ok(companies),
            Err(error) => tracing::debug!(%error, "cannot read the names of companies"),
        }
    }
    let ids: Vec<CompanyId> = ids.into_tuple().all(db).await?;
    Ok(ids.into_iter().map(|id| (id, None)).collect())
}

selected! {
    /// A mapping as it is shown. An adopted table may hold NULL where ours cannot.
    struct Row of () {
        id: DbId = Expr::col((M, Column::Id)),
        company: Option<CompanyId> = Expr::col((M, Column::CompanyId)),
        host: HostId = Expr::col((M, Column::CalcomHostId)),
        name: Option<String> = Expr::col((M, Column::CalcomName)),
        email: Option<String> = Expr::col((M, Column::CalcomEmail)),
        username: Option<String> = Expr::col((M, Column::CalcomUsername)),
        time_zone: Option<String> = Expr::col((M, Column::CalcomTimezone)),
        source: Option<Stored<MappingSource>> = Expr::col((M, Column::MappingSource)),
        confidence: Option<Confidence> = Expr::col((M, Column::ConfidenceScore)),
        is_active: Option<bool> = Expr::col((M, Column::IsActive)),
    }
}

/// Selects mappings [`M`] with their members of staff, for [`read_mapping`].
pub(super) fn select_mappings(schema: &GatewaySchema) -> SelectStatement {
    let mut select = Query::select();
    Row::select(&mut select);
    select_staff(&mut select, schema);
    select.from_as(Entity, M);
    mappings::join_staff(&mut select);
    select
}

pub(super) fn read_mapping(result: &QueryResult) -> Result<MappingRow> {
    let row = Row::read(result)?;
    Ok(MappingRow {
        id: row.id.0,
        host: row.host,
        staff: read_staff(result)?,
        name: row.name.unwrap_or_default(),
        email: row.email.unwrap_or_default(),
        username: row.username,
        time_zone: row.time_zone,
        state: MappingState {
            company: row.company,
            is_active: row.is_active.unwrap_or(false),
            source: row.source.unwrap_or_else(|| Stored::read("")),
            confidence: row.confidence.unwrap_or(Confidence(100)),
        },
        last_audit: 0,
        last_used_ms: None,
    })
}

pub(super) async fn add_last_audits(tx: &impl ConnectionTrait, rows: &mut [MappingRow]) -> Result<()> {
    let newest = mappings::last_audits(tx, rows.iter().map(|row| row.id).collect()).await?;
    for row in rows {
        row.last_audit = newest.get(&row.id).map_or(0, |(id, _)| *id);
    }
    Ok(())
}
