//! Lists the inbox, the hosts that need a person, and records what people do with them, except mapping.

mod list;
mod actions;
mod purge;

use sea_orm::sea_query::IntoIden;
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::entity::inbox::Column;
use super::rows;
use crate::event::HostId;
use crate::matching::{InboxRow, InboxState, Review, string_values};
use crate::store::prelude::*;

pub use actions::{HostAction, RecordedHostAction, host_actions};
pub(crate) use actions::{last_host_actions, perform_host_action};
pub use list::{Bookings, inbox_hosts};
pub use purge::{MAX_INBOX_HOSTS, bound_inbox, full_inboxes, purge_inbox};

string_values!(InboxKind);

/// Why a host needs a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum InboxKind {
    /// There is a suggestion, but its confidence is too low to accept it automatically.
    Suggestion,
    /// Several members of staff match equally well.
    Ambiguous,
    /// No match was found.
    Unknown,
    /// The match contradicts an earlier decision: a person deactivated it, or several mappings are active.
    Conflict,
}

impl InboxKind {
    pub(crate) fn of(row: &InboxRow) -> Self {
        let by_mapping = row.suggestions.iter().any(|one| one.evidence.field == MAPPING);
        match row.review {
            None => Self::Unknown,
            Some(Review::BelowThreshold) => Self::Suggestion,
            Some(Review::Ambiguous) if by_mapping => Self::Conflict,
            Some(Review::Ambiguous) => Self::Ambiguous,
            Some(Review::SwitchedOff) => Self::Conflict,
        }
    }

    /// Returns the condition for inbox rows of this kind. `table` is the name of the table in the statement.
    pub(super) fn condition(self, table: impl IntoIden + Copy) -> Expr {
        let kind = |review| Expr::col((table, Column::Kind)).eq(rows::kind(review));
        let by_mapping =
            || Expr::col((table, Column::Suggestions)).like(format!("%\"field\":\"{MAPPING}\"%"));
        match self {
            Self::Suggestion => kind(Some(Review::BelowThreshold)),
            Self::Unknown => kind(None),
            Self::Ambiguous => kind(Some(Review::Ambiguous)).and(by_mapping().not()),
            Self::Conflict => {
                kind(Some(Review::SwitchedOff)).or(kind(Some(Review::Ambiguous)).and(by_mapping()))
            }
        }
    }
}

/// The evidence field for a mapping.
const MAPPING: &str = "mapping";

/// A filter for hosts. A row must meet every condition that is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxFilter {
    /// The host: a Cal.com user.
    pub host: Option<HostId>,
    /// `open`, `ignored` or `resolved`; none means any.
    pub state: Option<InboxState>,
    /// The kind.
    pub kind: Option<InboxKind>,
}

/// A host that needs, or needed, a person.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxHost {
    /// The row, with its current state.
    pub row: InboxRow,
    /// Why it needs a person.
    pub kind: InboxKind,
    /// Until when it is ignored, in ms since 1970; none means until it is reopened.
    pub ignored_until_ms: Option<i64>,
    /// The numbers of its bookings.
    pub bookings: Bookings,
}
