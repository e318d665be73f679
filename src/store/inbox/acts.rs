//! Ignoring a host, and opening it again; with the record of it.

use migration::names;
use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use sea_orm::{ConnectionTrait, QueryResult};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::TABLE;
use crate::event::HostId;
use crate::matching::{HostKey, InboxState, Stored, words};
use crate::store::statement::any_host;
use crate::store::{DbId, StoreError};

/// What somebody does with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHostAct {
    /// Company and host.
    pub key: HostKey,
    /// Who, such as `cli:anna@office-3`.
    pub made_by: String,
    /// When, ms since 1970.
    pub at_ms: i64,
    /// Why, in words of theirs.
    pub why: Option<String>,
    /// Until when it is ignored, ms since 1970.
    pub until_ms: Option<i64>,
}

words!(HostAction);

/// What can be done with a host beside mapping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum HostAction {
    /// Nobody is asked about it.
    Ignore,
    /// It is asked about again.
    Reopen,
}

/// What somebody did with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostAct {
    /// The row's id, growing.
    pub id: i64,
    /// What.
    pub action: Stored<HostAction>,
    /// What was done.
    pub act: NewHostAct,
}

/// Ignores a host, until a moment or until it is reopened. The host is to be locked.
///
/// # Errors
/// [`StoreError`]
pub async fn ignore_host(tx: &impl ConnectionTrait, act: &NewHostAct) -> Result<(), StoreError> {
    set(tx, act, InboxState::Ignored, HostAction::Ignore).await
}

/// Opens a host again. The host is to be locked.
///
/// # Errors
/// [`StoreError`]
pub async fn reopen_host(tx: &impl ConnectionTrait, act: &NewHostAct) -> Result<(), StoreError> {
    set(tx, act, InboxState::Open, HostAction::Reopen).await
}

async fn set(
    tx: &impl ConnectionTrait,
    act: &NewHostAct,
    state: InboxState,
    action: HostAction,
) -> Result<(), StoreError> {
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("state", state.as_str())
        .value("state_changed_ms", act.at_ms)
        .value("ignored_until_ms", act.until_ms)
        .cond_where(any_host("company_id", "host_id", [act.key]));
    tx.execute(&update).await?;
    let mut insert = Query::insert();
    insert
        .into_table(ACTS)
        .columns(["company_id", "host_id", "action", "made_by", "at_ms", "why", "until_ms"])
        .values_panic([
            act.key.company.0.into(),
            act.key.host.0.into(),
            action.as_str().into(),
            act.made_by.as_str().into(),
            act.at_ms.into(),
            act.why.clone().into(),
            act.until_ms.into(),
        ]);
    tx.execute(&insert).await?;
    Ok(())
}

/// What was done with this host, oldest first.
///
/// # Errors
/// [`StoreError`]
pub async fn host_acts(db: &impl ConnectionTrait, key: HostKey) -> Result<Vec<HostAct>, StoreError> {
    let mut select = Query::select();
    select
        .columns(COLUMNS)
        .from(ACTS)
        .cond_where(any_host("company_id", "host_id", [key]))
        .order_by("id", Order::Asc);
    db.query_all(&select).await?.iter().map(read).collect()
}

/// What was done with each of these hosts last.
///
/// # Errors
/// [`StoreError`]
pub async fn last_host_acts(
    db: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeMap<HostKey, HostAct>, StoreError> {
    let mut last = BTreeMap::new();
    let keys: Vec<HostKey> = keys.iter().copied().collect();
    for some in keys.chunks(256) {
        let mut newest = Query::select();
        newest
            .expr(Expr::col("id").max())
            .from(ACTS)
            .cond_where(any_host("company_id", "host_id", some.iter().copied()))
            .group_by_columns(["company_id", "host_id"]);
        let mut select = Query::select();
        select.columns(COLUMNS).from(ACTS).and_where(Expr::col("id").in_subquery(newest));
        for row in db.query_all(&select).await? {
            let act = read(&row)?;
            last.insert(act.act.key, act);
        }
    }
    Ok(last)
}

fn read(row: &QueryResult) -> Result<HostAct, StoreError> {
    let host = HostId(row.try_get::<DbId>("", "host_id")?.0);
    Ok(HostAct {
        id: row.try_get::<DbId>("", "id")?.0,
        action: Stored::read(&row.try_get::<String>("", "action")?),
        act: NewHostAct {
            key: HostKey::new(row.try_get("", "company_id")?, host),
            made_by: row.try_get("", "made_by")?,
            at_ms: row.try_get::<DbId>("", "at_ms")?.0,
            why: row.try_get("", "why")?,
            until_ms: row.try_get::<Option<DbId>>("", "until_ms")?.map(|ms| ms.0),
        },
    })
}

const ACTS: &str = names::INBOX_ACTIONS;
const COLUMNS: [&str; 8] = ["id", "company_id", "host_id", "action", "made_by", "at_ms", "why", "until_ms"];
