//! `hostmatch_inbox`: one row per host that needs a person.

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
    /// The event that the columns above come from.
    pub event_id: Option<EventId>,
    pub event_time_ms: Option<i64>,
    /// Whether `event_time_ms` is only the time of publishing.
    pub event_stamped: bool,
    pub first_seen_ms: i64,
    pub last_seen_ms: i64,
    /// Why a person is needed.
    pub kind: String,
    /// The suggested members of staff, as JSON.
    pub suggestions: String,
    /// Whether it still needs a person.
    pub state: String,
    pub state_changed_ms: i64,
    pub ignored_until_ms: Option<i64>,
}
