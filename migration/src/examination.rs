//! Describes what migrating would find and do here, without doing it: for `hostmatch migrate up`, which
//! refuses on any obstacle, and for `hostmatch gateway inspect`, which shows it.

use serde::Serialize;

use crate::sequences::Lagging;

/// What migrating would find and do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Examination {
    /// The migrations that are not applied, in order.
    pub pending: Vec<String>,
    /// Our tables and columns that the gateway created, and that adoption would bring to our shape.
    pub adoptions: Vec<Adoption>,
    /// What a person has to fix before `up` changes anything.
    pub obstacles: Vec<Obstacle>,
    /// Harmless differences, for example an index that is left out.
    pub notes: Vec<String>,
    /// Sequences that lag behind the existing ids: `up` sets them.
    #[serde(skip)]
    pub lagging: Vec<Lagging>,
    /// The statements that `up` (with adoption, where there is something to adopt) would run, in order.
    pub statements: Vec<String>,
}

impl Examination {
    /// Creates an examination with nothing but obstacles.
    pub(crate) fn with_obstacles(obstacles: Vec<Obstacle>) -> Box<Self> {
        Box::new(Self { obstacles, ..Self::default() })
    }

    /// Lists the adoptions, the obstacles and the notes, one per line.
    pub fn render(&self) -> String {
        let mut lines = Vec::new();
        for Adoption { what, differences } in &self.adoptions {
            let as_ours = if differences.is_empty() { ", identical to hostmatch's own" } else { "" };
            lines.push(format!("found {what}{as_ours}"));
            lines.extend(differences.iter().map(|difference| format!("  {difference}")));
        }
        for Obstacle { what, rows, remedy } in &self.obstacles {
            lines.push(format!("obstacle: {what}"));
            lines.extend(rows.iter().map(|row| format!("  {row}")));
            lines.push(format!("  what to do: {remedy}"));
        }
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines.join("\n")
    }
}

/// One of our tables or columns that existed before hostmatch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adoption {
    /// Its name: `calcom_host_mappings`, or `appointments.calcom_host_id`.
    pub what: String,
    /// How it differs from ours, one line per difference; empty when it does not.
    pub differences: Vec<String>,
}

/// Something that has to be fixed before migrating.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Obstacle {
    /// What is wrong, in one sentence.
    pub what: String,
    /// The keys of the rows concerned; empty if it is not about rows. They never contain personal data.
    pub rows: Vec<String>,
    /// What to do about it.
    pub remedy: String,
}

impl Obstacle {
    /// Creates an obstacle that is not about rows.
    pub(crate) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), rows: Vec::new(), remedy: remedy.into() }
    }
}
