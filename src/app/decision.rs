//! A decision about a host, and what becomes of it.

use crate::event::{CompanyId, Host, HostId, StaffId};
use crate::matching::{Actor, Confidence, HostKey, MappingSource, Stored};
use crate::store::{Change, RepairState};

/// Who decides: any [`Actor`] but a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author(Actor);

impl Author {
    /// Somebody by this name. `None` for one that is empty, too long, or a machine's, in whatever case:
    /// what a machine switched off it may switch on again, and what a person did not.
    pub fn new(name: &str) -> Option<Self> {
        let name = name.trim();
        let fits =
            !name.is_empty() && name.chars().count() <= Actor::MAX_CHARS && !name.contains(char::is_control);
        let is_machine = || Actor::from(name.to_ascii_lowercase().as_str()).is_machine();
        (fits && !is_machine()).then(|| Self(name.into()))
    }

    /// The same as an actor.
    pub fn actor(&self) -> &Actor {
        &self.0
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// What is wanted for a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// It is this member of staff, whoever it was before.
    Set(StaffId),
    /// This mapping no longer counts, and no match brings it back.
    SwitchOff(i64),
    /// This mapping counts again.
    SwitchOn(i64),
    /// This change is taken back: every row is as it was before. A row that it made is switched off.
    Revert(Change),
}

/// A decision about one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Company and host.
    pub key: HostKey,
    /// What is wanted.
    pub command: Command,
    /// Why, in the person's words.
    pub reason: Option<String>,
    /// The host's newest audit row when the person looked (`HostFacts::last_audit`): if there is
    /// another by now, the decision is refused. `None`: whatever the state is.
    pub seen: Option<i64>,
    /// A host that no booking has named yet may be mapped. Else it is taken for a mistyped one.
    pub may_be_new: bool,
    /// What a new mapping says of the host, in place of what was seen of it.
    pub snapshot: Option<Host>,
}

impl Decision {
    /// A decision about this host.
    pub fn new(company: CompanyId, host: HostId, command: Command) -> Self {
        let key = HostKey::new(company, host);
        Self { key, command, reason: None, seen: None, may_be_new: false, snapshot: None }
    }

    /// The decision that takes a change back.
    pub(super) fn reverting(change: Change, reason: String) -> Self {
        let (company, host) = (change.key.company, change.key.host);
        Self { reason: Some(reason), ..Self::new(company, host, Command::Revert(change)) }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// The host had no mapping, and has one now (`manual`).
    Made,
    /// It was somebody else, and is this member of staff now (`admin`).
    Replaced,
    /// A match had found this very member of staff; now a person says so (`admin`).
    Confirmed,
    /// The mapping no longer counts.
    SwitchedOff,
    /// The mapping counts again.
    SwitchedOn,
    /// A change was taken back.
    Reverted,
    /// It was so already; nothing was written.
    Unchanged,
}

/// A mapping that was in force before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Before {
    /// `calcom_host_mappings.id`
    pub mapping: i64,
    /// The member of staff.
    pub staff: StaffId,
    /// Their name.
    pub staff_name: String,
    /// How it came to be.
    pub source: Stored<MappingSource>,
    /// `confidence_score`
    pub confidence: Confidence,
}

/// What became of a decision.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Decided {
    /// What was done.
    #[serde(rename = "did")]
    pub effect: Effect,
    /// Company and host.
    #[serde(flatten)]
    pub key: HostKey,
    /// The mapping that it is about; of a revert the one in force now, if there is one. None before it
    /// is made.
    pub mapping: Option<i64>,
    /// Its member of staff.
    pub staff: Option<StaffId>,
    /// Their name.
    pub staff_name: Option<String>,
    /// What was in force before.
    pub before: Vec<Before>,
    /// The audit rows that were written, in their order.
    pub audits: Vec<i64>,
}

/// Why something that a person decides cannot be carried out. Nothing was written for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Refusal {
    #[error("there is no company {0}")]
    NoCompany(CompanyId),
    #[error("there is no member of staff {0}")]
    NoStaff(StaffId),
    #[error("staff {staff} does not belong to company {company}")]
    Foreign { staff: StaffId, company: CompanyId },
    #[error("staff {0} is not active: switch that person on in the gateway first, or choose somebody else")]
    Inactive(StaffId),
    #[error("staff {0} was deleted in the gateway: choose somebody else")]
    Deleted(StaffId),
    #[error("no booking of company {0} has been with host {1} yet: see whether the number is right")]
    UnknownHost(CompanyId, HostId),
    #[error("company {0} has no mapping {1}")]
    NoMapping(CompanyId, i64),
    #[error("host {host} is mapped to staff {staff} (mapping {mapping}): switch that off first")]
    Taken { host: HostId, mapping: i64, staff: StaffId },
    #[error("somebody else has changed the mapping of host {0} in the meantime: look at it again")]
    ChangedMeanwhile(HostId),
    #[error("mapping {mapping} was changed again since{}", .by.map_or_else(String::new, |audit| format!(" (audit {audit}): revert that first")))]
    // `by`: the newer change; none when no audit row tells of it.
    ChangedSince { mapping: i64, by: Option<i64> },
    #[error("audit {0} does not tell how the mapping was before, so that it cannot be restored")]
    NotRevertible(i64),
    #[error("host {0} is decided on twice here")]
    Twice(HostId),
    #[error("host {} of company {} is not in the inbox", .0.host, .0.company)]
    NotInInbox(HostKey),
    #[error("host {0} needs nobody any more: it has a mapping")]
    Resolved(HostId),
    #[error("nobody is suggested for host {}", .0.host)]
    NoSuggestion(HostKey),
    #[error("several are suggested for host {}", .0.host)]
    SeveralSuggestions(HostKey, Vec<StaffId>),
    #[error("staff {staff} is not suggested for host {host} (but {among})", staff = .1, host = .0.host, among = listed(.2))]
    NotSuggested(HostKey, StaffId, Vec<StaffId>),
    #[error("host {} has no mapping that counts", .0.host)]
    NotMapped(HostKey),
    #[error("repair {0} is {1}: there is nothing to go on with")]
    Ended(i64, Stored<RepairState>),
}

/// Ids of members of staff, in words.
fn listed(staff: &[StaffId]) -> String {
    staff.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
