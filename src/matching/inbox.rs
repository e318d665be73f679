//! The inbox: hosts that need a person.
//!
//! A host that nobody knows may come with every other booking. Its row is written when a newer event says
//! something new of it, or comes in a later hour, and not each time: so workers that meet the same host at
//! the same time need not wait for each other.

use super::changes::{HostBearing, InboxRow, InboxState};
use super::directory::HostKey;
use super::plan::Plan;
use super::resolver::{Review, Suggestion};
use crate::event::{EventOrder, Host};

/// To what the first and the last time are rounded down.
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
            time: bearing.time,
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
    let is_back = old.state == InboxState::Resolved;
    let (state, state_changed_ms) =
        if is_back { (fresh.state, fresh.state_changed_ms) } else { (old.state, old.state_changed_ms) };
    let (first_seen_ms, last_seen_ms) =
        (old.first_seen_ms.min(fresh.first_seen_ms), old.last_seen_ms.max(fresh.last_seen_ms));
    let order = |row: &InboxRow| EventOrder::new(row.time, &row.event);
    let says_more = fresh.host != old.host
        || fresh.review != old.review
        || fresh.suggestions != old.suggestions
        || fresh.last_seen_ms > old.last_seen_ms;
    // What a resolved row says is over: why the host is back stands in the event that brings it back.
    let row = if is_back || says_more && order(&fresh) >= order(old) { fresh } else { old.clone() };
    InboxRow { state, state_changed_ms, first_seen_ms, last_seen_ms, ..row }
}
