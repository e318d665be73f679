//! Traces a batch: one span for the batch, linked to its messages, and one span for each message in the trace
//! from its headers, which ends when its result is committed.
//!
//! Only the first attempt is part of the message's own trace. A retry or a replay may happen hours later, so
//! it begins a new trace that is linked to the first one.

use super::in_flight::InFlight;
use crate::event::carried_context;
use crate::queue::{Delivery, header};
use crate::telemetry::loggable_id;
use crate::telemetry::traces::{self, Origin, Parent, Span, SpanKind};

/// The queue that deliveries come from: its kind and its name.
type Destination<'a> = (&'static str, &'a str);

/// Begins the spans of these deliveries, and returns the span of the batch. Does nothing if traces are off.
pub(crate) fn begin(from: Destination<'_>, flights: &mut [InFlight]) -> Span {
    if !traces::is_enabled() {
        return Span::NONE;
    }
    let mut origins = Vec::new();
    for flight in &mut *flights {
        let origin = origin(&flight.delivery);
        flight.span = message(from, &flight.delivery, origin.as_ref());
        origins.extend(origin.or_else(|| flight.span.origin()));
    }
    let batch = Span::messaging(Parent::None, SpanKind::Consumer, "batch", from, &origins);
    batch.set("messaging.batch.message_count", i64::try_from(flights.len()).unwrap_or(i64::MAX));
    if let Some(origin) = batch.origin().filter(|_| batch.is_recording()) {
        flights.iter().for_each(|flight| flight.span.link(&origin));
    }
    batch
}

/// Begins the span of recording these dead letters.
pub(crate) fn begin_recording(from: Destination<'_>, deliveries: &[Delivery]) -> Span {
    if !traces::is_enabled() {
        return Span::NONE;
    }
    let origins: Vec<Origin> = deliveries.iter().filter_map(origin).collect();
    let span = Span::messaging(Parent::None, SpanKind::Consumer, "record", from, &origins);
    span.set("messaging.batch.message_count", i64::try_from(deliveries.len()).unwrap_or(i64::MAX));
    span
}

/// Returns the trace context of a delivery: from the headers of its newest hop, otherwise from its
/// CloudEvent.
pub(super) fn origin(delivery: &Delivery) -> Option<Origin> {
    let message = &delivery.message;
    Origin::read(|name| message.headers.get(name).map(String::as_str)).or_else(|| {
        let carried = carried_context(&message.headers, &message.body);
        Origin::read(|name| carried.get(name).map(String::as_str))
    })
}

fn message(from: Destination<'_>, delivery: &Delivery, origin: Option<&Origin>) -> Span {
    let replay = delivery.message.headers.get(header::REPLAY).and_then(|text| text.parse::<i64>().ok());
    let is_first = delivery.attempt == 0 && replay.is_none();
    let (parent, link) = match origin {
        Some(origin) if is_first => (Parent::Origin(origin), None),
        origin => (Parent::None, origin),
    };
    let span = Span::messaging(parent, SpanKind::Consumer, "process", from, link);
    if span.is_recording() {
        span.set("hostmatch.attempt", i64::from(delivery.attempt) + 1);
        if let Some(id) = delivery.message.message_id.as_deref().and_then(loggable_id) {
            span.set("messaging.message.id", id.to_owned());
        }
        if let Some(replay) = replay {
            span.set("hostmatch.replay", replay);
        }
    }
    span
}
