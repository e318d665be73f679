//! Emptying the spool: in order, each group removed only after its confirm, for as long as it
//! takes. And the alarm, before a bound is reached.

use std::time::Duration;

use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::time::{Instant, sleep, timeout};

use super::sink::{Sink, nearly_full};
use crate::delay::Delays;
use crate::queue::{BatchLimits, PublishError, Publisher, Spool, Spooled};
use crate::shutdown::Shutdown;

/// What is published before the confirms are awaited.
const GROUP: BatchLimits = BatchLimits { size: 256, bytes: 4 << 20 };
/// So few are the last ones, which are forwarded while new events wait at the gate.
const LAST: u64 = 64;
/// How long they wait there at most.
const HANDOVER: Duration = Duration::from_secs(1);
/// How often to look whether a bound is near.
const LOOK: Duration = Duration::from_secs(1);
/// How often the alarm may say so.
const AGAIN: Duration = Duration::from_secs(60);

/// Forwards what is in the spool, and raises the alarm, until `stop`. Ends at once where there is
/// no spool.
pub(super) async fn run(sink: &Sink, stop: &Shutdown) {
    let Some(spool) = &sink.spool else { return };
    let forwarder = Forwarder {
        spool,
        publisher: &sink.publisher,
        gate: &sink.gate,
        stop,
        delays: Delays::new(Duration::from_millis(100), Duration::from_secs(2)),
        said: None,
        group: GROUP,
    };
    tokio::select! {
        () = forwarder.run() => {}
        () = alarm(spool) => {}
    }
}

struct Forwarder<'a> {
    spool: &'a Spool,
    publisher: &'a Publisher,
    gate: &'a RwLock<()>,
    stop: &'a Shutdown,
    delays: Delays,
    said: Option<String>,
    group: BatchLimits,
}

impl Forwarder<'_> {
    async fn run(mut self) {
        let left = self.spool.level().messages;
        if left > 0 {
            tracing::info!(messages = left, "forwarding what was left in the spool");
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.spool.filled() => {}
            }
            let forwarded = self.drain().await;
            if self.stop.is_cancelled() {
                return;
            }
            tracing::info!(messages = forwarded, "the spool is empty: events go straight to the queue again");
        }
    }

    /// Until nothing waits, or it is to stop. How many were forwarded.
    async fn drain(&mut self) -> usize {
        let (spool, mut forwarded, mut flows) = (self.spool, 0, false);
        while !spool.is_empty() && !self.stop.is_cancelled() {
            // The last ones: nobody may come behind them until they are forwarded.
            let last = flows && spool.level().messages <= LAST;
            let alone = if last { Some(self.gate.write().await) } else { None };
            let head = match spool.head(self.group).await {
                Ok(head) => head,
                Err(error) => {
                    drop(alone);
                    self.failed("the spool cannot be read; trying again", error.to_string()).await;
                    continue;
                }
            };
            let messages = head.iter().map(|spooled| spooled.message.clone()).collect();
            let publishing = self.publisher.publish(messages);
            let published = if last {
                timeout(HANDOVER, publishing).await.unwrap_or(Err(PublishError::Timeout))
            } else {
                publishing.await
            };
            flows = published.is_ok();
            match published {
                Ok(()) => forwarded += self.remove(&head, alone).await,
                Err(PublishError::Unfit(problem)) => {
                    drop(alone);
                    self.unfit(&head, &problem).await;
                }
                Err(error) => {
                    drop(alone);
                    self.failed("the queue does not confirm; trying again", error.to_string()).await;
                }
            }
        }
        forwarded
    }

    /// They are in the queue. Until they are out of the spool nothing else is forwarded; after a
    /// crash in between they come a second time.
    async fn remove(&mut self, head: &[Spooled], alone: Option<RwLockWriteGuard<'_, ()>>) -> usize {
        let mut removed = self.spool.remove(head).await;
        drop(alone);
        while let Err(error) = removed {
            if self.stop.is_cancelled() {
                return 0;
            }
            self.failed("what was forwarded cannot be removed; trying again", error.to_string()).await;
            removed = self.spool.remove(head).await;
        }
        self.delays.reset();
        self.said = None;
        self.group.size = (head.len() * 2).clamp(1, GROUP.size);
        head.len()
    }

    /// One of these will never be taken. The one at fault is found by halving; it must not keep
    /// the others waiting.
    async fn unfit(&mut self, head: &[Spooled], problem: &str) {
        let [culprit] = head else {
            self.group.size = head.len() / 2;
            return;
        };
        self.group = GROUP;
        let id = culprit.message.message_id.as_deref();
        tracing::error!(
            id,
            problem,
            "the broker does not take an event as it is: it is set aside in the spool, and tried again at \
             the next start; raise the broker's limit"
        );
        if let Err(error) = self.spool.set_aside(culprit).await {
            self.failed("it cannot be set aside; trying again", error.to_string()).await;
        }
    }

    /// Says so, once for each problem, and waits a little.
    async fn failed(&mut self, what: &str, problem: String) {
        if self.said.as_ref() != Some(&problem) {
            let messages = self.spool.level().messages;
            tracing::warn!(problem, messages, "{what}");
            self.said = Some(problem);
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(self.delays.next()) => {}
        }
    }
}

/// Says when a bound is near or reached, at most once a minute. Never completes.
async fn alarm(spool: &Spool) {
    let mut said: Option<Instant> = None;
    loop {
        sleep(LOOK).await;
        if said.is_some_and(|said| said.elapsed() < AGAIN) {
            continue;
        }
        if let Some(refusal) = spool.refusal() {
            tracing::error!(problem = %refusal, "the spool takes no events: they are refused while the queue is away");
            said = Some(Instant::now());
        } else if let Some(problem) = nearly_full(spool) {
            tracing::warn!(problem, "the spool is nearly full: mend the way to the queue, or make room");
            said = Some(Instant::now());
        }
    }
}
