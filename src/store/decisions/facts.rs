//! Reading what decisions depend on: a fixed number of set-based statements for many hosts at once.

use migration::names;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query, SelectStatement};
use sea_orm::{ConnectionTrait, QueryResult};

use super::staff::{read_staff, select_staff};
use super::{HostFacts, MappingRow, MappingState};
use crate::event::{CompanyId, HostId};
use crate::matching::{Confidence, HostKey, Stored};
use crate::store::statement::{any_host, pad_in_list, set_nowait};
use crate::store::{DbId, GatewaySchema, Hosts, StoreError, hosts, mappings, rows};

/// Hosts that are asked about in one statement.
const TOGETHER: usize = 256;

/// Locks these hosts for the rest of the transaction, waiting for whoever has them: workers that
/// decide on one of them, and other people. From then on it waits for nobody.
///
/// # Errors
/// [`StoreError`]
pub async fn begin_deciding(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<(), StoreError> {
    hosts::lock(tx, schema.backend, keys, Hosts::Alone).await?;
    set_nowait(tx, schema.backend).await
}

/// Everything that decisions about these hosts depend on.
///
/// # Errors
/// [`StoreError`]
pub async fn facts(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeMap<HostKey, HostFacts>, StoreError> {
    let mut all = BTreeMap::new();
    let asked: Vec<HostKey> = keys.iter().copied().collect();
    for some in asked.chunks(TOGETHER) {
        let some: BTreeSet<HostKey> = some.iter().copied().collect();
        let mut select = select_mappings(schema);
        let hosts: BTreeSet<i64> = some.iter().map(|key| key.host.0).collect();
        select.and_where(Expr::col(("m", "calcom_host_id")).is_in(pad_in_list(hosts)));
        select.order_by(("m", "id"), Order::Asc);
        let mut mappings: Vec<MappingRow> =
            tx.query_all(&select).await?.iter().map(read_mapping).collect::<Result<_, _>>()?;
        add_last_audits(tx, &mut mappings).await?;
        let mut by_host: HashMap<HostId, Vec<MappingRow>> = HashMap::new();
        for mapping in mappings {
            by_host.entry(mapping.host).or_default().push(mapping);
        }
        let last_audits = mappings::last_audits_of(tx, &some).await?;
        let mut inbox = rows::inbox(tx, &some).await?;
        let booked = booked(tx, &some).await?;
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

/// The hosts of these that a booking has named.
async fn booked(
    tx: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeSet<HostKey>, StoreError> {
    let mut select = Query::select();
    select.distinct().columns(["company_id", "host_id"]).from(names::ASSIGNMENTS).cond_where(any_host(
        "company_id",
        "host_id",
        keys.iter().copied(),
    ));
    let rows = tx.query_all(&select).await?;
    rows.iter()
        .map(|row| {
            let host = HostId(row.try_get::<DbId>("", "host_id")?.0);
            Ok(HostKey::new(row.try_get("", "company_id")?, host))
        })
        .collect()
}

/// Where a mapping belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingKey {
    /// Company and host.
    pub key: HostKey,
    /// The row.
    pub row: MappingRow,
}

/// The mapping with this id; with a `company`, only if it is that one's.
///
/// # Errors
/// [`StoreError`]
pub async fn find_mapping(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    id: i64,
    company: Option<CompanyId>,
) -> Result<Option<MappingKey>, StoreError> {
    let mut select = select_mappings(schema);
    select.and_where(Expr::col(("m", "id")).eq(id));
    let Some(row) = db.query_one(&select).await? else { return Ok(None) };
    let mut rows = vec![read_mapping(&row)?];
    add_last_audits(db, &mut rows).await?;
    let Some(row) = rows.pop() else { return Ok(None) };
    let Some(owner) = row.company().filter(|owner| company.is_none_or(|company| company == *owner)) else {
        return Ok(None);
    };
    Ok(Some(MappingKey { key: HostKey::new(owner, row.host), row }))
}

/// Those of these companies that are there.
///
/// # Errors
/// [`StoreError`]
pub async fn companies(
    tx: &impl ConnectionTrait,
    ids: &BTreeSet<CompanyId>,
) -> Result<BTreeSet<CompanyId>, StoreError> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut select = Query::select();
    select
        .column("id")
        .from("companies")
        .and_where(Expr::col("id").is_in(pad_in_list(ids.iter().map(|id| id.0))));
    tx.query_all(&select).await?.iter().map(|row| Ok(row.try_get("", "id")?)).collect()
}

/// Mappings `m` with their members of staff `s`, as [`read_mapping`] reads them.
pub(in crate::store) fn select_mappings(schema: &GatewaySchema) -> SelectStatement {
    let mut select = Query::select();
    select.columns(COLUMNS.map(|column| ("m", column)));
    select_staff(&mut select, schema);
    select.from_as(names::MAPPINGS, "m");
    mappings::join_staff(&mut select);
    select
}

pub(in crate::store) fn read_mapping(row: &QueryResult) -> Result<MappingRow, StoreError> {
    let text = |column: &str| row.try_get::<Option<String>>("", column);
    let confidence = row.try_get::<Option<DbId>>("", "confidence_score")?.map_or(100, |score| score.0);
    Ok(MappingRow {
        id: row.try_get::<DbId>("", "id")?.0,
        host: HostId(row.try_get::<DbId>("", "calcom_host_id")?.0),
        staff: read_staff(row)?,
        name: text("calcom_name")?.unwrap_or_default(),
        email: text("calcom_email")?.unwrap_or_default(),
        username: text("calcom_username")?,
        time_zone: text("calcom_timezone")?,
        state: MappingState {
            company: row.try_get("", "company_id")?,
            is_active: row.try_get::<Option<bool>>("", "is_active")?.unwrap_or(false),
            source: Stored::read(&text("mapping_source")?.unwrap_or_default()),
            confidence: Confidence(u8::try_from(confidence.clamp(0, 100)).unwrap_or(100)),
        },
        last_audit: 0,
    })
}

pub(in crate::store) async fn add_last_audits(
    tx: &impl ConnectionTrait,
    rows: &mut [MappingRow],
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let mut select = Query::select();
    select
        .column("mapping_id")
        .expr_as(Expr::col("id").max(), "newest")
        .from(names::AUDITS)
        .and_where(Expr::col("mapping_id").is_in(pad_in_list(rows.iter().map(|row| row.id))))
        .group_by_col("mapping_id");
    let mut newest = HashMap::new();
    for row in tx.query_all(&select).await? {
        newest.insert(row.try_get::<DbId>("", "mapping_id")?.0, row.try_get::<DbId>("", "newest")?.0);
    }
    for row in rows {
        row.last_audit = newest.get(&row.id).copied().unwrap_or(0);
    }
    Ok(())
}

const COLUMNS: [&str; 10] = [
    "id",
    "company_id",
    "calcom_host_id",
    "calcom_name",
    "calcom_email",
    "calcom_username",
    "calcom_timezone",
    "mapping_source",
    "confidence_score",
    "is_active",
];
