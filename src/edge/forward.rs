//! The spool forwarder: publishes the spooled events in order, removes each group only after its confirm,
//! retries without limit, and warns before a limit of the spool is reached.

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

/// The limits of a group: its messages are published before their confirms are awaited.
const GROUP: BatchLimits = BatchLimits { size: 256, bytes: 4 << 20 };
/// When at most this many messages are left, new events wait at the gate until these are forwarded.
const MAX_LAST_MESSAGES: u64 = 64;
/// The longest time that new events wait at the gate.
const HANDOVER: Duration = Duration::from_secs(1);
/// How often to check whether a limit is near.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest time between two alarms.
const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// Forwards the spooled events, and raises the alarm, until `stop` is cancelled. Returns at once if there is
/// no spool.
///
/// # Errors
/// Fails with [`Broken`] if the spool writer has ended unexpectedly.
pub(super) async fn run(sink: &Sink, stop: &Shutdown) -> Result<(), Broken> {
    let Some(spool) = &sink.spool else { return Ok(()) };
    let forwarder = Forwarder {
        spool,
        sink,
        stop,
        delays: Delays::new(Duration::from_millis(100), Duration::from_secs(2)),
        logged_problem: None,
        group: GROUP,
    };
    tokio::select! {
        () = forwarder.run() => Ok(()),
        () = alarm(spool) => Ok(()),
        () = spool.wait_until_ended() => Err(Broken),
    }
}

/// The spool writer has failed, so nothing can be spooled.
#[derive(Debug)]
pub(super) struct Broken;

/// The closed gate: no event is accepted until this guard is dropped.
struct ClosedGate<'a> {
    _gate: RwLockWriteGuard<'a, ()>,
    until: Instant,
}

impl<'a> ClosedGate<'a> {
    /// Closes the gate. Returns `None` if the events that are inside do not leave in time.
    async fn close(gate: &'a RwLock<()>) -> Option<Self> {
        let closed = timeout(HANDOVER, gate.write()).await.ok()?;
        Some(Self { _gate: closed, until: Instant::now() + HANDOVER })
    }
}

/// Waits for the work. If the work takes longer than the gate may stay closed, opens the gate and continues
/// to wait.
async fn wait_behind<T>(gate: &mut Option<ClosedGate<'_>>, work: impl Future<Output = T>) -> T {
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
    logged_problem: Option<String>,
    group: BatchLimits,
}

impl Forwarder<'_> {
    async fn run(mut self) {
        let left = self.spool.level().messages;
        if left > 0 {
            tracing::info!(messages = left, "forwarding the events that were left in the spool");
        }
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.spool.wait_until_filled() => {}
            }
            let forwarded = self.drain().await;
            if self.stop.is_cancelled() {
                return;
            }
            tracing::info!(messages = forwarded, "the spool is empty: events go straight to the queue again");
        }
    }

    /// Forwards until the spool is empty or `stop` is cancelled. Returns the number of forwarded events.
    async fn drain(&mut self) -> usize {
        let (spool, mut forwarded, mut flows) = (self.spool, 0, false);
        while !spool.is_empty() && !self.stop.is_cancelled() {
            // No event may enter behind the last ones until they are forwarded.
            let last = flows && spool.level().messages <= MAX_LAST_MESSAGES;
            let mut gate = if last { ClosedGate::close(&self.sink.gate).await } else { None };
            let head = match wait_behind(&mut gate, spool.head(self.group)).await {
                Ok(head) => head,
                Err(error) => {
                    drop(gate);
                    self.log_and_wait("the spool cannot be read; trying again", error.to_string()).await;
                    continue;
                }
            };
            let messages: Vec<_> = head.iter().map(|spooled| spooled.message.clone()).collect();
            let span = trace::begin_forward(self.sink.destination(), &messages);
            crash_points::point("forwarding");
            let published = wait_behind(&mut gate, span.within(self.sink.publish(messages))).await;
            if published.is_err() {
                span.mark_failed("not_confirmed");
            }
            drop(span);
            flows = published.is_ok();
            match published {
                Ok(()) => forwarded += self.remove(&head, gate).await,
                Err(PublishError::Unfit(problem)) => {
                    drop(gate);
                    self.isolate_unfit(&head, &problem).await;
                }
                Err(error) => {
                    drop(gate);
                    self.log_and_wait("the queue does not confirm; trying again", error.to_string()).await;
                }
            }
        }
        forwarded
    }

    /// Removes the events that are in the queue now. Nothing else is forwarded until they are removed;
    /// after a crash in between they are published a second time.
    async fn remove(&mut self, head: &[Spooled], mut gate: Option<ClosedGate<'_>>) -> usize {
        let mut removed = wait_behind(&mut gate, self.spool.remove(head)).await;
        drop(gate);
        while let Err(error) = removed {
            if self.stop.is_cancelled() {
                return 0;
            }
            self.log_and_wait("forwarded events cannot be removed; trying again", error.to_string()).await;
            removed = self.spool.remove(head).await;
        }
        self.delays.reset();
        self.logged_problem = None;
        self.group.size = (head.len() * 2).clamp(1, GROUP.size);
        head.len()
    }

    /// Handles a group with an event that the broker will never accept: finds the event by halving the
    /// group, and sets it aside so that it does not delay the others.
    async fn isolate_unfit(&mut self, head: &[Spooled], problem: &str) {
        let [culprit] = head else {
            self.group.size = head.len() / 2;
            return;
        };
        self.group = GROUP;
        let event_id = culprit.message.message_id.as_deref().and_then(shown_id);
        tracing::error!(
            event_id,
            problem,
            "the broker does not accept an event as it is: it is set aside in the spool, and tried again at \
             the next start; raise the broker's limit"
        );
        if let Err(error) = self.spool.set_aside(culprit).await {
            self.log_and_wait("the event cannot be set aside; trying again", error.to_string()).await;
        }
    }

    /// Logs a problem once, and waits before the next attempt.
    async fn log_and_wait(&mut self, what: &'static str, problem: String) {
        if self.logged_problem.as_ref() != Some(&problem) {
            let messages = self.spool.level().messages;
            tracing::warn!(message = what, problem, messages);
            self.logged_problem = Some(problem);
        }
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(self.delays.next()) => {}
        }
    }
}

/// Warns, at most once per minute, when a limit of the spool is near or reached. Never completes.
async fn alarm(spool: &Spool) {
    let mut warned: Option<Instant> = None;
    loop {
        sleep(CHECK_INTERVAL).await;
        if warned.is_some_and(|warned| warned.elapsed() < ALARM_INTERVAL) {
            continue;
        }
        if let Some(refusal) = spool.refusal() {
            tracing::error!(
                problem = %refusal,
                "the spool accepts no events: they are refused while the queue is unavailable"
            );
            warned = Some(Instant::now());
        } else if let Some(problem) = nearly_full(spool) {
            tracing::warn!(
                problem,
                "the spool is nearly full: repair the connection to the queue, or make room"
            );
            warned = Some(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_work_keeps_the_gate_closed_only_briefly() {
        let gate = RwLock::new(());
        let mut closed = ClosedGate::close(&gate).await;
        let (finish, work) = tokio::sync::oneshot::channel();
        // The work does not end before another task has entered.
        let come_in = async {
            let _entry = gate.read().await;
            finish.send(())
        };
        let both = async { tokio::join!(wait_behind(&mut closed, work), come_in) };
        let done = timeout(HANDOVER * 20, both).await.map(|(done, _)| done.is_ok());
        assert_eq!(done, Ok(true), "the gate must be opened while the work goes on");
        let _inside = gate.read().await;
        assert!(ClosedGate::close(&gate).await.is_none(), "a task that stays inside must not be waited for");
    }
}
