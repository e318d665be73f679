//! `hostmatch_inbox`: one row for each host that needs a person.

use sea_orm::entity::prelude::*;

use crate::event::{CompanyId, EventId, HostId};

/// A row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hostmatch_inbox")]
pub struct Model {
    /// The company.
    #[sea_orm(primary_key)]
    pub company_id: CompanyId,
    /// The host.
    #[sea_orm(primary_key)]
    pub host_id: HostId,
    /// The host's name.
    pub name: Option<String>,
    /// The host's e-mail address.
    pub email: Option<String>,
    /// The host's user name.
    pub username: Option<String>,
    /// The host's time zone.
    pub time_zone: Option<String>,
    /// The event that the above was taken from.
    pub event_id: Option<EventId>,
    /// That event's time, in ms since 1970.
    pub event_time_ms: Option<i64>,
    /// That time is only when the event was published.
    pub event_stamped: bool,
    /// When the host was first seen, in ms since 1970.
    pub first_seen_ms: i64,
    /// When the host was last seen, in ms since 1970.
    pub last_seen_ms: i64,
    /// Why a person is needed.
    pub kind: String,
    /// Who it might be, as JSON.
    pub suggestions: String,
    /// Whether somebody still has to look at it.
    pub state: String,
    /// Since when, in ms since 1970.
    pub state_changed_ms: i64,
    /// Until when it is ignored, in ms since 1970.
    pub ignored_until_ms: Option<i64>,
}

/// Where the row leads.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
