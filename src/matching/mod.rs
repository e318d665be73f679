//! Resolves hosts to members of staff, and plans the changes for the appointments of one batch; does no I/O.
//!
//! A [`Directory`] holds everything that was loaded; a chain of strategies ([`Strategy`]) proposes members of
//! staff; the [`Resolver`] accepts the first acceptable proposal; [`Plan`] processes the events of a batch
//! in order and turns the resolutions into a [`ChangeSet`]. Nothing here waits or fails.

mod values;
mod actor;
mod strategy;
mod directory;
mod resolver;
mod outcome;
mod changes;
mod references;
mod found_by;
mod kept_booking;
mod plan;
mod assign;
mod learn;
mod match_stats;

pub use actor::{Actor, ActorKind};
pub use assign::{REPLACED, StaffSetBy};
pub use changes::{
    AppointmentWrite, Assignment, Audit, ChangeSet, EventReading, EventRow, HostEvent, InboxRow, InboxState,
    MappingChange, MappingRef, MappingWrite, Observed, ReferenceRow,
};
pub use directory::{Directory, HostKey, Mapping, Roster, Staff, normal_name};
pub use found_by::FoundBy;
pub use learn::mapped_host;
pub use match_stats::{Lookup, LookupResult, MatchStats};
pub use outcome::{DEAD_LETTER, Outcome, Reason, recorded_outcomes};
pub use plan::{Appointment, Item, Loaded, Plan, Policy, Target, Verdict};
pub use references::References;
pub use resolver::{Resolution, Resolved, Resolver, Review, Step, StepFound, Suggestion};
pub use strategy::{Candidate, Confidence, Evidence, Origin, Proposal, Strategy};
pub(crate) use values::string_values;
pub use values::{AuditAction, MappingSource, Stored};

#[cfg(test)]
mod tests;
