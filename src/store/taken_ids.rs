//! Detects rows that were not inserted because a sequence returned an id already in use.
//!
//! `ON CONFLICT DO NOTHING` rightly skips a row that another session has already written. But it also skips a
//! row whose id is in use, because PostgreSQL's sequence lags behind rows that were imported with their ids.
//! So if rows were skipped, these functions check that the rows that they conflict with exist.
//!
//! (The clause names no index, since either of two can conflict with a mapping. MariaDB, MySQL and SQLite
//! never return an id in use.)

use std::collections::HashSet;

use sea_orm::ColumnTrait;

use super::StoreError;
use super::decisions::key_value;
use super::entity::{mapping, mapping_audit};
use super::prelude::*;
use super::statement::{first_value, pad_in_list};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{Audit, HostKey, MappingChange};

/// Checks that each row whose insertion was skipped exists. `inserted` is the number of rows that were
/// inserted.
///
/// # Errors
/// Returns [`StoreError::Rejected`] with the sequence's name if one of them does not exist.
pub(super) async fn check_mappings_exist(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    changes: &[&MappingChange],
    inserted: u64,
) -> Result<()> {
    if backend != DbBackend::Postgres || inserted == changes.len() as u64 {
        return Ok(());
    }
    let wanted: Vec<_> = changes.iter().map(|change| (&change.audit.key, &change.audit.staff)).collect();
    use mapping::Column;
    let rows: Vec<(Option<CompanyId>, HostId, StaffId, bool)> = mapping::Entity::find()
        .select_only()
        .columns([Column::CompanyId, Column::CalcomHostId, Column::StaffId, Column::IsActive])
        .filter(Column::CalcomHostId.is_in(pad_in_list(wanted.iter().map(|(key, _)| key.host))))
        .into_tuple()
        .all(tx)
        .await?;
    let mut by_staff = HashSet::new();
    let mut by_company = HashSet::new();
    for (company, host, staff, is_active) in rows {
        by_staff.insert((host, staff));
        if is_active {
            by_company.insert((company, host));
        }
    }
    let exists = |(key, staff): &(&HostKey, &StaffId)| {
        by_company.contains(&(Some(key.company), key.host))
            || by_staff.contains(&(key.host, (*staff).clone()))
    };
    if wanted.iter().all(exists) { Ok(()) } else { Err(id_in_use(tx, Column::Id).await?) }
}

/// Does the same for audits, each of which has its own key.
pub(super) async fn check_audits_exist(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    audits: &[&Audit],
    inserted: u64,
) -> Result<()> {
    if backend != DbBackend::Postgres || inserted == audits.len() as u64 {
        return Ok(());
    }
    use mapping_audit::Column;
    let keys: HashSet<String> = audits.iter().map(|audit| audit.change_key.to_string()).collect();
    let all = pad_in_list(keys.iter().map(|key| key_value(backend, key)));
    let existing = mapping_audit::Entity::find()
        .select_only()
        .expr(Column::ChangeKey.count())
        .filter(Expr::col(Column::ChangeKey).is_in(all));
    let existing: Option<i64> = existing.into_tuple().one(tx).await?;
    if existing == i64::try_from(keys.len()).ok() { Ok(()) } else { Err(id_in_use(tx, Column::Id).await?) }
}

async fn id_in_use<C: ColumnTrait>(tx: &impl ConnectionTrait, id: C) -> Result<StoreError> {
    let (entity, id) = (C::EntityName::default(), id.as_str());
    let table = entity.table_name();
    let sql = format!("SELECT pg_get_serial_sequence('{table}', '{id}')");
    let name: Option<String> = first_value::<Option<String>>(tx, sql).await?.flatten();
    let name = name.unwrap_or_else(|| format!("of {table}.{id}"));
    Ok(StoreError::Rejected(format!(
        "INSERT INTO {table}: the sequence {name} returned an id that is already in use; `hostmatch migrate up` \
         sets the sequence"
    )))
}
