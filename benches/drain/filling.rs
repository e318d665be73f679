//! Filling the queue.

use std::ops::Range;

use hostmatch::queue::{Message, header};
use serde_json::json;

use crate::Result;
use crate::bookings::{Booking, Kind};
use crate::broker::Broker;

/// Messages published with one wait for their confirms.
const TOGETHER: usize = 500;

/// Publishes the events with these numbers, confirmed.
///
/// # Errors
/// When the broker does not take them.
pub(crate) async fn publish(broker: &Broker, numbers: Range<u64>) -> Result<()> {
    let publisher = broker.queue.publisher();
    for first in numbers.clone().step_by(TOGETHER) {
        let some = first..numbers.end.min(first + TOGETHER as u64);
        publisher.publish(some.map(|n| message(&Booking::nth(n))).collect()).await?;
    }
    Ok(())
}

fn message(booking: &Booking) -> Message {
    let body = if booking.kind == Kind::Malformed { json!("no event") } else { booking.event() };
    Message {
        body: body.to_string().into(),
        headers: [(header::FIRST_SEEN.to_owned(), "1772323200000".to_owned())].into(),
        routing_key: "appointment.created".to_owned(),
        message_id: Some(booking.event_id()),
        ..Message::default()
    }
}
