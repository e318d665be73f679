//! What may be done next, as a value: the command line names a command, the web UI shows a button.

use crate::event::StaffId;
use crate::matching::HostKey;

/// What may be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextAction {
    /// Take the one suggestion for this host.
    AcceptSuggestion(HostKey),
    /// Take one of several suggestions for this host: one of these.
    ChooseSuggestion(HostKey, Vec<StaffId>),
    /// Say who this host is.
    AssignHost(HostKey),
}
