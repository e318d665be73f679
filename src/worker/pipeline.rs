//! A pipeline: one consumer and its loop, which gathers, processes and settles batches.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::health::BatchProgress;
use super::hold::{self, Hold};
use super::run::Worker;
use crate::decide::{InFlight, Stage, begin_trace};
use crate::queue::{Batch, ClosedBy, Consumer, Delivery, Disposition, Gathered, QueueError, Settled};
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;

/// The time for which the next batch waits until this one is settled. After that, its retries and dead letters wait for
/// the broker in their own task; the prefetch limits the deliveries that they hold.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);

/// One pipeline.
pub(super) struct Pipeline {
    pub(super) number: usize,
    pub(super) worker: Worker,
    pub(super) consumer: Consumer,
    pub(super) progress: BatchProgress,
    pub(super) shutdown: Shutdown,
}

/// Whether a batch was settled. If not, because the database stayed unavailable or the queue failed, it is
/// delivered again.
type IsSettled = bool;

impl Pipeline {
    /// Runs until shutdown; the batches in progress are finished first.
    pub(super) async fn run(mut self) -> Result<(), QueueError> {
        let mut settling = JoinSet::new();
        while let Gathered::Batch(mut batch) = self.next_batch(&mut settling).await? {
            self.worker.tally.begin_batch();
            self.progress.begin_batch();
            let meters = &self.worker.processor.meters;
            meters.begin_batch(self.number, batch.deliveries(), batch.closed_by);
            let (count, drained) = (batch.deliveries().len(), batch.closed_by == ClosedBy::Drained);
            let mut flights: Vec<InFlight> = batch.take().into_iter().map(InFlight::new).collect();
            let span = begin_trace(self.consumer.destination(), &mut flights);
            let handled = span.instrument(self.handle(batch, flights, &mut settling)).await;
            drop(span);
            self.progress.end_batch();
            // Deliveries that were returned to the queue still wait there.
            let is_drained = drained && matches!(handled, Ok(true));
            meters.end_batch(self.number, count, is_drained);
            if !handled? {
                self.consumer.pause().await;
                self.worker.availability.wait(&self.worker.processor, &self.shutdown).await;
            }
        }
        while let Some(settled) = settling.join_next().await {
            result_of(settled)?;
        }
        Ok(())
    }

    /// Waits for the next batch, while earlier ones are settled.
    async fn next_batch(
        &mut self,
        settling: &mut JoinSet<Result<IsSettled, QueueError>>,
    ) -> Result<Gathered, QueueError> {
        loop {
            tokio::select! {
                biased;
                Some(settled) = settling.join_next() => result_of(settled).map(drop)?,
                gathered = self.consumer.next_batch(&self.shutdown, None) => return gathered,
            }
        }
    }

    /// Processes a batch and settles it, in `settling` if that takes long.
    async fn handle(
        &self,
        batch: Batch,
        mut flights: Vec<InFlight>,
        settling: &mut JoinSet<Result<IsSettled, QueueError>>,
    ) -> Result<IsSettled, QueueError> {
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
        let mut settled = Box::pin(settle(self.worker.clone(), batch, flights, is_decided));
        timeout(SETTLE_TIMEOUT, &mut settled).await.unwrap_or_else(|_| {
            settling.spawn(settled);
            Ok(is_decided)
        })
    }
}

/// Settles a batch. One that could not be decided has no dispositions, so it is returned to the queue.
async fn settle(
    worker: Worker,
    batch: Batch,
    mut flights: Vec<InFlight>,
    is_decided: bool,
) -> Result<IsSettled, QueueError> {
    let Worker { processor, tally, .. } = &worker;
    let (now_ms, meters) = (now_ms(), &processor.meters);
    if is_decided {
        flights.iter_mut().for_each(|flight| flight.finish(&processor.schedule, now_ms));
    }
    let settle = is_decided.then(|| Stage::begin(meters, "settle"));
    let settled = batch.settle_taken(&dispositions(&flights)).await;
    if let (Ok(settled), Some(settle)) = (&settled, settle) {
        settle.end();
        let Settled { acked, retried, dead, released, lost, .. } = *settled;
        tracing::debug!(acked, retried, dead, released, lost, "batch settled");
        let settled_flights = || settled.removed.iter().map(|index| &flights[*index]);
        meters.count_settled(settled_flights(), now_ms);
        tally.count_settled(settled_flights());
    }
    tally.end_batch();
    hold::ignore_unless_closed(settled.map(|_| is_decided))
}

/// Returns the result of a batch that was settled in its own task. A panic of the task goes on in the pipeline.
fn result_of(settled: Result<Result<IsSettled, QueueError>, JoinError>) -> Result<IsSettled, QueueError> {
    settled.unwrap_or_else(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_) => Ok(false),
    })
}

fn dispositions(flights: &[InFlight]) -> Vec<(&Delivery, &Disposition)> {
    flights.iter().map(|flight| (&flight.delivery, &flight.disposition)).collect()
}
