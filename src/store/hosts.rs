//! Locks of hosts, on rows of our own that stand for them.
//!
//! Hosts that are in the inbox already come again and again, and usually nothing follows but one more
//! appointment that waits. For that a shared lock is enough: it keeps out who maps the host, and not who
//! waits like us. Whoever finds that more follows begins anew with the lock alone ([`Hosts::Alone`]).
//! Either is waited for in the order of keys, so that there is no circle.

use migration::names;
use std::collections::BTreeSet;

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Order, Query, TableRef};
use sea_orm::{ConnectionTrait, DbBackend};

use super::StoreError;
use super::statement::{any_host, any_host_of, pieces};
use crate::matching::{HostKey, InboxState};

/// How hosts without a valid mapping are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Together with others, if all of them are in the inbox: enough as long as neither their mappings nor
    /// their rows in the inbox change.
    Shared,
    /// Alone.
    Alone,
}

/// Locks these hosts until the transaction ends, as it is wanted or alone: gives which.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn lock(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    keys: &BTreeSet<HostKey>,
    wanted: Hosts,
) -> Result<Hosts, StoreError> {
    if backend == DbBackend::Sqlite {
        return Ok(Hosts::Alone); // One transaction writes at a time.
    }
    if wanted == Hosts::Shared && are_in_inbox(tx, keys).await? {
        share(tx, backend, keys).await?;
        return Ok(Hosts::Shared);
    }
    let keys: Vec<&HostKey> = keys.iter().collect();
    for keys in pieces(&keys) {
        let mut insert = Query::insert();
        insert.into_table(names::HOST_LOCKS).columns(["company_id", "host_id"]);
        for key in keys {
            insert.values_panic([key.company.0.into(), key.host.0.into()]);
        }
        // An update of a row to itself locks it; "do nothing" would not.
        insert
            .on_conflict(OnConflict::columns(["company_id", "host_id"]).update_column("host_id").to_owned());
        tx.execute(&insert).await?;
    }
    Ok(Hosts::Alone)
}

/// Whether each host has a row in the inbox that somebody still has to do something about, or decided not
/// to; and a lock row.
async fn are_in_inbox(tx: &impl ConnectionTrait, keys: &BTreeSet<HostKey>) -> Result<bool, StoreError> {
    let (u, l) = ("u", "l");
    let mut select = Query::select();
    select
        .columns([(u, "company_id"), (u, "host_id")])
        .from_as(names::INBOX, u)
        .inner_join(
            TableRef::Table(names::HOST_LOCKS.into(), Some(l.into())),
            Expr::col((l, "company_id"))
                .equals((u, "company_id"))
                .and(Expr::col((l, "host_id")).equals((u, "host_id"))),
        )
        .cond_where(any_host_of(u, "host_id", keys.iter().copied()))
        .and_where(Expr::col((u, "state")).ne(InboxState::Resolved.as_str()));
    Ok(tx.query_all(&select).await?.len() == keys.len())
}

async fn share(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    keys: &BTreeSet<HostKey>,
) -> Result<(), StoreError> {
    let mut select = Query::select();
    select
        .column("host_id")
        .from(names::HOST_LOCKS)
        .cond_where(any_host("host_id", keys.iter().copied()))
        .order_by("company_id", Order::Asc)
        .order_by("host_id", Order::Asc);
    let mut statement = backend.build(&select);
    // MariaDB knows no FOR SHARE.
    statement.sql.push_str(if backend == DbBackend::MySql { " LOCK IN SHARE MODE" } else { " FOR SHARE" });
    tx.query_all_raw(statement).await?;
    Ok(())
}
