//! Tracks which deliveries of a channel are settled.

use std::collections::BTreeSet;

/// Tracks which delivery tags of one channel are settled. Tags count from 1 without gaps.
#[derive(Debug)]
pub(super) struct DeliveryTags {
    /// The lowest tag that is not settled.
    lowest_unsettled: u64,
    /// Settled tags above `lowest_unsettled`.
    settled: BTreeSet<u64>,
    /// The highest tag that was delivered.
    highest_delivered: u64,
}

impl Default for DeliveryTags {
    fn default() -> Self {
        Self { lowest_unsettled: 1, settled: BTreeSet::new(), highest_delivered: 0 }
    }
}

impl DeliveryTags {
    /// Returns the highest of `tags` up to which every tag of this channel is either settled or in `tags`.
    /// Acknowledging it with `multiple` acknowledges no unsettled delivery of another batch.
    pub(super) fn highest_contiguous(&self, tags: &[u64]) -> Option<u64> {
        let own: BTreeSet<u64> = tags.iter().copied().collect();
        let mut next = self.lowest_unsettled;
        let mut highest = None;
        while own.contains(&next) || self.settled.contains(&next) {
            if own.contains(&next) {
                highest = Some(next);
            }
            next += 1;
        }
        highest
    }

    /// Records a tag as delivered. Tags arrive in order.
    pub(super) fn record_delivery(&mut self, tag: u64) {
        self.highest_delivered = tag;
    }

    /// Returns whether any delivered tag is not settled yet.
    pub(super) fn has_unsettled(&self) -> bool {
        self.highest_delivered >= self.lowest_unsettled
    }

    /// Returns whether a tag is settled.
    pub(super) fn is_settled(&self, tag: u64) -> bool {
        tag < self.lowest_unsettled || self.settled.contains(&tag)
    }

    /// Records tags as settled: acknowledged, rejected or returned.
    pub(super) fn settle(&mut self, tags: impl IntoIterator<Item = u64>) {
        self.settled.extend(tags.into_iter().filter(|tag| *tag >= self.lowest_unsettled));
        while self.settled.remove(&self.lowest_unsettled) {
            self.lowest_unsettled += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_acknowledgement_never_covers_an_unsettled_tag_of_another_batch() {
        let mut tags = DeliveryTags::default();
        assert_eq!(tags.highest_contiguous(&[1, 2, 3]), Some(3));
        assert_eq!(tags.highest_contiguous(&[1, 2, 4]), Some(2), "another batch holds 3");
        assert_eq!(tags.highest_contiguous(&[2, 3]), None, "another batch holds 1");
        tags.settle([2, 3]);
        assert_eq!(tags.highest_contiguous(&[1, 4]), Some(4), "2 and 3 are already settled");
        tags.settle([1]);
        assert_eq!(tags.lowest_unsettled, 4);
        assert!(tags.settled.is_empty(), "settled tags below the lowest unsettled one are not kept");
    }

    #[test]
    fn a_channel_has_unsettled_tags_until_all_are_settled() {
        let mut tags = DeliveryTags::default();
        assert!(!tags.has_unsettled());
        (1..=3).for_each(|tag| tags.record_delivery(tag));
        tags.settle([1, 3]);
        assert!(tags.has_unsettled());
        tags.settle([2]);
        assert!(!tags.has_unsettled());
    }
}
