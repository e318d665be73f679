//! Settles a batch that was delivered from the file, and renews its lease until then.

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
const LEASE_DURATION: Duration = Duration::from_secs(10);
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3);

/// Returns the end of a lease that starts or is renewed now, in ms since 1970.
pub(super) fn lease_end_ms() -> i64 {
    from_now_ms(LEASE_DURATION)
}

fn from_now_ms(after: Duration) -> i64 {
    now_ms().saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX))
}

/// Settles one batch. It is created before the messages are leased, so that a task that is cancelled at any
/// point leaves no lease behind.
pub(in crate::queue) struct EmbeddedSettler {
    queue: Embedded,
    pub(super) lease: String,
    pub(super) ids: Vec<i64>,
    renewal: JoinHandle<()>,
    /// Whether nothing has to be returned to the queue, because the batch was settled or nothing was leased.
    pub(super) is_finished: bool,
}

impl EmbeddedSettler {
    pub(super) fn new(queue: Embedded, lease: String) -> Self {
        let renewal = tokio::spawn(renew(queue.clone(), lease.clone()));
        Self { queue, lease, ids: Vec::new(), renewal, is_finished: false }
    }

    pub(in crate::queue) async fn settle(
        mut self,
        dispositions: &[(&Delivery, &Disposition)],
    ) -> Result<Settled, QueueError> {
        let file = &self.queue.0.file;
        let settled = file.write(async |db| self.write(db, dispositions).await).await;
        let settled = settled.map_err(|error| file.problem(&error))?;
        crash_points::point("after_ack");
        self.is_finished = true;
        if settled.acked < dispositions.len() {
            self.queue.notify();
        }
        Ok(settled)
    }

    /// Settles the whole batch in one transaction.
    async fn write(
        &self,
        db: &DatabaseTransaction,
        dispositions: &[(&Delivery, &Disposition)],
    ) -> Result<Settled, DbErr> {
        let leased: BTreeSet<i64> =
            rows::still_leased(db, &self.ids, &self.lease).await?.into_iter().collect();
        let (mut settled, mut to_delete, mut to_release) = (Settled::default(), Vec::new(), Vec::new());
        for (position, (id, (delivery, disposition))) in self.ids.iter().zip(dispositions).enumerate() {
            if !leased.contains(id) {
                settled.lost += 1;
                continue;
            }
            if **disposition != Disposition::Release {
                settled.removed.push(position);
            }
            match disposition {
                Disposition::Ack => to_delete.push(*id),
                Disposition::Release => to_release.push(*id),
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
        rows::delete(db, &to_delete).await?;
        rows::release(db, &self.lease, &to_release, false).await?;
        crash_points::point("before_ack");
        (settled.acked, settled.released) = (to_delete.len(), to_release.len());
        Ok(settled)
    }
}

impl Drop for EmbeddedSettler {
    /// Returns a batch that was dropped unsettled to the queue; this counts as a delivery.
    fn drop(&mut self) {
        self.renewal.abort();
        if self.is_finished {
            return;
        }
        let (queue, lease) = (self.queue.clone(), std::mem::take(&mut self.lease));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                // If this fails, the lease expires later.
                let released = queue.0.file.write(async |db| rows::release_all(db, &lease, true).await);
                if released.await.is_ok() {
                    queue.notify();
                }
            });
        }
    }
}

async fn renew(queue: Embedded, lease: String) {
    loop {
        tokio::time::sleep(RENEWAL_INTERVAL).await;
        let renewed = queue.0.file.write(async |db| rows::renew(db, &lease, lease_end_ms()).await);
        if let Err(error) = renewed.await {
            tracing::warn!(%error, "a lease in the queue file could not be renewed; trying again");
        }
    }
}
