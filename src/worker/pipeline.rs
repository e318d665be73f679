//! One consumer and its loop: gather, process, settle.

use std::sync::Arc;
use std::time::Duration;

use super::health::Part;
use super::hold::{self, Availability, Hold};
use super::housekeeping::Backlog;
use super::tally::Tally;
use crate::decide::{InFlight, Processor, Stage, begin_trace};
use crate::queue::{Batch, ClosedBy, Consumer, Delivery, Disposition, Gathered, QueueError, Settled};
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;

/// What one pipeline works with.
pub(super) struct Pipeline {
    pub(super) number: usize,
    pub(super) consumer: Consumer,
    pub(super) processor: Arc<Processor>,
    pub(super) availability: Availability,
    pub(super) backlog: Backlog,
    pub(super) tally: Tally,
    pub(super) part: Part,
    pub(super) hold: Duration,
    pub(super) shutdown: Shutdown,
}

impl Pipeline {
    /// Runs until asked to stop; what is in hand then is finished first.
    pub(super) async fn run(mut self) -> Result<(), QueueError> {
        while let Gathered::Batch(mut batch) = self.consumer.next_batch(&self.shutdown, None).await? {
            self.tally.batch_begins();
            self.part.begins();
            let meters = self.processor.meters();
            meters.takes(self.number, batch.deliveries(), batch.closed_by());
            let (count, drained) = (batch.deliveries().len(), batch.closed_by() == ClosedBy::Drained);
            let mut flights: Vec<InFlight> = batch.take().into_iter().map(InFlight::new).collect();
            let span = begin_trace(self.consumer.destination(), &mut flights);
            let settled = hold::ignore_unless_closed(span.within(self.handle(batch, flights)).await);
            drop(span);
            self.part.ends();
            self.tally.batch_ends();
            // What was given back waits still.
            let is_all = drained && matches!(settled, Ok(true));
            meters.leaves(self.number, count, is_all);
            if !settled? {
                self.consumer.pause().await;
                self.availability.wait(&self.processor, &self.shutdown).await;
            }
        }
        Ok(())
    }

    /// Processes and settles one batch. False: the database stayed away, and it was given back.
    async fn handle(&self, batch: Batch, mut flights: Vec<InFlight>) -> Result<bool, QueueError> {
        crash_points::point("received");
        let mut hold = Hold::new(self.hold);
        self.processor.read(&mut flights);
        let is_decided = loop {
            let decided = self.processor.decide_all(&mut flights).await;
            self.availability.set(decided.is_ok());
            self.processor.meters().database(decided.is_ok());
            match decided {
                Ok(()) => break true,
                Err(away) if hold.wait(&away, &self.shutdown).await => {}
                Err(_) => break false,
            }
        };
        if flights.iter().any(|flight| flight.more_waiting) {
            self.backlog.grows();
        }
        if is_decided {
            self.settle(batch, flights).await?;
        } else {
            // Nothing is to become of them: they are given back.
            batch.settle_taken(&ends(&flights)).await?;
        }
        Ok(is_decided)
    }

    async fn settle(&self, batch: Batch, mut flights: Vec<InFlight>) -> Result<(), QueueError> {
        let (now_ms, meters) = (now_ms(), self.processor.meters());
        flights.iter_mut().for_each(|flight| flight.finish(self.processor.schedule(), now_ms));
        let settle = Stage::begin(meters, "settle");
        let settled = batch.settle_taken(&ends(&flights)).await?;
        settle.end();
        let Settled { acked, retried, dead, released, lost, .. } = settled;
        tracing::debug!(acked, retried, dead, released, lost, "batch settled");
        let gone = || settled.gone.iter().map(|place| &flights[*place]);
        meters.settled(gone(), now_ms);
        self.tally.settled(gone());
        Ok(())
    }
}

fn ends(flights: &[InFlight]) -> Vec<(&Delivery, &Disposition)> {
    flights.iter().map(|flight| (&flight.delivery, &flight.disposition)).collect()
}
