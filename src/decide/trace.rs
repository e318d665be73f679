//! What is shown of a batch in traces: a span for the batch, linked to its messages; and for each message
//! one in the trace that it came with, which ends with the commit of what was decided.
//!
//! Only a first attempt is part of the message's own trace. Another attempt, or a replay, may come hours
//! later: it begins a trace of its own, which is linked to the first.

use std::time::SystemTime;

use super::delivery_result::DeliveryResult;
use super::in_flight::InFlight;
use super::metrics::kind_of;
use crate::event::carried_context;
use crate::matching::{DEAD_LETTER, Outcome};
use crate::queue::{Delivery, Disposition, header};
use crate::telemetry::shown_id;
use crate::telemetry::traces::{self, Origin, Parent, Span, SpanKind};

/// Where deliveries come from: the kind of the queue, and its name.
type Destination<'a> = (&'static str, &'a str);

static NOTHING: Span = Span::NONE;

/// The spans of a batch that is decided. By default there are none.
#[derive(Debug, Default)]
pub(crate) struct BatchTrace {
    batch: Span,
    /// One for each delivery, in order; empty when traces are off.
    messages: Vec<Span>,
}

impl BatchTrace {
    /// Begins the spans of these deliveries.
    pub(crate) fn begin(from: Destination<'_>, deliveries: &[Delivery]) -> Self {
        if !traces::are_on() {
            return Self::default();
        }
        let (mut origins, mut messages) = (Vec::new(), Vec::new());
        for delivery in deliveries {
            let origin = origin(delivery);
            let span = message(from, delivery, origin.as_ref());
            origins.extend(origin.or_else(|| span.origin()));
            messages.push(span);
        }
        let batch = consumer(Parent::None, "batch", from, &origins);
        batch.set("messaging.batch.message_count", i64::try_from(deliveries.len()).unwrap_or(i64::MAX));
        if let Some(origin) = batch.origin().filter(|_| batch.is_kept()) {
            messages.iter().for_each(|message| message.link(&origin));
        }
        Self { batch, messages }
    }

    /// Runs `work` within the batch's span.
    pub(crate) fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        self.batch.within(work)
    }

    /// The span of the delivery at this place.
    pub(crate) fn message(&self, index: usize) -> &Span {
        self.messages.get(index).unwrap_or(&NOTHING)
    }

    /// The deliveries were read: what each of them is.
    pub(crate) fn read(&self, flights: &[InFlight]) {
        for (span, flight) in self.messages.iter().zip(flights).filter(|(span, _)| span.is_kept()) {
            let Some((id, event_type)) = flight.event() else { continue };
            if let Some(id) = shown_id(&id.to_string()) {
                span.set("hostmatch.event.id", id.to_owned());
            }
            span.set("hostmatch.event.type", kind_of(Some(event_type)));
        }
    }

    /// One line for each event that was decided, within its own trace.
    pub(crate) fn tell(&self, flights: &[InFlight]) {
        for (index, flight) in flights.iter().enumerate() {
            if let (Some((id, event_type)), Some(DeliveryResult::Done(outcome))) =
                (flight.event(), &flight.answer)
            {
                let _within = self.message(index).enter();
                tracing::debug!(
                    event_id = shown_id(&id.to_string()),
                    event_type = kind_of(Some(event_type)),
                    outcome = outcome.as_str(),
                    "an event was decided"
                );
            }
        }
    }

    /// What was decided about these deliveries is committed, in a write that began then.
    pub(crate) fn committed(&self, part: &[usize], answers: &[Option<DeliveryResult>], begun: SystemTime) {
        if self.messages.is_empty() {
            return;
        }
        let now = SystemTime::now();
        for (index, answer) in part.iter().zip(answers) {
            if let Some(DeliveryResult::Done(outcome)) = answer {
                let span = self.message(*index);
                span.add_step("commit", begun, now);
                decided(span, *outcome);
            }
        }
    }

    /// What becomes of a delivery that was not decided; and its copy carries its trace along.
    pub(crate) fn answered(
        &self,
        index: usize,
        delivery: &Delivery,
        answer: &DeliveryResult,
        next: &mut Disposition,
    ) {
        let span = self.message(index);
        let (outcome, reason) = match (answer, &*next) {
            (DeliveryResult::Done(outcome), _) => return decided(span, *outcome),
            (DeliveryResult::Deferred, _) => ("put_off", None),
            (DeliveryResult::Retry(reason, _), Disposition::Retry { .. }) => ("retry", Some(*reason)),
            (DeliveryResult::Retry(reason, _) | DeliveryResult::Dead(reason, _), _) => {
                (DEAD_LETTER, Some(*reason))
            }
        };
        span.set("hostmatch.outcome", outcome);
        if let Some(reason) = reason {
            span.failed(reason.as_str());
        }
        if let (Disposition::Retry { headers, .. } | Disposition::DeadLetter { headers }, Some(own)) =
            (next, span.origin().filter(|_| span.is_kept() && origin(delivery).is_none()))
        {
            own.write(headers);
        }
        span.end();
    }
}

/// The span of recording these dead letters.
pub(crate) fn recording(from: Destination<'_>, deliveries: &[Delivery]) -> Span {
    if !traces::are_on() {
        return Span::NONE;
    }
    let origins: Vec<Origin> = deliveries.iter().filter_map(origin).collect();
    let span = consumer(Parent::None, "record", from, &origins);
    span.set("messaging.batch.message_count", i64::try_from(deliveries.len()).unwrap_or(i64::MAX));
    span
}

fn decided(span: &Span, outcome: Outcome) {
    span.set("hostmatch.outcome", outcome.as_str());
    span.end();
}

/// Where a delivery came from: the headers of its newest hop, else what its CloudEvent carries.
fn origin(delivery: &Delivery) -> Option<Origin> {
    let message = &delivery.message;
    Origin::read(|name| message.headers.get(name).map(String::as_str)).or_else(|| {
        let carried = carried_context(&message.headers, &message.body);
        Origin::read(|name| carried.get(name).map(String::as_str))
    })
}

fn message(from: Destination<'_>, delivery: &Delivery, origin: Option<&Origin>) -> Span {
    let replay = delivery.message.headers.get(header::REPLAY).and_then(|text| text.parse::<i64>().ok());
    let span = match origin {
        Some(origin) if delivery.attempt == 0 && replay.is_none() => {
            consumer(Parent::Origin(origin), "process", from, &[])
        }
        origin => consumer(Parent::None, "process", from, origin),
    };
    if span.is_kept() {
        span.set("hostmatch.attempt", i64::from(delivery.attempt) + 1);
        if let Some(id) = delivery.message.message_id.as_deref().and_then(shown_id) {
            span.set("messaging.message.id", id.to_owned());
        }
        if let Some(replay) = replay {
            span.set("hostmatch.replay", replay);
        }
    }
    span
}

fn consumer<'a>(
    parent: Parent<'_>,
    operation: &'static str,
    (system, queue): Destination<'_>,
    links: impl IntoIterator<Item = &'a Origin>,
) -> Span {
    let span = Span::begin(parent, SpanKind::Consumer, format!("{operation} {queue}"), links);
    if span.is_kept() {
        span.set("messaging.system", system);
        span.set("messaging.destination.name", queue.to_owned());
        span.set("messaging.operation.name", operation);
        span.set("messaging.operation.type", "process");
    }
    span
}
