//! May we touch this appointment's `staff_id`? Somebody else's decision is never overwritten.

use super::outcome::Outcome;
use crate::config::Overwrite;
use crate::event::StaffId;

/// Whose doing the present `staff_id` is, judged by what we wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It is empty, and we left it so.
    Nobody,
    /// It is what we set.
    Us,
    /// A person or another program set it, or cleared what we had set.
    Them,
}

impl Holder {
    /// `current`: what the appointment has; `ours`: what we wrote last (`None`: never, or withdrawn).
    pub fn of(current: Option<&StaffId>, ours: Option<&StaffId>) -> Self {
        match (current, ours) {
            (None, None) => Self::Nobody,
            (current, ours) if current == ours => Self::Us,
            _ => Self::Them,
        }
    }
}

/// What is to be done to `staff_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Leave,
    Set,
    Clear,
}

/// What to do for a host that resolved to `found`.
pub(super) fn on_match(
    current: Option<&StaffId>,
    found: &StaffId,
    holder: Holder,
    overwrite: Overwrite,
) -> (Outcome, Change) {
    let may = match overwrite {
        Overwrite::Always => true,
        Overwrite::Ours => holder != Holder::Them,
        Overwrite::Never => holder == Holder::Nobody,
    };
    match current {
        // Already the very person: whose doing it was does not change by that.
        Some(current) if current == found => (Outcome::Unchanged, Change::Leave),
        _ if may => (Outcome::Assigned, Change::Set),
        _ => (Outcome::Kept, Change::Leave),
    }
}

/// What to do for a host that did not resolve. `unresolved` is `NeedsReview` or `Unmatched`;
/// `other_host`: the appointment's last host-bearing event named somebody else.
pub(super) fn on_no_match(
    holder: Holder,
    other_host: bool,
    unresolved: Outcome,
    overwrite: Overwrite,
) -> (Outcome, Change) {
    match holder {
        Holder::Them => (Outcome::Kept, Change::Leave),
        // The person whom we had put there for another host is certainly not the one.
        Holder::Us if other_host && overwrite == Overwrite::Never => (Outcome::Kept, Change::Leave),
        Holder::Us if other_host => (unresolved, Change::Clear),
        Holder::Us | Holder::Nobody => (unresolved, Change::Leave),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANNA: StaffId = StaffId::Integer(1);
    const BORIS: StaffId = StaffId::Integer(2);
    const CARLA: StaffId = StaffId::Integer(3);

    /// current, ours, found → (ours, never, always)
    #[test]
    fn a_match_writes_only_what_the_policy_allows() {
        use Change::{Leave, Set};
        use Outcome::{Assigned, Kept, Unchanged};
        let table = [
            (None, None, [(Assigned, Set), (Assigned, Set), (Assigned, Set)]),
            (Some(ANNA), None, [(Unchanged, Leave); 3]),
            (Some(ANNA), Some(ANNA), [(Unchanged, Leave); 3]),
            (Some(BORIS), None, [(Kept, Leave), (Kept, Leave), (Assigned, Set)]),
            (Some(BORIS), Some(BORIS), [(Assigned, Set), (Kept, Leave), (Assigned, Set)]),
            (Some(BORIS), Some(CARLA), [(Kept, Leave), (Kept, Leave), (Assigned, Set)]),
            (None, Some(BORIS), [(Kept, Leave), (Kept, Leave), (Assigned, Set)]),
        ];
        for (current, ours, expected) in table {
            let holder = Holder::of(current.as_ref(), ours.as_ref());
            let got = [Overwrite::Ours, Overwrite::Never, Overwrite::Always]
                .map(|overwrite| on_match(current.as_ref(), &ANNA, holder, overwrite));
            assert_eq!(got, expected, "current {current:?}, ours {ours:?}");
        }
    }

    #[test]
    fn without_a_match_only_our_own_assignment_for_another_host_is_withdrawn() {
        use Overwrite::{Always, Never, Ours};
        let review = Outcome::NeedsReview;
        assert_eq!(on_no_match(Holder::Nobody, true, review, Ours), (review, Change::Leave));
        assert_eq!(on_no_match(Holder::Us, true, review, Ours), (review, Change::Clear));
        assert_eq!(on_no_match(Holder::Us, true, review, Always), (review, Change::Clear));
        assert_eq!(on_no_match(Holder::Us, true, review, Never), (Outcome::Kept, Change::Leave));
        assert_eq!(on_no_match(Holder::Us, false, review, Ours), (review, Change::Leave));
        for overwrite in [Ours, Never, Always] {
            assert_eq!(on_no_match(Holder::Them, true, review, overwrite), (Outcome::Kept, Change::Leave));
        }
    }
}
