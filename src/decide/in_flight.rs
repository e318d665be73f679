//! One delivery on its way through deciding: what was read of it, and its answer.

use super::delivery_result::DeliveryResult;
use super::letters::replayed;
use super::metrics::Named;
use super::reading;
use crate::event::{BookingEvent, Decoded, EventId, Ignored, Malformed, Shape};
use crate::matching::{Item, Outcome, Plan, Reason, Target, Verdict};
use crate::queue::{Delivery, header};
use crate::store::{Lookup, Replayed};

/// Bookings decided in one transaction: bounds what is locked, and every list of values.
const BOOKINGS: usize = 500;

/// A delivery after decoding: something to decide, or an answer already.
enum Work {
    Event(Box<BookingEvent>),
    Ignored(Ignored),
    Answered(DeliveryResult),
}

/// One delivery on its way through.
pub(crate) struct InFlight {
    work: Work,
    /// As it is counted.
    pub(crate) named: Named,
    /// It is the copy of a dead letter.
    pub(crate) replayed: Option<Replayed>,
    publisher: Option<String>,
    received_ms: i64,
    /// It is not the first attempt.
    tried_before: bool,
    /// Its appointment will not be waited for any longer, and that is fine (`calcom.unknown_booking`).
    may_be_unknown: bool,
    pub(crate) answer: Option<DeliveryResult>,
}

impl InFlight {
    /// Reads a delivery. `ends_unknown`: an appointment that is not there yet will not be waited for any
    /// longer, and for Cal.com's own webhooks that is fine.
    pub(crate) fn of(delivery: &Delivery, ends_unknown: bool) -> Self {
        let read = reading::read(delivery);
        let named = Named::of(delivery, read.as_ref());
        let work = match read {
            Some(Ok(Decoded::Event(event))) => Work::Event(event),
            Some(Ok(Decoded::Ignored(ignored))) => Work::Ignored(ignored),
            Some(Err(malformed)) => Work::Answered(unreadable(&malformed)),
            None => Work::Answered(DeliveryResult::Dead(
                Reason::Poison,
                "reading it made the program fail".into(),
            )),
        };
        let calcom = matches!(&work, Work::Event(event) if event.content == Shape::Calcom);
        Self {
            work,
            named,
            replayed: replayed(delivery),
            publisher: delivery.message.headers.get(header::PUBLISHER).cloned(),
            received_ms: delivery.first_seen_ms,
            tried_before: delivery.attempt > 0,
            may_be_unknown: calcom && ends_unknown,
            answer: None,
        }
    }

    /// An event that was decided before.
    pub(crate) fn again(event: BookingEvent, decided_ms: i64) -> Self {
        Self {
            work: Work::Event(Box::new(event)),
            named: Named::default(),
            replayed: None,
            publisher: None,
            received_ms: decided_ms,
            tried_before: true,
            may_be_unknown: false,
            answer: None,
        }
    }

    /// What the plan says about it.
    pub(crate) fn answer_by(&self, plan: &mut Plan<'_>, targets: &[Target]) -> DeliveryResult {
        let publisher = self.publisher.as_deref();
        match &self.work {
            Work::Event(event) => {
                let Self { received_ms, may_be_unknown, .. } = *self;
                answer(plan.event(&Item { event, targets, publisher, received_ms, may_be_unknown }))
            }
            Work::Ignored(ignored) => {
                plan.ignored(ignored, publisher, self.received_ms);
                DeliveryResult::Done(Outcome::Ignored)
            }
            Work::Answered(answer) => answer.clone(),
        }
    }

    /// The answer that it had as soon as it was read.
    pub(crate) fn answered(&self) -> Option<DeliveryResult> {
        if let Work::Answered(answer) = &self.work { Some(answer.clone()) } else { None }
    }

    pub(crate) fn lookup(&self) -> Option<Lookup<'_>> {
        match &self.work {
            Work::Event(event) => Some(Lookup { event, tried_before: self.tried_before }),
            Work::Ignored(_) | Work::Answered(_) => None,
        }
    }

    /// The id of an event for which there is nothing to do.
    pub(crate) fn ignored(&self) -> Option<&EventId> {
        if let Work::Ignored(ignored) = &self.work { Some(&ignored.id) } else { None }
    }

    /// Its event's id and type, where it could be read.
    pub(crate) fn event(&self) -> Option<(&EventId, &str)> {
        match &self.work {
            Work::Event(event) => Some((&event.id, &event.event_type)),
            Work::Ignored(ignored) => Some((&ignored.id, &ignored.event_type)),
            Work::Answered(_) => None,
        }
    }

    pub(crate) fn finish(self) -> (Option<String>, DeliveryResult) {
        match (self.work, self.answer) {
            (Work::Answered(answer), _) => (None, answer),
            (Work::Event(event), Some(answer)) => (Some(event.event_type), answer),
            (Work::Ignored(ignored), Some(answer)) => (Some(ignored.event_type), answer),
            (_, None) => (None, DeliveryResult::undecided()),
        }
    }
}

/// What is to be decided, in parts of at most [`BOOKINGS`] bookings.
pub(crate) fn transactions(flights: &[InFlight]) -> Vec<Vec<usize>> {
    let (mut parts, mut part, mut bookings) = (Vec::new(), Vec::new(), 0);
    for (index, flight) in flights.iter().enumerate().filter(|(_, flight)| flight.answer.is_none()) {
        let size = match &flight.work {
            Work::Event(event) => event.bookings.len(),
            Work::Ignored(_) => 1,
            Work::Answered(_) => continue,
        };
        if bookings + size > BOOKINGS && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bookings = 0;
        }
        part.push(index);
        bookings += size;
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn answer(verdict: Verdict) -> DeliveryResult {
    match verdict {
        Verdict::Decided(outcome, _) => DeliveryResult::Done(outcome),
        Verdict::NotYet => {
            let why = "no appointment has this booking (yet)";
            DeliveryResult::Retry(Reason::AppointmentNotFound, why.into())
        }
        Verdict::Refused(reason, why) => DeliveryResult::Dead(reason, why),
    }
}

fn unreadable(malformed: &Malformed) -> DeliveryResult {
    DeliveryResult::Dead(malformed.kind.into(), malformed.to_string())
}
