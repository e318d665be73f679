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
    closed_by: ClosedBy,
    hold: Hold,
}

/// Why a batch has no more deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosedBy {
    /// It has as many as it may have.
    Size,
    /// The next one would have made it larger than it may be.
    Bytes,
    /// There were no more.
    Drained,
    /// This one, or the next, was handed out before, and is handled alone.
    Alone,
}

impl ClosedBy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Size, Self::Bytes, Self::Drained, Self::Alone];

    /// The name under which it is counted.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Bytes => "bytes",
            Self::Drained => "drained",
            Self::Alone => "alone",
        }
    }
}

pub(super) enum Hold {
    Amqp(AmqpHold),
    Embedded(EmbeddedHold),
}

/// How many deliveries of a batch ended how. Together they are all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// The places in the batch of those that are gone: done, retried or dead.
    pub gone: Vec<usize>,
}

impl Batch {
    pub(super) fn new(deliveries: Vec<Delivery>, closed_by: ClosedBy, hold: Hold) -> Self {
        Self { deliveries, closed_by, hold }
    }

    /// Why there are no more in it.
    pub fn closed_by(&self) -> ClosedBy {
        self.closed_by
    }

    /// What is in hand, in the order of arrival; at least one.
    pub fn deliveries(&self) -> &[Delivery] {
        &self.deliveries
    }

    /// Takes the deliveries out, for who keeps more with each of them; [`Batch::settle_taken`] settles them then.
    pub fn take(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
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
    pub async fn settle(mut self, mut dispositions: Vec<Disposition>) -> Result<Settled, QueueError> {
        let deliveries = self.take();
        dispositions.resize(deliveries.len(), Disposition::Release);
        self.settle_taken(&deliveries.iter().zip(&dispositions).collect::<Vec<_>>()).await
    }

    /// The same for the deliveries that were taken out: all of them, in their order.
    ///
    /// # Errors
    /// As [`Batch::settle`].
    pub async fn settle_taken(self, ends: &[(&Delivery, &Disposition)]) -> Result<Settled, QueueError> {
        match self.hold {
            Hold::Amqp(hold) => Ok(hold.settle(ends).await),
            Hold::Embedded(hold) => hold.settle(ends).await,
        }
    }
}
