//! Fills the queue with events.

use hostmatch::queue::{Message, header};
use serde_json::json;

use crate::Result;
use crate::bookings::{Booking, Kind};
use crate::broker::Broker;

/// Messages that are published before their confirms are awaited.
const PUBLISH_CHUNK: usize = 500;

/// Publishes the events about these bookings, and waits for the confirms.
///
/// # Errors
/// Fails if the broker does not accept them.
pub(crate) async fn publish(broker: &Broker, bookings: impl Iterator<Item = Booking>) -> Result<()> {
    let publisher = broker.queue.publisher();
    let mut messages = bookings.map(|booking| message(&booking)).peekable();
    while messages.peek().is_some() {
        publisher.publish(messages.by_ref().take(PUBLISH_CHUNK).collect()).await?;
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
