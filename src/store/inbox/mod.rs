//! The inbox: hosts that need a person, and what people do with them beside mapping them.

mod list;
mod acts;

use sea_orm::sea_query::IntoIden;
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::entity::inbox::Column;
use super::rows;
use crate::event::HostId;
use crate::matching::{InboxRow, InboxState, Review, words};
use crate::store::prelude::*;

pub use acts::{HostAct, HostAction, host_acts};
pub(crate) use acts::{act_on_host, last_host_acts};
pub use list::{Bookings, inbox_entries};

words!(InboxKind);

/// What is the matter with a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum InboxKind {
    /// There is a suggestion, not sure enough to be taken without a person.
    Suggestion,
    /// Several members of staff fit, and nothing tells them apart.
    Ambiguous,
    /// Nobody was found.
    Unknown,
    /// What is found contradicts what was decided before: a person switched it off, or several mappings
    /// are in force.
    Conflict,
}

impl InboxKind {
    fn of(row: &InboxRow) -> Self {
        let by_mapping = row.suggestions.iter().any(|one| one.evidence.field == MAPPING);
        match row.review {
            None => Self::Unknown,
            Some(Review::BelowThreshold) => Self::Suggestion,
            Some(Review::Ambiguous) if by_mapping => Self::Conflict,
            Some(Review::Ambiguous) => Self::Ambiguous,
            Some(Review::SwitchedOff) => Self::Conflict,
        }
    }

    /// What a row of the inbox must meet for this to be the matter. `table`: how the statement calls it.
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

/// The field of evidence that stands for a mapping.
const MAPPING: &str = "mapping";

/// Which hosts; what is given must all be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InboxFilter {
    /// This Cal.com user.
    pub host: Option<HostId>,
    /// `open`, `ignored`, `resolved`; none: any.
    pub state: Option<InboxState>,
    /// With this the matter.
    pub kind: Option<InboxKind>,
}

/// A host that needs, or needed, a person.
#[derive(Clone, Debug, PartialEq)]
pub struct InboxEntry {
    /// The row, its state as of now.
    pub row: InboxRow,
    /// What is the matter.
    pub kind: InboxKind,
    /// Until when it is ignored, ms since 1970; none: until it is reopened.
    pub ignored_until_ms: Option<i64>,
    /// What waits for it.
    pub bookings: Bookings,
}
