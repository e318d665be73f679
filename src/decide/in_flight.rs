//! One delivery from receipt to settlement: its message, its event, its result and its disposition.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use super::delivery_result::DeliveryResult;
use super::metrics::{DeliveryLabels, type_label};
use super::trace;
use crate::event::{self, BookingEvent, Decoded, Envelope, EventId, LocalZone, Malformed, Shape};
use crate::matching::{DEAD_LETTER, Item, Outcome, Plan, Reason, Target, Verdict};
use crate::queue::{Delivery, Disposition, header, identity};
use crate::store::{Lookup, Replayed};
use crate::telemetry::loggable_id;
use crate::telemetry::traces::Span;

/// The most bookings decided in one transaction: bounds the number of locks, and every list of values.
const MAX_BOOKINGS: usize = 500;

/// One delivery that is not settled yet.
#[derive(Default)]
pub(crate) struct InFlight {
    pub(crate) delivery: Delivery,
    /// Its span, if traces are on.
    pub(super) span: Span,
    /// `None` if the delivery has not been decoded yet or cannot be decoded.
    content: Option<Decoded>,
    /// The labels of the delivery in metrics.
    pub(crate) labels: DeliveryLabels,
    /// The dead letter of which the delivery is a copy.
    pub(super) replayed: Option<Replayed>,
    /// Whether the delivery is ignored instead of retried if its appointment does not exist
    /// (`calcom.unknown_booking`).
    ignore_if_missing: bool,
    /// The target of each of its bookings, as last loaded.
    pub(super) targets: Vec<Target>,
    /// Whether one of its appointments was not read because another session has locked it.
    pub(super) is_locked: bool,
    /// A code with more detail about the planned result.
    pub(super) code: Option<Cow<'static, str>>,
    /// The strategy that would find a member of staff, in a dry run.
    pub(super) strategy: Option<String>,
    /// The result that a transaction has planned but not committed yet.
    pub(super) planned: Option<DeliveryResult>,
    /// The result, once it is committed or if it needs no commit.
    pub(super) result: Option<DeliveryResult>,
    /// Whether more appointments wait for a host to which the delivery gave a mapping.
    pub(crate) more_waiting: bool,
    /// Its disposition. A delivery without a result is released.
    pub(crate) disposition: Disposition,
}

/// How a delivery was settled.
pub(crate) enum Settlement {
    Decided(Outcome),
    Deferred,
    Retried(Reason),
    DeadLettered(Reason),
}

/// Decodes a delivery; its times without a zone are in `zone`. Returns `None` if decoding panicked, because no message may stop the program.
pub(crate) fn read(delivery: &Delivery, zone: &LocalZone) -> Option<Result<Decoded, Malformed>> {
    let message = &delivery.message;
    let envelope = Envelope {
        headers: &message.headers,
        routing_key: &message.routing_key,
        message_type: message.message_type.as_deref(),
        message_id: message.message_id.as_deref(),
        correlation_id: message.correlation_id.as_deref(),
        timestamp_ms: message.timestamp_ms,
        zone,
        ..Envelope::new(&message.body, delivery.first_seen_ms)
    };
    catch_unwind(AssertUnwindSafe(|| event::decode(&envelope))).ok()
}

/// Returns the dead letter of which a delivery claims to be a copy, with the digest of the delivery itself. A
/// message with forged headers has another digest.
pub(crate) fn replayed(delivery: &Delivery) -> Option<Replayed> {
    let number = |name| delivery.message.headers.get(name)?.parse().ok();
    Some(Replayed {
        replay: number(header::REPLAY)?,
        letter: number(header::REPLAY_LETTER)?,
        digest: identity(&delivery.message).to_string(),
    })
}

impl InFlight {
    /// Creates the state of a received delivery.
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self { delivery, ..Self::default() }
    }

    /// Creates the state of an event without a delivery: one that is decided again, or is predicted.
    pub(super) fn from_event(event: BookingEvent, decided_ms: i64) -> Self {
        let delivery = Delivery { attempt: 1, first_seen_ms: decided_ms, ..Delivery::default() };
        Self { content: Some(Decoded::Event(Box::new(event))), ..Self::new(delivery) }
    }

    /// Decodes the delivery. `ignore_unknown`: this is the last attempt, and a webhook of Cal.com
    /// whose appointment does not exist is ignored.
    pub(super) fn read(&mut self, ignore_unknown: bool, zone: &LocalZone) {
        let read = read(&self.delivery, zone);
        self.labels = DeliveryLabels::of(&self.delivery, read.as_ref());
        self.replayed = replayed(&self.delivery);
        match read {
            Some(Ok(decoded)) => {
                let is_calcoms = matches!(&decoded, Decoded::Event(event) if event.content == Shape::Calcom);
                self.ignore_if_missing = ignore_unknown && is_calcoms;
                self.content = Some(decoded);
            }
            Some(Err(malformed)) => {
                self.result = Some(DeliveryResult::Dead(malformed.kind.into(), malformed.to_string()));
            }
            None => {
                let why = "hostmatch failed while reading this event; see the worker's log";
                self.result = Some(DeliveryResult::Dead(Reason::Poison, why.to_owned()));
            }
        }
        if let Some((id, event_type)) = self.event().filter(|_| self.span.is_recording()) {
            if let Some(id) = loggable_id(&id.to_string()) {
                self.span.set("hostmatch.event.id", id.to_owned());
            }
            self.span.set("hostmatch.event.type", type_label(Some(event_type)));
        }
    }

    /// Plans the result, which is valid only once the transaction is committed.
    pub(super) fn plan(&mut self, plan: &mut Plan<'_>) {
        let publisher = self.delivery.message.headers.get(header::PUBLISHER).map(String::as_str);
        let received_ms = self.delivery.first_seen_ms;
        self.planned = match &self.content {
            Some(Decoded::Event(_)) if self.is_locked => None,
            Some(Decoded::Event(event)) => {
                let Self { targets, ignore_if_missing, .. } = &*self;
                let ignore_if_missing = *ignore_if_missing;
                let verdict =
                    plan.decide_event(&Item { event, targets, publisher, received_ms, ignore_if_missing });
                if let Verdict::Decided(_, code) = &verdict {
                    self.code.clone_from(code);
                }
                Some(verdict.into())
            }
            Some(Decoded::Ignored(ignored)) => {
                plan.record_ignored(ignored, publisher, received_ms);
                Some(DeliveryResult::Done(Outcome::Ignored))
            }
            None => self.result.clone(),
        };
    }

    /// Records that the planned result is committed, in a write that began at `begun`.
    pub(super) fn mark_committed(&mut self, begun: SystemTime, more_waiting: bool) {
        self.result = self.planned.take();
        self.more_waiting |= more_waiting;
        if let (Some(DeliveryResult::Done(outcome)), true) = (&self.result, self.span.is_recording()) {
            self.span.add_step("commit", begun, SystemTime::now());
            self.span.set("hostmatch.outcome", outcome.as_str());
            self.span.end();
        }
    }

    /// Returns what has to be read from the database for this delivery.
    pub(super) fn lookup(&self) -> Option<Lookup<'_>> {
        match &self.content {
            Some(Decoded::Event(event)) => Some(Lookup { event, tried_before: self.delivery.attempt > 0 }),
            Some(Decoded::Ignored(_)) | None => None,
        }
    }

    /// Returns the id of an event for which there is nothing to do.
    pub(super) fn ignored(&self) -> Option<&EventId> {
        if let Some(Decoded::Ignored(ignored)) = &self.content { Some(&ignored.id) } else { None }
    }

    /// Returns its event's id and type, if it could be decoded.
    fn event(&self) -> Option<(&EventId, &str)> {
        match &self.content {
            Some(Decoded::Event(event)) => Some((&event.id, &event.event_type)),
            Some(Decoded::Ignored(ignored)) => Some((&ignored.id, &ignored.event_type)),
            None => None,
        }
    }

    /// Returns its result.
    pub(super) fn into_result(self) -> DeliveryResult {
        self.result.unwrap_or_else(DeliveryResult::undecided)
    }

    /// Sets the disposition of the delivery, and reports it in the log and in the trace. `schedule`: the
    /// delays between attempts.
    pub(crate) fn finish(&mut self, schedule: &[Duration], now_ms: i64) {
        if self.result.is_none() {
            self.result = Some(DeliveryResult::undecided());
        }
        let Some(result) = &self.result else { return };
        let event_type = self.event().map(|(_, event_type)| event_type);
        self.disposition = result.disposition(&self.delivery, event_type, schedule, now_ms);
        let _entered = self.span.enter();
        if let (Some((id, event_type)), DeliveryResult::Done(outcome)) = (self.event(), result) {
            tracing::debug!(
                event_id = loggable_id(&id.to_string()),
                event_type = type_label(Some(event_type)),
                outcome = outcome.as_str(),
                "an event was decided"
            );
        }
        if let DeliveryResult::Retry(reason, why) | DeliveryResult::Dead(reason, why) = result {
            self.log(reason.as_str(), why);
        }
        let (outcome, reason) = match self.settlement() {
            Settlement::Decided(outcome) => (outcome.as_str(), None),
            Settlement::Deferred => ("put_off", None),
            Settlement::Retried(reason) => ("retry", Some(reason)),
            Settlement::DeadLettered(reason) => (DEAD_LETTER, Some(reason)),
        };
        self.span.set("hostmatch.outcome", outcome);
        if let Some(reason) = reason {
            self.span.mark_failed(reason.as_str());
        }
        // The copy continues the trace of this delivery.
        if let (Disposition::Retry { headers, .. } | Disposition::DeadLetter { headers }, true) =
            (&mut self.disposition, self.span.is_recording())
            && trace::origin(&self.delivery).is_none()
            && let Some(own) = self.span.origin()
        {
            own.write(headers);
        }
        self.span.end();
    }

    /// Logs the disposition of an event that was not decided.
    fn log(&self, reason: &str, why: &str) {
        let attempt = self.delivery.attempt + 1;
        let event_id = self.delivery.message.message_id.as_deref().and_then(loggable_id);
        match &self.disposition {
            Disposition::Retry { after, .. } => {
                tracing::info!(event_id, reason, attempt, ?after, error = %why, "an event is tried again later");
            }
            _ => tracing::warn!(event_id, reason, attempt, error = %why, "an event became a dead letter"),
        }
    }

    /// Returns how a finished delivery is settled.
    pub(crate) fn settlement(&self) -> Settlement {
        match (&self.result, &self.disposition) {
            (Some(DeliveryResult::Done(outcome)), _) => Settlement::Decided(*outcome),
            (Some(DeliveryResult::Deferred), _) => Settlement::Deferred,
            (Some(DeliveryResult::Retry(reason, _)), Disposition::Retry { .. }) => {
                Settlement::Retried(*reason)
            }
            (Some(DeliveryResult::Retry(reason, _) | DeliveryResult::Dead(reason, _)), _) => {
                Settlement::DeadLettered(*reason)
            }
            (None, _) => Settlement::Retried(Reason::Refused),
        }
    }
}

/// Groups the undecided deliveries into transactions of at most [`MAX_BOOKINGS`] bookings.
pub(super) fn transactions(flights: &mut [InFlight]) -> Vec<Vec<&mut InFlight>> {
    let (mut parts, mut part, mut bookings) = (Vec::new(), Vec::new(), 0);
    for flight in flights.iter_mut().filter(|flight| flight.result.is_none()) {
        let size = match &flight.content {
            Some(Decoded::Event(event)) => event.bookings.len(),
            Some(Decoded::Ignored(_)) => 1,
            None => continue,
        };
        if bookings + size > MAX_BOOKINGS && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bookings = 0;
        }
        part.push(flight);
        bookings += size;
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

impl From<Verdict> for DeliveryResult {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Decided(outcome, _) => Self::Done(outcome),
            Verdict::NotYet => {
                let why = "no appointment has this booking (yet)";
                Self::Retry(Reason::AppointmentNotFound, why.to_owned())
            }
            Verdict::Refused(reason, why) => Self::Dead(reason, why),
        }
    }
}
