//! What migrating would find and do here, without doing it: for `hostmatch migrate up`, which
//! refuses on any obstacle, and for `hostmatch gateway inspect`, which shows it.

use serde::Serialize;

use crate::sequences::Lagging;

/// What stands between this database and our tables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// The migrations that are not applied, in order.
    pub pending: Vec<String>,
    /// Tables and columns of ours that somebody else made, to be brought to our shape by adoption.
    pub adoptions: Vec<Adoption>,
    /// What has to be put right by a person before `up` changes anything.
    pub obstacles: Vec<Obstacle>,
    /// What will be different here, and does no harm: an index that is left out, for example.
    pub notes: Vec<String>,
    /// Sequences that lag behind the ids that are there: `up` sets them.
    #[serde(skip)]
    pub lagging: Vec<Lagging>,
    /// The statements that `up` (with adoption, where there is something to adopt) would run, in order.
    pub statements: Vec<String>,
}

impl Examination {
    /// Nothing but what is in the way.
    pub(crate) fn of_obstacles(obstacles: Vec<Obstacle>) -> Box<Self> {
        Box::new(Self { obstacles, ..Self::default() })
    }

    /// What is adopted, what is in the way, and what will be different, a line each.
    pub fn in_words(&self) -> String {
        let mut lines = Vec::new();
        for Adoption { what, differences } in &self.adoptions {
            let as_ours = if differences.is_empty() { ", as hostmatch makes it" } else { "" };
            lines.push(format!("there is {what}{as_ours}"));
            lines.extend(differences.iter().map(|difference| format!("  {difference}")));
        }
        for Obstacle { what, rows, remedy } in &self.obstacles {
            lines.push(format!("in the way: {what}"));
            lines.extend(rows.iter().map(|row| format!("  {row}")));
            lines.push(format!("  what to do: {remedy}"));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }
}

/// A table or column of ours that was there before hostmatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adoption {
    /// What it is: `calcom_host_mappings`, or `appointments.calcom_host_id`.
    pub what: String,
    /// How it differs from ours, a line each; empty when it does not.
    pub differences: Vec<String>,
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// What is wrong, in one sentence.
    pub what: String,
    /// The rows that are meant, by their keys; empty where it is not about rows. Never personal data.
    pub rows: Vec<String>,
    /// What to do about it.
    pub remedy: String,
}

impl Obstacle {
    /// One that is not about rows.
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), rows: Vec::new(), remedy: remedy.into() }
    }
}
