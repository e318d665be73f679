//! The inbox: hosts that need a person.
//!
//! A host that nobody knows may come with every other booking. Its row is written when it says something
//! new, not each time: its times are kept to the hour, and of equal snapshots the one of the smallest event
//! id stands. So the order of arrival makes no difference, and workers that meet the same host at the same
//! time need not wait for each other.

use std::cmp::{Ordering, Reverse};

use super::changes::{HostBearing, InboxRow, InboxState};
use super::directory::HostKey;
use super::plan::Plan;
use super::resolver::{Review, Suggestion};
use crate::event::{EventTime, Host};

/// To what the times of a row are rounded down.
const HOUR_MS: i64 = 3_600_000;

impl Plan<'_> {
    /// Puts a host into the inbox, or brings its row up to date. What a person ignores stays ignored.
    pub(super) fn ask(
        &mut self,
        key: HostKey,
        host: &Host,
        bearing: &HostBearing,
        review: Option<Review>,
        suggestions: &[Suggestion],
    ) {
        let hour_ms = bearing.time.ms - bearing.time.ms.rem_euclid(HOUR_MS);
        let fresh = InboxRow {
            key,
            host: snapshot(host),
            event: bearing.event.clone(),
            time: EventTime { ms: hour_ms, ..bearing.time },
            first_seen_ms: hour_ms,
            last_seen_ms: hour_ms,
            review,
            suggestions: suggestions.to_vec(),
            state: InboxState::Open,
            state_changed_ms: self.now_ms(),
        };
        let row = match self.state.inbox.get(&key) {
            None => fresh,
            Some(old) => {
                let row = brought_up_to_date(old, fresh);
                if row == *old {
                    return;
                }
                row
            }
        };
        self.state.inbox.insert(key, row);
        self.inbox.insert(key);
    }

    /// Closes the row of a host that has a mapping now. What a person ignores stays ignored.
    pub(super) fn close_inbox(&mut self, key: HostKey) {
        let now_ms = self.now_ms();
        if let Some(row) = self.state.inbox.get_mut(&key).filter(|row| row.state == InboxState::Open) {
            (row.state, row.state_changed_ms) = (InboxState::Resolved, now_ms);
            self.inbox.insert(key);
        }
    }
}

/// The host as its row keeps it: cut to the columns here, so that what is compared is what is kept.
fn snapshot(host: &Host) -> Host {
    let cut = |text: Option<&String>, most| text.map(|text| text.chars().take(most).collect());
    Host {
        id: host.id,
        name: cut(host.name.as_ref(), 255),
        email: cut(host.email.as_ref().or(host.display_email.as_ref()), 255),
        display_email: None,
        username: cut(host.username.as_ref(), 255),
        time_zone: cut(host.time_zone.as_ref(), 64),
    }
}

fn brought_up_to_date(old: &InboxRow, fresh: InboxRow) -> InboxRow {
    let (state, state_changed_ms) = match old.state {
        InboxState::Resolved => (fresh.state, fresh.state_changed_ms),
        InboxState::Open | InboxState::Ignored => (old.state, old.state_changed_ms),
    };
    let (first_seen_ms, last_seen_ms) =
        (old.first_seen_ms.min(fresh.first_seen_ms), old.last_seen_ms.max(fresh.last_seen_ms));
    // What a resolved row says is over: why the host is back stands in the event that brings it back.
    let order = match old.state {
        InboxState::Resolved => Ordering::Greater,
        InboxState::Open | InboxState::Ignored => place(&fresh).cmp(&place(old)),
    };
    let row = match order {
        Ordering::Greater => fresh,
        Ordering::Less => old.clone(),
        // The same snapshot; what can be suggested for it may be new.
        Ordering::Equal => InboxRow { event: old.event.clone().min(fresh.event.clone()), ..fresh },
    };
    InboxRow { state, state_changed_ms, first_seen_ms, last_seen_ms, ..row }
}

/// Which of two snapshots stands: that of the later hour; within one hour, of one with a time of its own;
/// then by what it says, for no other reason than that there must be one.
fn place(row: &InboxRow) -> impl Ord + use<'_> {
    let Host { name, email, username, time_zone, .. } = &row.host;
    (row.time.ms, Reverse(row.time.stamped), name, email, username, time_zone)
}
