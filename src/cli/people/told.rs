//! Words for what is shown: people by name, evidence, waiting appointments.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::Desk;
use crate::app::Counts;
use crate::cli::failure::Failure;
use crate::event::StaffId;
use crate::matching::{Evidence, Suggestion};
use crate::store::{StaffFact, staff_facts};

/// The names of members of staff.
pub(super) struct Names(BTreeMap<StaffId, StaffFact>);

impl Names {
    /// Of these.
    pub(super) async fn of(desk: &Desk, ids: impl IntoIterator<Item = StaffId>) -> Result<Self, Failure> {
        let ids: BTreeSet<StaffId> = ids.into_iter().collect();
        let facts = staff_facts(desk.database.connection(), &desk.schema, &ids);
        Ok(Self(desk.database.in_time(facts).await?))
    }

    /// The name, if there is such a person.
    pub(super) fn name(&self, id: &StaffId) -> Option<String> {
        self.0.get(id).map(|fact| fact.name.clone())
    }

    /// `Mara Lind (staff 31)`
    pub(super) fn told(&self, id: &StaffId) -> String {
        match self.name(id).filter(|name| !name.is_empty()) {
            Some(name) => format!("{name} (staff {id})"),
            None => format!("staff {id}"),
        }
    }
}

/// A suggestion as it is shown.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Suggested {
    pub(super) staff: StaffId,
    pub(super) staff_name: Option<String>,
    pub(super) strategy: String,
    pub(super) confidence: u8,
    /// Why, in words.
    pub(super) because: String,
}

impl Suggested {
    pub(super) fn of(one: &Suggestion, names: &Names) -> Self {
        Self {
            staff: one.staff.clone(),
            staff_name: names.name(&one.staff),
            strategy: one.strategy.clone(),
            confidence: one.confidence.0,
            because: because(&one.evidence),
        }
    }
}

fn because(Evidence { field, value }: &Evidence) -> String {
    match field.as_str() {
        "email" => format!("has the same e-mail address, {value}"),
        "name" => format!("has the same name, {value}"),
        "mapping" => format!("is who this host is mapped to ({value})"),
        other => format!("has the same {other}, {value}"),
    }
}

/// How many wait, in words; none when nothing does.
pub(super) fn waiting(counts: Counts) -> Option<String> {
    let Counts { future, past, unknown } = counts;
    let parts: Vec<String> = [(future, "future"), (past, "past"), (unknown, "without a known start")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let word = if future + past + unknown == 1 { "appointment waits" } else { "appointments wait" };
    (!parts.is_empty()).then(|| format!("{} {word}", parts.join(", ")))
}

/// A cell for what may be missing.
pub(super) fn dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_told_apart() {
        assert_eq!(waiting(Counts::default()), None);
        let some = Counts { future: 2, past: 1, unknown: 0 };
        assert_eq!(waiting(some).unwrap(), "2 future, 1 past appointments wait");
        assert_eq!(waiting(Counts { past: 1, ..Counts::default() }).unwrap(), "1 past appointment waits");
    }
}
