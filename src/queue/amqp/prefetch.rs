//! How many messages to ask for: a broker counts messages, but what they take up is bytes.

/// What a body may have before any was seen: as much as the edge takes by default.
const UNKNOWN: usize = 1 << 20;

/// The first time it rises after twice as many bodies as are asked for, and so many times as high. That
/// costs a new subscription; small batches until there were `most` bodies would cost far more.
const STEP: u16 = 8;

/// The number of unacknowledged messages whose bodies stay within a budget, learned from the
/// bodies that come. It falls with the first one that is too large for it. But for a first step it rises
/// only when `most` in a row were small: then large ones that follow cost up to `most` bodies, each time.
#[derive(Debug)]
pub(super) struct Window {
    most: u16,
    budget: usize,
    now: u16,
    /// Of those seen since the last change or the last full count.
    largest: usize,
    seen: u16,
    /// It has risen or fallen before.
    has_changed: bool,
}

impl Window {
    /// Never more than `most` messages, and not more than `budget` bytes of bodies.
    pub(super) fn new(most: u16, budget: usize) -> Self {
        let mut window = Self { most, budget, now: 1, largest: 0, seen: 0, has_changed: false };
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
        let (enough, next) = match self.has_changed {
            true => (self.most, fitting),
            false => (self.now.saturating_mul(2).min(self.most), fitting.min(self.now.saturating_mul(STEP))),
        };
        if fitting < self.now || self.seen >= enough {
            // Every change costs a new subscription: a little more is not worth one.
            if next < self.now || next == self.most || next / 2 >= self.now {
                self.has_changed |= next != self.now;
                self.now = next;
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
    fn it_begins_as_if_all_were_large_and_rises_in_two_steps_while_all_are_small() {
        let mut window = Window::new(400, 16 * MIB);
        for (now, bodies) in [(16, 32), (128, 400), (400, 1000)] {
            for _ in 0..bodies {
                assert_eq!(window.prefetch(), now);
                window.note(3000);
            }
        }
        assert_eq!(window.prefetch(), 400);
    }

    #[test]
    fn after_a_large_one_it_rises_only_when_a_full_count_was_small() {
        let mut window = Window::new(400, 16 * MIB);
        (0..40).for_each(|_| window.note(3000));
        window.note(MIB);
        for _ in 0..400 {
            assert_eq!(window.prefetch(), 16);
            window.note(3000);
        }
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
