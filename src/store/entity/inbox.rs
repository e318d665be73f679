//! `hostmatch_inbox`: one row for each host that needs a person.

use sea_orm::entity::prelude::*;

use super::NoRelation as Relation;
use crate::event::{CompanyId, EventId, HostId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel, DeriveActiveModelBehavior)]
#[sea_orm(table_name = "hostmatch_inbox")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub company_id: CompanyId,
    #[sea_orm(primary_key)]
    pub host_id: HostId,
    pub name: Option<String>,
    pub email: Option<String>,
    pub username: Option<String>,
    pub time_zone: Option<String>,
    /// The event that the above was taken from.
    pub event_id: Option<EventId>,
    pub event_time_ms: Option<i64>,
    /// That time is only when the event was published.
    pub event_stamped: bool,
    pub first_seen_ms: i64,
    pub last_seen_ms: i64,
    /// Why a person is needed.
    pub kind: String,
    /// Who it might be, as JSON.
    pub suggestions: String,
    /// Whether somebody still has to look at it.
    pub state: String,
    pub state_changed_ms: i64,
    pub ignored_until_ms: Option<i64>,
}
