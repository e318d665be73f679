//! How many messages to ask for: a broker counts messages, but what they take up is bytes.

/// What a body may have before any was seen: as much as the edge takes by default.
const UNKNOWN: usize = 1 << 20;

/// The number of unacknowledged messages whose bodies stay within a budget, learned from the
/// bodies that come. It falls with the first one that is too large for it, and rises only after
/// as many as are ever asked for: a burst of large ones costs at most `most` bodies, once.
#[derive(Debug)]
pub(super) struct Window {
    most: u16,
    budget: usize,
    now: u16,
    /// Of those seen since the last change or the last full count.
    largest: usize,
    seen: u16,
}

impl Window {
    /// Never more than `most` messages, and not more than `budget` bytes of bodies.
    pub(super) fn new(most: u16, budget: usize) -> Self {
        let mut window = Self { most, budget, now: 1, largest: 0, seen: 0 };
        window.now = window.fitting(UNKNOWN);
        window
    }

    /// What to ask the broker for now.
    pub(super) fn prefetch(&self) -> u16 {
        self.now
    }

    /// Notes the body of a delivery.
    pub(super) fn note(&mut self, bytes: usize) {
        self.largest = self.largest.max(bytes);
        self.seen = self.seen.saturating_add(1);
        let fitting = self.fitting(self.largest);
        if fitting < self.now || self.seen >= self.most {
            // Every change costs a new subscription: a little more is not worth one.
            if fitting < self.now || fitting == self.most || fitting / 2 >= self.now {
                self.now = fitting;
            }
            (self.largest, self.seen) = (0, 0);
        }
    }

    fn fitting(&self, body: usize) -> u16 {
        u16::try_from(self.budget / body.max(1)).unwrap_or(u16::MAX).clamp(1, self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn it_begins_as_if_all_were_large_and_rises_when_a_full_count_was_small() {
        let mut window = Window::new(400, 16 * MIB);
        assert_eq!(window.prefetch(), 16);
        for _ in 0..399 {
            window.note(3000);
            assert_eq!(window.prefetch(), 16);
        }
        window.note(3000);
        assert_eq!(window.prefetch(), 400);
    }

    #[test]
    fn one_that_is_too_large_lowers_it_at_once_and_it_is_never_zero() {
        let mut window = Window::new(400, 16 * MIB);
        (0..400).for_each(|_| window.note(3000));
        window.note(2 * MIB);
        assert_eq!(window.prefetch(), 8);
        window.note(64 * MIB);
        assert_eq!(window.prefetch(), 1);
        (0..400).for_each(|_| window.note(MIB));
        assert_eq!(window.prefetch(), 16, "and rises again");
        assert_eq!(Window::new(4, 16 * MIB).prefetch(), 4, "never more than was asked for");
    }
}
