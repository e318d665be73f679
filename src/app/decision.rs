//! Decisions about hosts: the commands that a person can give, and their results.

use crate::event::{CompanyId, Host, HostId, StaffId};
use crate::matching::{Actor, Confidence, HostKey, MappingSource, Stored};
use crate::store::{Change, RepairState};

/// The person who decides: any [`Actor`] that is not a hostmatch process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author(Actor);

impl Author {
    /// Creates an author. Returns `None` if the name is empty, too long, has control characters, or is that of a
    /// hostmatch process, in any case. A person must not have such a name, because a match may switch a mapping
    /// on again that such a process switched off.
    pub fn new(name: &str) -> Option<Self> {
        let name = name.trim();
        let is_valid =
            !name.is_empty() && name.chars().count() <= Actor::MAX_CHARS && !name.contains(char::is_control);
        let is_own_process = || Actor::from(name.to_ascii_lowercase().as_str()).is_own_process();
        (is_valid && !is_own_process()).then(|| Self(name.into()))
    }

    /// Returns the author as an actor.
    pub fn actor(&self) -> &Actor {
        &self.0
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What a decision does with a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Map the host to this member of staff, whatever it was mapped to before.
    Set(StaffId),
    /// Switch this mapping off. A match does not switch it on again.
    SwitchOff(i64),
    /// Switch this mapping on again.
    SwitchOn(i64),
    /// Revert this change: restore every row, and switch off a row that the change created.
    Revert(Change),
}

/// A decision about one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Company and host.
    pub key: HostKey,
    /// What to do.
    pub command: Command,
    /// The reason, in the author's words.
    pub reason: Option<String>,
    /// The host's newest audit row that the person saw (`HostFacts::last_audit`). The decision is refused if
    /// there is a newer one. `None` accepts any state.
    pub expected_audit: Option<i64>,
    /// Whether to accept a host that no booking has named yet. Otherwise the decision is refused, because the
    /// host's id is probably mistyped.
    pub allow_unseen_host: bool,
    /// The host's data for a new mapping, instead of the data from bookings.
    pub snapshot: Option<Host>,
}

impl Decision {
    /// Creates a decision about this host.
    pub fn new(company: CompanyId, host: HostId, command: Command) -> Self {
        let key = HostKey::new(company, host);
        Self { key, command, reason: None, expected_audit: None, allow_unseen_host: false, snapshot: None }
    }

    /// Creates the decision that reverts a change.
    pub(super) fn reverting(change: Change, reason: String) -> Self {
        let (company, host) = (change.key.company, change.key.host);
        Self { reason: Some(reason), ..Self::new(company, host, Command::Revert(change)) }
    }
}

/// The effect of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The host had no mapping, and has one now (`manual`).
    Made,
    /// The host was mapped to another member of staff, and is mapped to this one now (`admin`).
    Replaced,
    /// A match had found the same member of staff; now a person has confirmed it (`admin`).
    Confirmed,
    /// The mapping was switched off.
    SwitchedOff,
    /// The mapping was switched on.
    SwitchedOn,
    /// A change was reverted.
    Reverted,
    /// The mapping was already in the decided state; nothing was written.
    Unchanged,
}

/// A mapping that was in force before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PreviousMapping {
    /// `calcom_host_mappings.id`
    pub mapping: i64,
    /// The member of staff.
    pub staff: StaffId,
    /// Their name.
    pub staff_name: String,
    /// How the mapping was created.
    pub source: Stored<MappingSource>,
    /// `confidence_score`
    pub confidence: Confidence,
}

/// The result of a decision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Decided {
    /// The effect.
    #[serde(rename = "did")]
    pub effect: Effect,
    /// Company and host.
    #[serde(flatten)]
    pub key: HostKey,
    /// The id of the affected mapping; after a revert, that of the mapping in force, if any. `None` if a dry
    /// run predicts a new mapping.
    pub mapping: Option<i64>,
    /// The member of staff of that mapping.
    pub staff: Option<StaffId>,
    /// Their name.
    pub staff_name: Option<String>,
    /// The mappings in force before.
    pub before: Vec<PreviousMapping>,
    /// The written audit rows, in order.
    pub audits: Vec<i64>,
}

/// Why a decision cannot be carried out. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the error messages document the variants")]
pub enum Refusal {
    #[error("there is no company {0}")]
    NoCompany(CompanyId),
    #[error("there is no member of staff {0}")]
    NoStaff(StaffId),
    #[error("staff {staff} does not belong to company {company}")]
    OtherCompany { staff: StaffId, company: CompanyId },
    #[error("staff {0} is not active: activate that person in the gateway first, or choose somebody else")]
    Inactive(StaffId),
    #[error("staff {0} was deleted in the gateway: choose somebody else")]
    Deleted(StaffId),
    #[error("no booking of company {0} has named host {1} yet: check the id of the host")]
    UnknownHost(CompanyId, HostId),
    #[error("company {0} has no mapping {1}")]
    NoMapping(CompanyId, i64),
    #[error("host {host} is mapped to staff {staff} (mapping {mapping}): switch that mapping off first")]
    AlreadyMapped { host: HostId, mapping: i64, staff: StaffId },
    #[error(
        "somebody else has changed the mapping of host {0} in the meantime: check the mapping, and decide again"
    )]
    ChangedMeanwhile(HostId),
    #[error(
        "mapping {mapping} has been changed again since then{}",
        .by.map_or_else(
            || " without an audit row".to_owned(),
            |audit| format!(" (audit {audit}): revert that change first")
        )
    )]
    // `by` is the audit row of the newer change; `None` if there is none.
    ChangedSince { mapping: i64, by: Option<i64> },
    #[error("audit {0} does not record the mapping's previous state, so that state cannot be restored")]
    NotRevertible(i64),
    #[error("the request contains two decisions for host {0}")]
    RepeatedHost(HostId),
    #[error("host {} of company {} is not in the inbox", .0.host, .0.company)]
    NotInInbox(HostKey),
    #[error("host {0} no longer needs a decision: it has a mapping")]
    Resolved(HostId),
    #[error("no member of staff is suggested for host {}", .0.host)]
    NoSuggestion(HostKey),
    #[error("several members of staff are suggested for host {}", .0.host)]
    SeveralSuggestions(HostKey, Vec<StaffId>),
    #[error(
        "staff {staff} is not suggested for host {host} (suggested: {among})",
        staff = .1, host = .0.host, among = join_ids(.2)
    )]
    NotSuggested(HostKey, StaffId, Vec<StaffId>),
    #[error("host {} has no mapping in force", .0.host)]
    NotMapped(HostKey),
    #[error("repair {0} is {1}: there is nothing left to do")]
    RepairEnded(i64, Stored<RepairState>),
}

/// Joins the ids of members of staff with commas.
fn join_ids(staff: &[StaffId]) -> String {
    staff.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
