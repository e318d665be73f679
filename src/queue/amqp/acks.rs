//! Which acknowledgements can be made in one: a pure calculation over delivery tags.

use std::collections::BTreeSet;

/// The delivery tags of one channel that are settled. Tags count from 1 without gaps.
#[derive(Debug)]
pub(super) struct Acks {
    /// The lowest tag that is not settled.
    floor: u64,
    /// Settled tags above the floor.
    settled: BTreeSet<u64>,
    /// The highest tag that was taken.
    taken: u64,
}

impl Default for Acks {
    fn default() -> Self {
        Self { floor: 1, settled: BTreeSet::new(), taken: 0 }
    }
}

impl Acks {
    /// The highest of `tags` up to which everything on this channel is either settled or among
    /// `tags`: acknowledging it with `multiple` acknowledges nothing that somebody still holds.
    pub(super) fn all_up_to(&self, tags: &[u64]) -> Option<u64> {
        let wanted: BTreeSet<u64> = tags.iter().copied().collect();
        let mut next = self.floor;
        let mut highest = None;
        while wanted.contains(&next) || self.settled.contains(&next) {
            if wanted.contains(&next) {
                highest = Some(next);
            }
            next += 1;
        }
        highest
    }

    /// Notes a tag as taken. They are taken in order.
    pub(super) fn take(&mut self, tag: u64) {
        self.taken = tag;
    }

    /// Whether anything that was taken is not settled yet.
    pub(super) fn is_in_hand(&self) -> bool {
        self.taken >= self.floor
    }

    /// Whether a tag was settled before.
    pub(super) fn is_settled(&self, tag: u64) -> bool {
        tag < self.floor || self.settled.contains(&tag)
    }

    /// Notes tags as settled, in whatever way.
    pub(super) fn settle(&mut self, tags: impl IntoIterator<Item = u64>) {
        self.settled.extend(tags.into_iter().filter(|tag| *tag >= self.floor));
        while self.settled.remove(&self.floor) {
            self.floor += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_acknowledgement_never_covers_what_somebody_else_holds() {
        let mut acks = Acks::default();
        assert_eq!(acks.all_up_to(&[1, 2, 3]), Some(3));
        assert_eq!(acks.all_up_to(&[1, 2, 4]), Some(2), "3 is in another's hand");
        assert_eq!(acks.all_up_to(&[2, 3]), None, "1 is in another's hand");
        acks.settle([2, 3]);
        assert_eq!(acks.all_up_to(&[1, 4]), Some(4), "2 and 3 are settled already");
        acks.settle([1]);
        assert_eq!(acks.floor, 4);
        assert!(acks.settled.is_empty(), "what is below the floor is not kept");
    }

    #[test]
    fn what_was_taken_is_in_hand_until_all_of_it_is_settled() {
        let mut acks = Acks::default();
        assert!(!acks.is_in_hand());
        (1..=3).for_each(|tag| acks.take(tag));
        acks.settle([1, 3]);
        assert!(acks.is_in_hand());
        acks.settle([2]);
        assert!(!acks.is_in_hand());
    }
}
