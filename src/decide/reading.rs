//! Reading a delivery as an event, in a way that no bytes can end the program.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::event::{self, Decoded, Envelope, Malformed};
use crate::queue::Delivery;

/// What a delivery says; `None` when reading it made the program fail.
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
