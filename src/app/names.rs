//! What several use cases do with what they read: the names of members of staff, pages.

use std::collections::{BTreeMap, BTreeSet};

use super::{AppContext, AppError};
use crate::event::StaffId;
use crate::store::{StaffFact, staff_facts};

/// The names of members of staff.
pub(super) struct Names(BTreeMap<StaffId, StaffFact>);

/// The names of these.
pub(super) async fn names(
    context: &AppContext,
    ids: impl IntoIterator<Item = StaffId>,
) -> Result<Names, AppError> {
    let ids: BTreeSet<StaffId> = ids.into_iter().collect();
    let facts = staff_facts(context.connection(), &context.schema, &ids);
    Ok(Names(context.with_deadline(facts).await?))
}

impl Names {
    /// The name, if there is such a person.
    pub(super) fn name(&self, id: &StaffId) -> Option<String> {
        self.0.get(id).map(|fact| fact.name.clone())
    }
}

/// A page of rows, of which one more than wanted was read; and the place where the next one begins, if there are
/// more.
pub(super) fn page<T, P>(mut rows: Vec<T>, limit: u64, place: impl Fn(&T) -> P) -> (Vec<T>, Option<P>) {
    let more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(place);
    (rows, next)
}
