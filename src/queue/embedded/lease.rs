//! Holds the lease of a batch, which is renewed while the batch exists and ends with it.

use std::collections::BTreeSet;
use std::time::Duration;

use sea_orm::{DatabaseTransaction, DbErr};
use tokio::task::JoinHandle;

use super::{Embedded, rows};
use crate::queue::copies;
use crate::queue::{Delivery, Disposition, QueueError, Settled};
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;

/// After a crash, leased messages are delivered again within this time.
const LEASE_DURATION: Duration = Duration::from_secs(60);
const RENEWAL_INTERVAL: Duration = Duration::from_secs(20);

/// Returns the end of a lease that starts or is renewed now, in ms since 1970.
pub(super) fn until_ms() -> i64 {
    from_now_ms(LEASE_DURATION)
}

fn from_now_ms(after: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}

/// The right to settle one batch. It is created before the messages are leased, so that a task that is
/// cancelled at any moment does not leave a lease behind.
pub(in crate::queue) struct EmbeddedHold {
    queue: Embedded,
    pub(super) lease: String,
    pub(super) ids: Vec<i64>,
    renewal: JoinHandle<()>,
    /// Whether nothing has to be returned to the queue, because the batch was settled or nothing was leased.
    pub(super) over: bool,
}

impl EmbeddedHold {
    pub(super) fn new(queue: Embedded, lease: String) -> Self {
        let renewal = tokio::spawn(renew(queue.clone(), lease.clone()));
        Self { queue, lease, ids: Vec::new(), renewal, over: false }
    }

    pub(in crate::queue) async fn settle(
        mut self,
        ends: &[(&Delivery, &Disposition)],
    ) -> Result<Settled, QueueError> {
        let file = &self.queue.0.file;
        let settled = file.write(async |db| self.write(db, ends).await).await;
        let settled = settled.map_err(|error| file.problem(&error))?;
        crash_points::point("after_ack");
        self.over = true;
        if settled.acked < ends.len() {
            self.queue.notify();
        }
        Ok(settled)
    }

    /// Settles everything in one transaction: a retry and the end of its original are one step.
    async fn write(
        &self,
        db: &DatabaseTransaction,
        ends: &[(&Delivery, &Disposition)],
    ) -> Result<Settled, DbErr> {
        let ours: BTreeSet<i64> = rows::still_leased(db, &self.ids, &self.lease).await?.into_iter().collect();
        let (mut settled, mut done, mut back) = (Settled::default(), Vec::new(), Vec::new());
        for (place, (id, (delivery, disposition))) in self.ids.iter().zip(ends).enumerate() {
            if !ours.contains(id) {
                settled.lost += 1;
                continue;
            }
            if **disposition != Disposition::Release {
                settled.gone.push(place);
            }
            match disposition {
                Disposition::Ack => done.push(*id),
                Disposition::Release => back.push(*id),
                Disposition::Retry { after, counts, headers } => {
                    let due_ms = from_now_ms(*after);
                    rows::retry(db, *id, &copies::retry_copy(delivery, *counts, headers).headers, due_ms)
                        .await?;
                    settled.retried += 1;
                }
                Disposition::DeadLetter { headers } => {
                    rows::move_to_dead_letters(db, *id, &copies::dead_letter_copy(delivery, headers).headers)
                        .await?;
                    settled.dead += 1;
                }
            }
        }
        rows::delete(db, &done).await?;
        rows::release(db, &self.lease, &back, false).await?;
        crash_points::point("before_ack");
        (settled.acked, settled.released) = (done.len(), back.len());
        Ok(settled)
    }
}

impl Drop for EmbeddedHold {
    /// Returns a batch that was dropped unsettled to the queue; this counts as a delivery.
    fn drop(&mut self) {
        self.renewal.abort();
        if self.over {
            return;
        }
        let (queue, lease) = (self.queue.clone(), std::mem::take(&mut self.lease));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // If this fails, the lease expires.
                let given_back = queue.0.file.write(async |db| rows::release_all(db, &lease, true).await);
                if given_back.await.is_ok() {
                    queue.notify();
                }
            });
        }
    }
}

async fn renew(queue: Embedded, lease: String) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        let renewed = queue.0.file.write(async |db| rows::renew(db, &lease, until_ms()).await);
        if let Err(error) = renewed.await {
            tracing::warn!(%error, "a lease in the queue file could not be renewed; trying again");
        }
    }
}
