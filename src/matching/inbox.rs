//! The inbox: hosts that need a person.

use super::changes::{HostBearing, InboxRow, InboxState};
use super::directory::HostKey;
use super::plan::Plan;
use super::resolver::{Review, Suggestion};
use crate::event::{EventOrder, Host};

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
        let fresh = InboxRow {
            key,
            host: host.clone(),
            event: bearing.event.clone(),
            time: bearing.time,
            first_seen_ms: bearing.time.ms,
            last_seen_ms: bearing.time.ms,
            review,
            suggestions: suggestions.to_vec(),
            state: InboxState::Open,
            state_changed_ms: self.now_ms(),
        };
        let row = match self.state.inbox.remove(&key) {
            None => fresh,
            Some(old) => {
                let reopened = old.state == InboxState::Resolved;
                let (state, since) = if reopened {
                    (fresh.state, fresh.state_changed_ms)
                } else {
                    (old.state, old.state_changed_ms)
                };
                let (first, last) =
                    (old.first_seen_ms.min(fresh.first_seen_ms), old.last_seen_ms.max(fresh.last_seen_ms));
                let newer = bearing.order() >= EventOrder::new(old.time, &old.event);
                let row = if newer { fresh } else { old };
                InboxRow { first_seen_ms: first, last_seen_ms: last, state, state_changed_ms: since, ..row }
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
