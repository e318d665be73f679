//! A pipeline: one consumer and its loop, which gathers, processes and settles batches.

use super::health::BatchProgress;
use super::hold::{self, Hold};
use super::run::Worker;
use crate::decide::{InFlight, Stage, begin_trace};
use crate::queue::{Batch, ClosedBy, Consumer, Delivery, Disposition, Gathered, QueueError, Settled};
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;

/// One pipeline.
pub(super) struct Pipeline {
    pub(super) number: usize,
    pub(super) worker: Worker,
    pub(super) consumer: Consumer,
    pub(super) progress: BatchProgress,
    pub(super) shutdown: Shutdown,
}

impl Pipeline {
    /// Runs until shutdown; a batch in progress is finished first.
    pub(super) async fn run(mut self) -> Result<(), QueueError> {
        while let Gathered::Batch(mut batch) = self.consumer.next_batch(&self.shutdown, None).await? {
            self.worker.tally.begin_batch();
            self.progress.begin_batch();
            let meters = &self.worker.processor.meters;
            meters.begin_batch(self.number, batch.deliveries(), batch.closed_by);
            let (count, drained) = (batch.deliveries().len(), batch.closed_by == ClosedBy::Drained);
            let mut flights: Vec<InFlight> = batch.take().into_iter().map(InFlight::new).collect();
            let span = begin_trace(self.consumer.destination(), &mut flights);
            let settled = hold::ignore_unless_closed(span.instrument(self.handle(batch, flights)).await);
            drop(span);
            self.progress.end_batch();
            self.worker.tally.end_batch();
            // Deliveries that were returned to the queue still wait there.
            let is_drained = drained && matches!(settled, Ok(true));
            meters.end_batch(self.number, count, is_drained);
            if !settled? {
                self.consumer.pause().await;
                self.worker.availability.wait(&self.worker.processor, &self.shutdown).await;
            }
        }
        Ok(())
    }

    /// Processes and settles one batch. Returns false if the database stayed unavailable and the batch was
    /// returned to the queue.
    async fn handle(&self, batch: Batch, mut flights: Vec<InFlight>) -> Result<bool, QueueError> {
        crash_points::point("received");
        let Worker { config, processor, availability, backlog, .. } = &self.worker;
        let mut hold = Hold::new(config.worker.hold);
        processor.read(&mut flights);
        let is_decided = loop {
            let decided = processor.decide_all(&mut flights).await;
            availability.set(decided.is_ok());
            processor.meters.set_database_up(decided.is_ok());
            match decided {
                Ok(()) => break true,
                Err(error) if hold.wait(&error, &self.shutdown).await => {}
                Err(_) => break false,
            }
        };
        if flights.iter().any(|flight| flight.more_waiting) {
            backlog.mark_pending();
        }
        if is_decided {
            self.settle(batch, flights).await?;
        } else {
            // The deliveries have no disposition, so they are returned to the queue.
            batch.settle_taken(&dispositions(&flights)).await?;
        }
        Ok(is_decided)
    }

    async fn settle(&self, batch: Batch, mut flights: Vec<InFlight>) -> Result<(), QueueError> {
        let Worker { processor, tally, .. } = &self.worker;
        let (now_ms, meters) = (now_ms(), &processor.meters);
        flights.iter_mut().for_each(|flight| flight.finish(&processor.schedule, now_ms));
        let settle = Stage::begin(meters, "settle");
        let settled = batch.settle_taken(&dispositions(&flights)).await?;
        settle.end();
        let Settled { acked, retried, dead, released, lost, .. } = settled;
        tracing::debug!(acked, retried, dead, released, lost, "batch settled");
        let settled_flights = || settled.removed.iter().map(|index| &flights[*index]);
        meters.count_settled(settled_flights(), now_ms);
        tally.count_settled(settled_flights());
        Ok(())
    }
}

fn dispositions(flights: &[InFlight]) -> Vec<(&Delivery, &Disposition)> {
    flights.iter().map(|flight| (&flight.delivery, &flight.disposition)).collect()
}
