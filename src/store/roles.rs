//! What somebody may be let in for.

use serde::Serialize;

/// What somebody is to do with the gateway's database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `hostmatch gateway inspect`, before and after migrating.
    Inspect,
    /// `hostmatch migrate up` and `down`.
    Migrate,
    /// `hostmatch serve` and the commands that look into the database.
    Run,
    /// The same with `worker.mode = "observe"`, and without the commands that decide something.
    Observe,
}

impl Role {
    /// Those that every installation has, in the order in which they are needed.
    pub const ALL: [Self; 3] = [Self::Inspect, Self::Migrate, Self::Run];

    /// Who has it, where nobody else is named.
    pub fn usual_user(self) -> &'static str {
        match self {
            Self::Inspect => "hostmatch_inspect",
            Self::Migrate => "hostmatch_migrate",
            Self::Run => "hostmatch",
            Self::Observe => "hostmatch_observe",
        }
    }
}
