//! Ignores hosts and reopens them, and records these actions.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use crate::event::{CompanyId, HostId};
use crate::matching::{Actor, HostKey, InboxState, Stored, string_values};
use crate::runtime::clock::{as_rfc3339, now_ms};
use crate::store::entity::inbox;
use crate::store::entity::inbox_action::{ActiveModel, Column, Entity};
use crate::store::prelude::*;
use crate::store::statement::any_host;

string_values!(HostAction);

/// What a person can do with a host, except mapping it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum HostAction {
    /// Remove it from the list of hosts that need a person.
    Ignore,
    /// Add it to that list again.
    Reopen,
}

/// A recorded action on a host, as stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct RecordedHostAction {
    #[sea_orm(from_col = "company_id")]
    #[serde(skip)]
    company: CompanyId,
    #[sea_orm(from_col = "host_id")]
    #[serde(skip)]
    host: HostId,
    /// The time of the action, in ms since 1970.
    #[sea_orm(from_col = "at_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) at: i64,
    pub(crate) action: Stored<HostAction>,
    /// The author, such as `cli:anna@office-3`.
    #[sea_orm(from_col = "made_by")]
    pub(crate) by: Actor,
    pub(crate) why: Option<String>,
    /// Until when it is ignored, in ms since 1970.
    #[sea_orm(from_col = "until_ms")]
    #[serde(serialize_with = "as_rfc3339")]
    pub(crate) until: Option<i64>,
}

/// Ignores a host (until `until_ms`, or until it is reopened), or reopens it. The caller must have locked
/// the host.
pub(crate) async fn perform_host_action(
    tx: &impl ConnectionTrait,
    key: HostKey,
    (action, until_ms): (HostAction, Option<i64>),
    (made_by, why): (&Actor, Option<String>),
) -> Result<()> {
    let state = match action {
        HostAction::Ignore => InboxState::Ignored,
        HostAction::Reopen => InboxState::Open,
    };
    let now_ms = now_ms();
    let changed = inbox::ActiveModel {
        state: Set(state.as_str().to_owned()),
        state_changed_ms: Set(now_ms),
        ignored_until_ms: Set(until_ms),
        ..Default::default()
    };
    let host = any_host(inbox::Column::CompanyId, inbox::Column::HostId, [key]);
    inbox::Entity::update_many().set(changed).filter(host).exec(tx).await?;
    let row = ActiveModel {
        company_id: Set(key.company),
        host_id: Set(key.host),
        action: Set(action.into()),
        made_by: Set(made_by.clone()),
        at_ms: Set(now_ms),
        why: Set(why),
        until_ms: Set(until_ms),
        ..Default::default()
    };
    Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Returns the actions on this host, oldest first.
pub async fn host_actions(db: &impl ConnectionTrait, key: HostKey) -> Result<Vec<RecordedHostAction>> {
    let host = any_host(Column::CompanyId, Column::HostId, [key]);
    Ok(Entity::find().filter(host).order_by_asc(Column::Id).into_partial_model().all(db).await?)
}

/// Returns the last action on each of these hosts.
pub(crate) async fn last_host_actions(
    db: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
) -> Result<BTreeMap<HostKey, RecordedHostAction>> {
    let mut last = BTreeMap::new();
    let keys: Vec<HostKey> = keys.iter().copied().collect();
    for some in keys.chunks(256) {
        let mut newest = Query::select();
        newest
            .expr(Column::Id.max())
            .from(Entity)
            .cond_where(any_host(Column::CompanyId, Column::HostId, some.iter().copied()))
            .group_by_columns([Column::CompanyId, Column::HostId]);
        let actions =
            Entity::find().filter(Column::Id.in_subquery(newest)).into_partial_model::<RecordedHostAction>();
        let actions = actions.all(db).await?.into_iter();
        last.extend(actions.map(|action| (HostKey::new(action.company, action.host), action)));
    }
    Ok(last)
}
