//! Ignoring a host, and opening it again; with the record of it.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::Query;
use sea_orm::{ColumnTrait as _, ConnectionTrait, EntityTrait as _, QueryFilter as _, QueryOrder as _, Set};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use crate::matching::{HostKey, InboxState, Stored, words};
use crate::store::StoreError;
use crate::store::entity::inbox;
use crate::store::entity::inbox_action::{ActiveModel, Column, Entity, Model};
use crate::store::statement::any_host;

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

impl From<Model> for HostAct {
    fn from(row: Model) -> Self {
        Self {
            id: row.id,
            action: row.action,
            act: NewHostAct {
                key: HostKey::new(row.company_id, row.host_id),
                made_by: row.made_by,
                at_ms: row.at_ms,
                why: row.why,
                until_ms: row.until_ms,
            },
        }
    }
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
    let changed = inbox::ActiveModel {
        state: Set(state.as_str().to_owned()),
        state_changed_ms: Set(act.at_ms),
        ignored_until_ms: Set(act.until_ms),
        ..Default::default()
    };
    let host = any_host(inbox::Column::CompanyId, inbox::Column::HostId, [act.key]);
    inbox::Entity::update_many().set(changed).filter(host).exec(tx).await?;
    let row = ActiveModel {
        company_id: Set(act.key.company),
        host_id: Set(act.key.host),
        action: Set(action.into()),
        made_by: Set(act.made_by.clone()),
        at_ms: Set(act.at_ms),
        why: Set(act.why.clone()),
        until_ms: Set(act.until_ms),
        ..Default::default()
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// What was done with this host, oldest first.
///
/// # Errors
/// [`StoreError`]
pub async fn host_acts(db: &impl ConnectionTrait, key: HostKey) -> Result<Vec<HostAct>, StoreError> {
    let host = any_host(Column::CompanyId, Column::HostId, [key]);
    let rows = Entity::find().filter(host).order_by_asc(Column::Id).all(db).await?;
    Ok(rows.into_iter().map(HostAct::from).collect())
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
            .expr(Column::Id.max())
            .from(Entity)
            .cond_where(any_host(Column::CompanyId, Column::HostId, some.iter().copied()))
            .group_by_columns([Column::CompanyId, Column::HostId]);
        let rows = Entity::find().filter(Column::Id.in_subquery(newest)).all(db).await?;
        last.extend(rows.into_iter().map(HostAct::from).map(|act| (act.act.key, act)));
    }
    Ok(last)
}
