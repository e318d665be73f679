//! Emptying the spool: in order, each group removed only after its confirm, for as long as it
//! takes. And the alarm, before a bound is reached.

use std::pin::pin;
use std::time::Duration;

use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::sink::{Sink, nearly_full};
use super::trace;
use crate::queue::{BatchLimits, PublishError, Spool, Spooled};
use crate::runtime::backoff::Delays;
use crate::runtime::crash_points;
use crate::runtime::shutdown::Shutdown;
use crate::telemetry::shown_id;

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
///
/// # Errors
/// [`Broken`], when the spool has ended by itself.
pub(super) async fn run(sink: &Sink, stop: &Shutdown) -> Result<(), Broken> {
    let Some(spool) = &sink.spool else { return Ok(()) };
    let forwarder = Forwarder {
        spool,
        sink,
        stop,
        delays: Delays::new(Duration::from_millis(100), Duration::from_secs(2)),
        said: None,
        group: GROUP,
    };
    tokio::select! {
        () = forwarder.run() => Ok(()),
        () = alarm(spool) => Ok(()),
        () = spool.ended() => Err(Broken),
    }
}

/// The one who writes into the spool has failed, and nobody does it any more.
#[derive(Debug)]
pub(super) struct Broken;

/// The gate, closed: nobody comes in until this is dropped, which is soon.
struct Closed<'a> {
    _gate: RwLockWriteGuard<'a, ()>,
    until: Instant,
}

impl<'a> Closed<'a> {
    /// Closes it, unless those who are inside do not come out.
    async fn now(gate: &'a RwLock<()>) -> Option<Self> {
        let closed = timeout(HANDOVER, gate.write()).await.ok()?;
        Some(Self { _gate: closed, until: Instant::now() + HANDOVER })
    }
}

/// Waits for the work, and behind the gate for no longer than it may be closed: then it is opened.
async fn behind<T>(gate: &mut Option<Closed<'_>>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    if let Some(closed) = gate {
        if let Ok(done) = timeout_at(closed.until, &mut work).await {
            return done;
        }
        *gate = None;
    }
    work.await
}

struct Forwarder<'a> {
    spool: &'a Spool,
    sink: &'a Sink,
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
            let mut gate = if last { Closed::now(&self.sink.gate).await } else { None };
            let head = match behind(&mut gate, spool.head(self.group)).await {
                Ok(head) => head,
                Err(error) => {
                    drop(gate);
                    self.failed("the spool cannot be read; trying again", error.to_string()).await;
                    continue;
                }
            };
            let messages: Vec<_> = head.iter().map(|spooled| spooled.message.clone()).collect();
            let span = trace::forwarding(self.sink.destination(), &messages);
            crash_points::point("forwarding");
            let published = behind(&mut gate, span.within(self.sink.publish(messages))).await;
            if published.is_err() {
                span.failed("not_confirmed");
            }
            drop(span);
            flows = published.is_ok();
            match published {
                Ok(()) => forwarded += self.remove(&head, gate).await,
                Err(PublishError::Unfit(problem)) => {
                    drop(gate);
                    self.unfit(&head, &problem).await;
                }
                Err(error) => {
                    drop(gate);
                    self.failed("the queue does not confirm; trying again", error.to_string()).await;
                }
            }
        }
        forwarded
    }

    /// They are in the queue. Until they are out of the spool nothing else is forwarded; after a
    /// crash in between they come a second time.
    async fn remove(&mut self, head: &[Spooled], mut gate: Option<Closed<'_>>) -> usize {
        let mut removed = behind(&mut gate, self.spool.remove(head)).await;
        drop(gate);
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
        let event_id = culprit.message.message_id.as_deref().and_then(shown_id);
        tracing::error!(
            event_id,
            problem,
            "the broker does not take an event as it is: it is set aside in the spool, and tried again at \
             the next start; raise the broker's limit"
        );
        if let Err(error) = self.spool.set_aside(culprit).await {
            self.failed("it cannot be set aside; trying again", error.to_string()).await;
        }
    }

    /// Says so, once for each problem, and waits a little.
    async fn failed(&mut self, what: &'static str, problem: String) {
        if self.said.as_ref() != Some(&problem) {
            let messages = self.spool.level().messages;
            tracing::warn!(message = what, problem, messages);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_takes_long_keeps_the_gate_closed_for_a_moment_only() {
        let gate = RwLock::new(());
        let mut closed = Closed::now(&gate).await;
        let (finish, work) = tokio::sync::oneshot::channel();
        // The work does not end before somebody has come in.
        let come_in = async {
            let _entry = gate.read().await;
            finish.send(())
        };
        let both = async { tokio::join!(behind(&mut closed, work), come_in) };
        let done = timeout(HANDOVER * 20, both).await.map(|(done, _)| done.is_ok());
        assert_eq!(done, Ok(true), "the gate stays closed");
        let _inside = gate.read().await;
        assert!(Closed::now(&gate).await.is_none(), "somebody who does not come out is not waited for");
    }
}
