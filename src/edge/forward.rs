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
use crate::telemetry::loggable_id;

/// The limits of a group of messages, which are all published before their confirms are awaited.
const GROUP: BatchLimits = BatchLimits { size: 256, bytes: 4 << 20 };
/// When at most this many messages remain, new events wait at the gate until these are forwarded.
const CLOSE_GATE_AT: u64 = 64;
/// The longest time that new events wait at the gate.
const MAX_GATE_WAIT: Duration = Duration::from_secs(1);
/// How often to check whether a limit is near.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest time between two warnings.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Forwards the spooled events, and warns about the limits of the spool, until `stop` is cancelled. Returns at
/// once if there is no spool.
///
/// # Errors
/// Fails with [`WriterFailed`] if the spool writer has ended unexpectedly.
pub(super) async fn run(sink: &Sink, stop: &Shutdown) -> Result<(), WriterFailed> {
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
        () = warn_about_limits(spool) => Ok(()),
        () = spool.wait_until_ended() => Err(WriterFailed),
    }
}

/// The spool writer has failed, so no event can be spooled.
#[derive(Debug)]
pub(super) struct WriterFailed;

/// The closed gate: no event is accepted until this guard is dropped.
struct ClosedGate<'a> {
    _gate: RwLockWriteGuard<'a, ()>,
    until: Instant,
}

impl<'a> ClosedGate<'a> {
    /// Closes the gate. Returns `None` if the requests that have passed it do not finish in time.
    async fn close(gate: &'a RwLock<()>) -> Option<Self> {
        let closed = timeout(MAX_GATE_WAIT, gate.write()).await.ok()?;
        Some(Self { _gate: closed, until: Instant::now() + MAX_GATE_WAIT })
    }
}

/// Waits for the work. If the work takes longer than the gate may stay closed, opens the gate and continues
/// to wait.
async fn await_with_gate<T>(gate: &mut Option<ClosedGate<'_>>, work: impl Future<Output = T>) -> T {
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
        let messages = self.spool.level().messages;
        if messages > 0 {
            tracing::info!(messages, "forwarding the events that were left in the spool");
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
        let (spool, mut forwarded, mut is_confirming) = (self.spool, 0, false);
        while !spool.is_empty() && !self.stop.is_cancelled() {
            // New events wait while the last ones are forwarded; otherwise the spool might never become empty.
            let is_nearly_empty = is_confirming && spool.level().messages <= CLOSE_GATE_AT;
            let mut gate = if is_nearly_empty { ClosedGate::close(&self.sink.gate).await } else { None };
            let head = match await_with_gate(&mut gate, spool.head(self.group)).await {
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
            let published = await_with_gate(&mut gate, span.instrument(self.sink.publish(messages))).await;
            if published.is_err() {
                span.mark_failed("not_confirmed");
            }
            drop(span);
            is_confirming = published.is_ok();
            match published {
                Ok(()) => forwarded += self.remove(&head, gate).await,
                Err(PublishError::ExceedsLimit(problem)) => {
                    drop(gate);
                    self.isolate_over_limit(&head, &problem).await;
                }
                Err(error) => {
                    drop(gate);
                    self.log_and_wait("the queue does not confirm; trying again", error.to_string()).await;
                }
            }
        }
        forwarded
    }

    /// Removes the forwarded events. Nothing else is forwarded until they are removed; after a crash before the
    /// removal they are published a second time.
    async fn remove(&mut self, head: &[Spooled], mut gate: Option<ClosedGate<'_>>) -> usize {
        let mut removed = await_with_gate(&mut gate, self.spool.remove(head)).await;
        drop(gate);
        while let Err(error) = removed {
            if self.stop.is_cancelled() {
                return 0;
            }
            self.log_and_wait(
                "forwarded events cannot be removed from the spool; trying again",
                error.to_string(),
            )
            .await;
            removed = self.spool.remove(head).await;
        }
        self.delays.reset();
        self.logged_problem = None;
        self.group.size = (head.len() * 2).clamp(1, GROUP.size);
        head.len()
    }

    /// Handles a group with an event that the broker will never accept: finds the event by halving the
    /// group, and sets it aside so that it does not delay the others.
    async fn isolate_over_limit(&mut self, head: &[Spooled], problem: &str) {
        let [culprit] = head else {
            self.group.size = head.len() / 2;
            return;
        };
        self.group = GROUP;
        let event_id = culprit.message.message_id.as_deref().and_then(loggable_id);
        tracing::error!(
            event_id,
            problem,
            "the broker will not accept this event: it is set aside in the spool, and tried again at the next \
             start; raise the broker's limit"
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
async fn warn_about_limits(spool: &Spool) {
    let mut warned: Option<Instant> = None;
    loop {
        sleep(CHECK_INTERVAL).await;
        if warned.is_some_and(|warned| warned.elapsed() < WARNING_INTERVAL) {
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
        // The work does not end before another task has passed the gate.
        let pass = async {
            let _permit = gate.read().await;
            finish.send(())
        };
        let both = async { tokio::join!(await_with_gate(&mut closed, work), pass) };
        let done = timeout(MAX_GATE_WAIT * 20, both).await.map(|(done, _)| done.is_ok());
        assert_eq!(done, Ok(true), "the gate must be opened while the work continues");
        let _permit = gate.read().await;
        assert!(
            ClosedGate::close(&gate).await.is_none(),
            "closing the gate must not wait long for a task that has passed it"
        );
    }
}
