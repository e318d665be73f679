//! Locks hosts by locking rows of our own table.
//!
//! Events for hosts that are already in the inbox keep arriving, and usually add only one more waiting
//! appointment. A shared lock is enough for that: it excludes transactions that map the host, but not others
//! that add a waiting appointment. A transaction that has to change more starts again with
//! [`HostLockMode::Exclusive`]. Locks of either mode are taken in key order, so that there is no deadlock.

use std::collections::BTreeSet;

use sea_orm::sea_query::OnConflict;

use super::entity::{host_lock, inbox};
use super::prelude::*;
use super::statement::{any_host, chunk_rows, insert};
use crate::matching::{HostKey, InboxState};

/// The mode in which hosts without a valid mapping are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostLockMode {
    /// A shared lock, taken only if all hosts are in the inbox. It suffices as long as the transaction
    /// changes neither their mappings nor their inbox rows.
    Shared,
    /// An exclusive lock.
    Exclusive,
}

/// Locks these hosts until the transaction ends, in the requested mode or, if that does not suffice,
/// exclusively. Returns the mode of the lock.
pub(super) async fn lock(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    keys: &BTreeSet<HostKey>,
    requested: HostLockMode,
) -> Result<HostLockMode> {
    if backend == DbBackend::Sqlite {
        return Ok(HostLockMode::Exclusive); // One transaction writes at a time.
    }
    if requested == HostLockMode::Shared && are_in_inbox(tx, keys).await? {
        lock_shared(tx, backend, keys).await?;
        return Ok(HostLockMode::Shared);
    }
    let keys: Vec<&HostKey> = keys.iter().collect();
    for keys in chunk_rows(&keys) {
        use host_lock::Column;
        let row =
            |key: &&HostKey| [(Column::CompanyId, key.company.into()), (Column::HostId, key.host.into())];
        let mut insert = insert::<host_lock::Entity, 2>(keys.iter().map(row));
        // Setting a column to its own value locks the row; "do nothing" would not.
        let mut conflict = OnConflict::columns([Column::CompanyId, Column::HostId]);
        insert.on_conflict(conflict.update_column(Column::HostId).to_owned());
        tx.execute(&insert).await?;
    }
    Ok(HostLockMode::Exclusive)
}

/// Returns whether each host has a lock row, and an inbox row that is unresolved or that a person decided to
/// ignore.
async fn are_in_inbox(tx: &impl ConnectionTrait, keys: &BTreeSet<HostKey>) -> Result<bool> {
    use inbox::Column;
    let company = (inbox::Entity, Column::CompanyId);
    let host = (inbox::Entity, Column::HostId);
    let mut select = Query::select();
    select
        .columns([company, host])
        .from(inbox::Entity)
        .inner_join(
            host_lock::Entity,
            Expr::col((host_lock::Entity, host_lock::Column::CompanyId))
                .equals(company)
                .and(Expr::col((host_lock::Entity, host_lock::Column::HostId)).equals(host)),
        )
        .cond_where(any_host(company, host, keys.iter().copied()))
        .and_where(Expr::col((inbox::Entity, Column::State)).ne(InboxState::Resolved.as_str()));
    Ok(tx.query_all(&select).await?.len() == keys.len())
}

async fn lock_shared(tx: &impl ConnectionTrait, backend: DbBackend, keys: &BTreeSet<HostKey>) -> Result<()> {
    use host_lock::Column;
    let mut select = Query::select();
    select
        .column(Column::HostId)
        .from(host_lock::Entity)
        .cond_where(any_host(Column::CompanyId, Column::HostId, keys.iter().copied()))
        .order_by(Column::CompanyId, Order::Asc)
        .order_by(Column::HostId, Order::Asc);
    let mut statement = backend.build(&select);
    // MariaDB has no FOR SHARE.
    statement.sql.push_str(if backend == DbBackend::MySql { " LOCK IN SHARE MODE" } else { " FOR SHARE" });
    tx.query_all_raw(statement).await?;
    Ok(())
}
