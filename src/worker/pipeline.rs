//! One consumer and its loop: gather, process, settle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::hold::{self, Hold};
use super::metrics::Named;
use super::processor::{Processor, Slot};
use super::tally::Tally;
use crate::clock::now_ms;
use crate::crash;
use crate::queue::{Batch, ClosedBy, Consumer, Delivery, Disposition, Gathered, QueueError};
use crate::shutdown::Shutdown;

/// What one pipeline works with.
pub(super) struct Pipeline {
    pub(super) number: usize,
    pub(super) consumer: Consumer,
    pub(super) processor: Arc<Processor>,
    pub(super) tally: Tally,
    pub(super) hold: Duration,
    pub(super) shutdown: Shutdown,
}

impl Pipeline {
    /// Runs until asked to stop; what is in hand then is finished first.
    pub(super) async fn run(mut self) -> Result<(), QueueError> {
        while let Gathered::Batch(batch) = self.consumer.next_batch(&self.shutdown, None).await? {
            self.tally.batch_begins();
            self.processor.meters.takes(self.number, &batch);
            let (count, drained) = (batch.deliveries().len(), batch.closed_by() == ClosedBy::Drained);
            let went_well = hold::unless_closed(self.handle(batch).await);
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
    async fn handle(&self, batch: Batch) -> Result<bool, QueueError> {
        crash::point("received");
        let (mut hold, meters) = (Hold::new(self.hold), &self.processor.meters);
        let mut slots = self.processor.read(batch.deliveries());
        while let Err(away) = self.processor.decide_all(&mut slots).await {
            meters.database(false);
            if !hold.wait(&away, &self.shutdown).await {
                let release = vec![Disposition::Release; batch.deliveries().len()];
                batch.settle(release).await?;
                return Ok(false);
            }
        }
        meters.database(true);
        let now_ms = now_ms();
        let named: Vec<Named> = slots.iter().map(|slot| slot.named).collect();
        let answers: Vec<_> = slots.into_iter().map(Slot::finish).collect();
        let schedule = self.processor.schedule();
        let dispositions: Vec<Disposition> = batch
            .deliveries()
            .iter()
            .zip(&answers)
            .map(|(delivery, (kind, answer))| answer.disposition(delivery, kind.as_deref(), schedule, now_ms))
            .collect();
        let answers: Vec<Answer> = answers.into_iter().map(|(_, answer)| answer).collect();
        for ((delivery, answer), disposition) in batch.deliveries().iter().zip(&answers).zip(&dispositions) {
            log(delivery, answer, disposition);
        }
        let begun = Instant::now();
        let settled = batch.settle(dispositions.clone()).await?;
        tracing::debug!(?settled, "batch settled");
        meters.stage("settle", begun.elapsed());
        meters.settled(&named, &answers, &dispositions, &settled, now_ms);
        self.tally.settled(&answers, &dispositions, &settled);
        Ok(true)
    }
}

/// One line for an event that was not decided: what it was, and what becomes of it.
fn log(delivery: &Delivery, answer: &Answer, disposition: &Disposition) {
    let (Answer::Again(reason, why) | Answer::Dead(reason, why)) = answer else { return };
    let (reason, attempt) = (reason.as_str(), delivery.attempt + 1);
    // Only of a shape that ids have: it is the sender's text.
    let is_id =
        |id: &&str| id.len() <= 80 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:.".contains(&b));
    let event_id = delivery.message.message_id.as_deref().filter(is_id);
    match disposition {
        Disposition::Retry { after, .. } => {
            tracing::info!(event_id, reason, attempt, ?after, error = %why, "an event is tried again later");
        }
        _ => tracing::warn!(event_id, reason, attempt, error = %why, "an event became a dead letter"),
    }
}
