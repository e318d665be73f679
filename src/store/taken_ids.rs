//! What somebody else has written meanwhile keeps a row out, and that is right. An id that is taken does it as
//! well: PostgreSQL's sequence lags behind rows that were imported with theirs, and `ON CONFLICT DO NOTHING`
//! passes over that. So when rows were left out, what was to keep them out has to be there.
//!
//! (It names no index: two of them may keep a mapping out. MariaDB, MySQL and SQLite give out no id that is
//! taken.)

use std::collections::HashSet;

use migration::names;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::statement::padded;
use super::{DbId, StoreError};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Audit, HostKey, MappingChange};

/// Of these insertions `made` came about; the others are there already.
///
/// # Errors
/// [`StoreError::Rejected`], naming the sequence, when one is not.
pub(super) async fn are_mappings_there(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    changes: &[&MappingChange],
    made: u64,
) -> Result<(), StoreError> {
    if backend != DbBackend::Postgres || made == changes.len() as u64 {
        return Ok(());
    }
    let wanted = changes.iter().filter_map(|change| match change {
        MappingChange::Insert { key, staff, .. } => Some((key, staff)),
        _ => None,
    });
    let wanted: Vec<_> = wanted.collect();
    let mut select = Query::select();
    select
        .columns(["company_id", "calcom_host_id", "staff_id", "is_active"])
        .from(names::MAPPINGS)
        .and_where(Expr::col("calcom_host_id").is_in(padded(wanted.iter().map(|(key, _)| key.host.0))));
    let mut by_staff = HashSet::new();
    let mut by_company = HashSet::new();
    for row in tx.query_all(&select).await? {
        let host = HostId(row.try_get::<DbId>("", "calcom_host_id")?.0);
        by_staff.insert((host, row.try_get::<StaffId>("", "staff_id")?));
        if row.try_get::<bool>("", "is_active")? {
            by_company.insert((row.try_get::<Option<CompanyId>>("", "company_id")?, host));
        }
    }
    let is_there = |(key, staff): &(&HostKey, &StaffId)| {
        by_company.contains(&(Some(key.company), key.host))
            || by_staff.contains(&(key.host, (*staff).clone()))
    };
    if wanted.iter().all(is_there) { Ok(()) } else { Err(taken(tx, names::MAPPINGS).await?) }
}

/// The same of audits, each of which has a key of its own.
///
/// # Errors
/// As [`are_mappings_there`].
pub(super) async fn are_audits_there(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    audits: &[&Audit],
    made: u64,
) -> Result<(), StoreError> {
    if backend != DbBackend::Postgres || made == audits.len() as u64 {
        return Ok(());
    }
    let keys: HashSet<String> = audits.iter().map(|audit| audit.change_key.to_string()).collect();
    let mut select = Query::select();
    select
        .column("change_key")
        .from(names::AUDITS)
        .and_where(Expr::col("change_key").is_in(padded(keys.iter().cloned())));
    let there = tx.query_all(&select).await?.len();
    if there == keys.len() { Ok(()) } else { Err(taken(tx, names::AUDITS).await?) }
}

async fn taken(tx: &impl ConnectionTrait, table: &str) -> Result<StoreError, StoreError> {
    let sql = format!("SELECT pg_get_serial_sequence('{table}', 'id') AS name");
    let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await?;
    let name = row.map_or(Ok(None), |row| row.try_get::<Option<String>>("", "name"))?;
    Ok(StoreError::Rejected(format!(
        "INSERT INTO {table}: the sequence {} gave out an id that is taken; `hostmatch migrate up` sets it",
        name.unwrap_or_else(|| format!("of {table}.id"))
    )))
}
