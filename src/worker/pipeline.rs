//! One consumer and its loop: gather, process, settle.

use std::sync::Arc;
use std::time::Duration;

use super::health::Part;
use super::hold::{self, Hold};
use super::tally::Tally;
use crate::decide::{BatchTrace, DeliveryResult, InFlight, Named, Processor, Stage};
use crate::queue::{Batch, ClosedBy, Consumer, Delivery, Disposition, Gathered, QueueError, Settled};
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::shown_id;

/// What one pipeline works with.
pub(super) struct Pipeline {
    pub(super) number: usize,
    pub(super) consumer: Consumer,
    pub(super) processor: Arc<Processor>,
    pub(super) tally: Tally,
    pub(super) part: Part,
    pub(super) hold: Duration,
    pub(super) shutdown: Shutdown,
}

impl Pipeline {
    /// Runs until asked to stop; what is in hand then is finished first.
    pub(super) async fn run(mut self) -> Result<(), QueueError> {
        while let Gathered::Batch(batch) = self.consumer.next_batch(&self.shutdown, None).await? {
            self.tally.batch_begins();
            self.part.begins();
            self.processor.meters.takes(self.number, &batch);
            let (count, drained) = (batch.deliveries().len(), batch.closed_by() == ClosedBy::Drained);
            let trace = BatchTrace::begin(self.consumer.destination(), batch.deliveries());
            let went_well = hold::unless_closed(trace.within(self.handle(batch, &trace)).await);
            drop(trace);
            self.part.ends();
            self.tally.batch_ends();
            // What was given back waits still.
            let is_all = drained && matches!(went_well, Ok(true));
            self.processor.meters.leaves(self.number, count, is_all);
            if !went_well? {
                self.consumer.pause().await;
                hold::until_back(&self.processor, &self.shutdown).await;
            }
        }
        Ok(())
    }

    /// Processes and settles one batch. False: the database stayed away, and it was given back.
    async fn handle(&self, batch: Batch, trace: &BatchTrace) -> Result<bool, QueueError> {
        crash_points::point("received");
        let (mut hold, meters) = (Hold::new(self.hold), &self.processor.meters);
        let mut flights = self.processor.read(batch.deliveries());
        trace.read(&flights);
        while let Err(away) = self.processor.decide_all(&mut flights, trace).await {
            meters.database(false);
            if !hold.wait(&away, &self.shutdown).await {
                let release = vec![Disposition::Release; batch.deliveries().len()];
                batch.settle(release).await?;
                return Ok(false);
            }
        }
        meters.database(true);
        trace.tell(&flights);
        let now_ms = now_ms();
        let named: Vec<Named> = flights.iter().map(|flight| flight.named).collect();
        let answers: Vec<_> = flights.into_iter().map(InFlight::finish).collect();
        let schedule = self.processor.schedule();
        let mut dispositions: Vec<Disposition> = batch
            .deliveries()
            .iter()
            .zip(&answers)
            .map(|(delivery, (kind, answer))| answer.disposition(delivery, kind.as_deref(), schedule, now_ms))
            .collect();
        let answers: Vec<DeliveryResult> = answers.into_iter().map(|(_, answer)| answer).collect();
        for (index, (delivery, answer)) in batch.deliveries().iter().zip(&answers).enumerate() {
            let _within = trace.message(index).enter();
            log(delivery, answer, &dispositions[index]);
            trace.answered(index, delivery, answer, &mut dispositions[index]);
        }
        let settle = Stage::begin(meters, "settle");
        let settled = batch.settle(dispositions.clone()).await?;
        settle.end();
        let Settled { acked, retried, dead, released, lost, .. } = settled;
        tracing::debug!(acked, retried, dead, released, lost, "batch settled");
        meters.settled(&named, &answers, &dispositions, &settled, now_ms);
        self.tally.settled(&answers, &dispositions, &settled);
        Ok(true)
    }
}

/// One line for an event that was not decided: what it was, and what becomes of it.
fn log(delivery: &Delivery, answer: &DeliveryResult, disposition: &Disposition) {
    let (DeliveryResult::Retry(reason, why) | DeliveryResult::Dead(reason, why)) = answer else { return };
    let (reason, attempt) = (reason.as_str(), delivery.attempt + 1);
    let event_id = delivery.message.message_id.as_deref().and_then(shown_id);
    match disposition {
        Disposition::Retry { after, .. } => {
            tracing::info!(event_id, reason, attempt, ?after, error = %why, "an event is tried again later");
        }
        _ => tracing::warn!(event_id, reason, attempt, error = %why, "an event became a dead letter"),
    }
}
