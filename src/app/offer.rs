//! What a repair could put right, and what one has come to.

use serde::Serialize;

use crate::event::{HostId, StaffId};
use crate::store::{RepairScope, RepairState, StoreError, Waiting};

/// What could be put right for a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Who would get the appointments; none while the host has no mapping that counts.
    pub staff: Option<StaffId>,
    /// Those that have not begun.
    pub future: Vec<Waiting>,
    /// Those that have.
    pub past: Vec<Waiting>,
    /// Those of which it is not known.
    pub unknown: Vec<Waiting>,
}

/// How many of each there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Not begun.
    pub future: usize,
    /// Begun, or over.
    pub past: usize,
    /// Not known.
    pub unknown: usize,
}

impl Offer {
    /// How many of each there are.
    pub fn counts(&self) -> Counts {
        Counts { future: self.future.len(), past: self.past.len(), unknown: self.unknown.len() }
    }

    pub(super) fn chosen(self, scope: RepairScope) -> Vec<Waiting> {
        let mut chosen = self.future;
        if scope == RepairScope::All {
            chosen.extend(self.past);
            chosen.extend(self.unknown);
        }
        chosen.sort_by_key(|one| one.appointment);
        chosen
    }
}

/// What a repair has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Still to be assigned: somebody else has locked them, or it was interrupted.
    pub pending: i64,
    /// Assigned.
    pub done: i64,
    /// They did not wait any more.
    pub left: i64,
    /// Given back.
    pub undone: i64,
    /// Not given back: somebody else has touched them since.
    pub kept: i64,
}

/// Why a repair cannot be made, gone on with, or taken back.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// The database's error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is none with this number.
    #[error("there is no repair {0}")]
    Unknown(i64),
    /// Nobody is mapped.
    #[error(
        "host {0} has no mapping that counts: decide first who it is (hostmatch inbox, or hostmatch mappings set)"
    )]
    NotMapped(HostId),
    /// It has ended.
    #[error("repair {id} is {state}: there is nothing to go on with")]
    Ended {
        /// The repair.
        id: i64,
        /// Where it stands.
        state: RepairState,
    },
}
