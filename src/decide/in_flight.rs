//! One delivery from receipt to settlement: what came, what was read of it, what was decided, and what becomes
//! of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, SystemTime};

use super::delivery_result::DeliveryResult;
use super::metrics::{Named, kind_of};
use super::trace;
use crate::event::{self, BookingEvent, Decoded, Envelope, EventId, Malformed, Shape};
use crate::matching::{DEAD_LETTER, Item, Outcome, Plan, Reason, Target, Verdict};
use crate::queue::{Delivery, Disposition, header, identity};
use crate::store::{Lookup, Replayed};
use crate::telemetry::shown_id;
use crate::telemetry::traces::Span;

/// Bookings decided in one transaction: bounds what is locked, and every list of values.
const MAX_BOOKINGS: usize = 500;

/// One delivery on its way.
#[derive(Default)]
pub(crate) struct InFlight {
    pub(crate) delivery: Delivery,
    /// Its span, where traces are on.
    pub(super) span: Span,
    /// None: it has not been read yet, or cannot be.
    content: Option<Decoded>,
    /// As it is counted.
    pub(crate) named: Named,
    /// It is the copy of a dead letter.
    pub(super) replayed: Option<Replayed>,
    /// Its appointment will not be waited for any longer, and that is fine (`calcom.unknown_booking`).
    may_be_unknown: bool,
    /// What each of its bookings means, as it was loaded last.
    pub(super) targets: Vec<Target>,
    /// An appointment that it is about was not read: somebody else has locked it.
    pub(super) is_locked: bool,
    /// A code that says more of what was planned.
    pub(super) code: Option<&'static str>,
    /// The strategy that would find somebody, in a dry run.
    pub(super) strategy: Option<String>,
    /// What a transaction has made of it that is not committed yet.
    pub(super) planned: Option<DeliveryResult>,
    /// What came of it: only what is committed, or needs no commit.
    pub(super) result: Option<DeliveryResult>,
    /// More appointments wait for a host that became known by it.
    pub(crate) more_waiting: bool,
    /// What is to become of it; given back as long as nothing came of it.
    pub(crate) disposition: Disposition,
}

/// How a delivery leaves.
pub(crate) enum Ending {
    Decided(Outcome),
    Deferred,
    Retried(Reason),
    DeadLettered(Reason),
}

/// What a delivery says; `None` when reading it made the program fail: no bytes can end it.
pub(crate) fn read(delivery: &Delivery) -> Option<Result<Decoded, Malformed>> {
    let message = &delivery.message;
    let envelope = Envelope {
        headers: &message.headers,
        routing_key: &message.routing_key,
        message_type: message.message_type.as_deref(),
        message_id: message.message_id.as_deref(),
        correlation_id: message.correlation_id.as_deref(),
        timestamp_ms: message.timestamp_ms,
        ..Envelope::new(&message.body, delivery.first_seen_ms)
    };
    catch_unwind(AssertUnwindSafe(|| event::decode(&envelope))).ok()
}

/// The dead letter that a delivery says it is a copy of. Only what the delivery itself shows counts:
/// whoever forges the headers has another message.
pub(crate) fn replayed(delivery: &Delivery) -> Option<Replayed> {
    let number = |name| delivery.message.headers.get(name)?.parse().ok();
    Some(Replayed {
        replay: number(header::REPLAY)?,
        letter: number(header::REPLAY_LETTER)?,
        digest: identity(&delivery.message).to_string(),
    })
}

impl InFlight {
    /// A delivery that was received.
    pub(crate) fn new(delivery: Delivery) -> Self {
        Self { delivery, ..Self::default() }
    }

    /// An event that was decided before.
    pub(super) fn again(event: BookingEvent, decided_ms: i64) -> Self {
        let delivery = Delivery { attempt: 1, first_seen_ms: decided_ms, ..Delivery::default() };
        Self { content: Some(Decoded::Event(Box::new(event))), ..Self::new(delivery) }
    }

    /// Reads it. `ends_unknown`: an appointment that is not there yet will not be waited for any longer, and
    /// for Cal.com's own webhooks that is fine.
    pub(super) fn read(&mut self, ends_unknown: bool) {
        let read = read(&self.delivery);
        self.named = Named::of(&self.delivery, read.as_ref());
        self.replayed = replayed(&self.delivery);
        match read {
            Some(Ok(decoded)) => {
                let is_calcoms = matches!(&decoded, Decoded::Event(event) if event.content == Shape::Calcom);
                self.may_be_unknown = ends_unknown && is_calcoms;
                self.content = Some(decoded);
            }
            Some(Err(malformed)) => {
                self.result = Some(DeliveryResult::Dead(malformed.kind.into(), malformed.to_string()));
            }
            None => {
                let why = "reading it made the program fail";
                self.result = Some(DeliveryResult::Dead(Reason::Poison, why.to_owned()));
            }
        }
        if let Some((id, event_type)) = self.event().filter(|_| self.span.is_kept()) {
            if let Some(id) = shown_id(&id.to_string()) {
                self.span.set("hostmatch.event.id", id.to_owned());
            }
            self.span.set("hostmatch.event.type", kind_of(Some(event_type)));
        }
    }

    /// What the plan says about it; only planned, until the transaction is committed.
    pub(super) fn plan(&mut self, plan: &mut Plan<'_>) {
        let publisher = self.delivery.message.headers.get(header::PUBLISHER).map(String::as_str);
        let received_ms = self.delivery.first_seen_ms;
        self.planned = match &self.content {
            Some(Decoded::Event(_)) if self.is_locked => None,
            Some(Decoded::Event(event)) => {
                let Self { targets, may_be_unknown, .. } = &*self;
                let may_be_unknown = *may_be_unknown;
                let verdict = plan.event(&Item { event, targets, publisher, received_ms, may_be_unknown });
                if let Verdict::Decided(_, code) = verdict {
                    self.code = code;
                }
                Some(verdict.into())
            }
            Some(Decoded::Ignored(ignored)) => {
                plan.ignored(ignored, publisher, received_ms);
                Some(DeliveryResult::Done(Outcome::Ignored))
            }
            None => self.result.clone(),
        };
    }

    /// What was planned is committed, in a write that began then.
    pub(super) fn committed(&mut self, begun: SystemTime, more_waiting: bool) {
        self.result = self.planned.take();
        self.more_waiting |= more_waiting;
        if let (Some(DeliveryResult::Done(outcome)), true) = (&self.result, self.span.is_kept()) {
            self.span.add_step("commit", begun, SystemTime::now());
            self.span.set("hostmatch.outcome", outcome.as_str());
            self.span.end();
        }
    }

    /// What is to be looked up for it.
    pub(super) fn lookup(&self) -> Option<Lookup<'_>> {
        match &self.content {
            Some(Decoded::Event(event)) => Some(Lookup { event, tried_before: self.delivery.attempt > 0 }),
            Some(Decoded::Ignored(_)) | None => None,
        }
    }

    /// The id of an event for which there is nothing to do.
    pub(super) fn ignored(&self) -> Option<&EventId> {
        if let Some(Decoded::Ignored(ignored)) = &self.content { Some(&ignored.id) } else { None }
    }

    /// Its event's id and type, where it could be read.
    fn event(&self) -> Option<(&EventId, &str)> {
        match &self.content {
            Some(Decoded::Event(event)) => Some((&event.id, &event.event_type)),
            Some(Decoded::Ignored(ignored)) => Some((&ignored.id, &ignored.event_type)),
            None => None,
        }
    }

    /// What came of it.
    pub(super) fn into_result(self) -> DeliveryResult {
        self.result.unwrap_or_else(DeliveryResult::undecided)
    }

    /// Says what is to become of it, and tells it: in the log, in its trace. `schedule`: the delays between
    /// attempts.
    pub(crate) fn finish(&mut self, schedule: &[Duration], now_ms: i64) {
        if self.result.is_none() {
            self.result = Some(DeliveryResult::undecided());
        }
        let Some(result) = &self.result else { return };
        let event_type = self.event().map(|(_, event_type)| event_type);
        self.disposition = result.disposition(&self.delivery, event_type, schedule, now_ms);
        let _within = self.span.enter();
        if let (Some((id, event_type)), DeliveryResult::Done(outcome)) = (self.event(), result) {
            tracing::debug!(
                event_id = shown_id(&id.to_string()),
                event_type = kind_of(Some(event_type)),
                outcome = outcome.as_str(),
                "an event was decided"
            );
        }
        if let DeliveryResult::Retry(reason, why) | DeliveryResult::Dead(reason, why) = result {
            self.log(reason.as_str(), why);
        }
        let (outcome, reason) = match self.ending() {
            Ending::Decided(outcome) => (outcome.as_str(), None),
            Ending::Deferred => ("put_off", None),
            Ending::Retried(reason) => ("retry", Some(reason)),
            Ending::DeadLettered(reason) => (DEAD_LETTER, Some(reason)),
        };
        self.span.set("hostmatch.outcome", outcome);
        if let Some(reason) = reason {
            self.span.failed(reason.as_str());
        }
        // Its copy carries its trace along.
        if let (Disposition::Retry { headers, .. } | Disposition::DeadLetter { headers }, true) =
            (&mut self.disposition, self.span.is_kept())
            && trace::origin(&self.delivery).is_none()
            && let Some(own) = self.span.origin()
        {
            own.write(headers);
        }
        self.span.end();
    }

    /// One line for an event that was not decided: what it was, and what becomes of it.
    fn log(&self, reason: &str, why: &str) {
        let attempt = self.delivery.attempt + 1;
        let event_id = self.delivery.message.message_id.as_deref().and_then(shown_id);
        match &self.disposition {
            Disposition::Retry { after, .. } => {
                tracing::info!(event_id, reason, attempt, ?after, error = %why, "an event is tried again later");
            }
            _ => tracing::warn!(event_id, reason, attempt, error = %why, "an event became a dead letter"),
        }
    }

    /// How it leaves, once it is finished.
    pub(crate) fn ending(&self) -> Ending {
        match (&self.result, &self.disposition) {
            (Some(DeliveryResult::Done(outcome)), _) => Ending::Decided(*outcome),
            (Some(DeliveryResult::Deferred), _) => Ending::Deferred,
            (Some(DeliveryResult::Retry(reason, _)), Disposition::Retry { .. }) => Ending::Retried(*reason),
            (Some(DeliveryResult::Retry(reason, _) | DeliveryResult::Dead(reason, _)), _) => {
                Ending::DeadLettered(*reason)
            }
            (None, _) => Ending::Retried(Reason::Refused),
        }
    }
}

/// What is to be decided, in transactions of at most [`MAX_BOOKINGS`] bookings.
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
