//! What one consumer has in hand, and the end of it.

use super::amqp::AmqpHold;
use super::embedded::EmbeddedHold;
use super::{Delivery, Disposition, QueueError};

/// Deliveries that were taken together and are settled together.
///
/// Dropped without being settled, it is given back and comes again, and that counts as a
/// delivery: whoever dropped it may have crashed on it.
pub struct Batch {
    deliveries: Vec<Delivery>,
    hold: Hold,
}

pub(super) enum Hold {
    Amqp(AmqpHold),
    Embedded(EmbeddedHold),
}

/// How many deliveries of a batch ended how. Together they are all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// Done and gone.
    pub acked: usize,
    /// Accepted for another attempt.
    pub retried: usize,
    /// Accepted among the dead letters.
    pub dead: usize,
    /// Given back: as asked, or because its copy could not be published.
    pub released: usize,
    /// No longer ours (a lost connection, an expired lease): they come again.
    pub lost: usize,
}

impl Batch {
    pub(super) fn new(deliveries: Vec<Delivery>, hold: Hold) -> Self {
        Self { deliveries, hold }
    }

    /// What is in hand, in the order of arrival; at least one.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Does what the dispositions say, one for each delivery, in order.
    ///
    /// Copies (retries, dead letters) are published and confirmed first; only then are their
    /// originals acknowledged. While copies cannot be published this waits and tries again, for
    /// up to ten minutes, so that an outage costs no delivery; then it gives them back. Give it a
    /// deadline of your own when stopping: dropped half-way it loses nothing.
    ///
    /// A delivery without a disposition is released.
    ///
    /// # Errors
    /// When the local file cannot be written; nothing is settled then and all of it comes again.
    pub async fn settle(self, mut dispositions: Vec<Disposition>) -> Result<Settled, QueueError> {
        dispositions.resize(self.deliveries.len(), Disposition::Release);
        match self.hold {
            Hold::Amqp(hold) => Ok(hold.settle(&self.deliveries, &dispositions).await),
            Hold::Embedded(hold) => hold.settle(&self.deliveries, &dispositions).await,
        }
    }
}
