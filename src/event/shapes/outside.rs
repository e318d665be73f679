//! What stands around an event: the message's properties, and what its wrapping says of it. And what follows for the
//! event: what it is called, by which id repeats are told, and when it was true; each has several sources, and the
//! first that says something wins.

use std::borrow::Cow;

use serde_json::Value;

use super::fields::{self, Fault, Object};
use crate::event::booking::{EventTime, Shape};
use crate::event::decode::{Envelope, Hints, Malformed, MalformedKind, TYPE_HEADER, known_type};
use crate::event::ids::{BookingRef, CompanyId, EventId, MAX_TEXT};

/// The surroundings of one event. Without a wrapping everything but the envelope is empty.
#[derive(Clone, Debug)]
pub(super) struct Outside<'a> {
    pub(super) envelope: &'a Envelope<'a>,
    /// What it is called: the outermost wrapping, or the event's own shape.
    pub(super) shape: Shape,
    /// What the wrapping says that the type is, in the order of precedence.
    pub(super) types: Vec<String>,
    /// CloudEvents' `id`: before any other.
    pub(super) id: Option<String>,
    /// Laravel's `uuid`: after all others.
    pub(super) uuid: Option<String>,
    /// CloudEvents' `time`, in ms since 1970.
    pub(super) time_ms: Option<i64>,
    /// Laravel's `pushedAt`, in ms since 1970.
    pub(super) pushed_ms: Option<i64>,
    /// The document in which the event stands: the body, or what was decoded from a text in it.
    document: Cow<'a, str>,
    /// The keys that lead to the event in that document.
    path: Vec<&'static str>,
    /// Where the event stands in the body.
    place: Place,
    /// Where the wrapping names the type: a JSON pointer.
    type_place: Option<String>,
}

/// Where the event stands.
#[derive(Clone, Debug)]
enum Place {
    /// A JSON pointer that those into the event continue; empty when the event is the body.
    Inside(String),
    /// It was decoded from the text at this pointer, into which none leads.
    Decoded(String),
}

impl<'a> Outside<'a> {
    /// Around an event that is the whole body.
    pub(super) fn new(envelope: &'a Envelope<'a>) -> Self {
        Self {
            envelope,
            shape: Shape::Native,
            types: Vec::new(),
            id: None,
            uuid: None,
            time_ms: None,
            pushed_ms: None,
            document: Cow::Borrowed(std::str::from_utf8(envelope.body).unwrap_or_default()),
            path: Vec::new(),
            place: Place::Inside(String::new()),
            type_place: None,
        }
    }

    /// The event stands under this key of what was the event so far.
    pub(super) fn enter(&mut self, key: &'static str) {
        self.path.push(key);
        self.place = Place::Inside(self.pointer(key));
    }

    /// The event is the document that was decoded from the text under this key of what was the event
    /// so far.
    pub(super) fn enter_text(&mut self, key: &str, document: Vec<u8>) {
        self.place = Place::Decoded(self.pointer(key));
        self.document = Cow::Owned(String::from_utf8(document).unwrap_or_default());
        self.path.clear();
    }

    /// The JSON text to which these keys of the event lead, as it came.
    pub(super) fn text(&self, keys: &[&str]) -> Option<&str> {
        let all = self.path.iter().chain(keys);
        all.copied().try_fold(self.document.as_ref(), |text, key| fields::text_of_key(text, key))
    }

    /// The wrapping names the type under this key, and comes before one around it.
    pub(super) fn names_type_at(&mut self, key: &str) {
        self.type_place = Some(self.pointer(key));
    }

    /// A fault of the wrapping itself, under this key of what is the event so far.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) -> Box<Malformed> {
        Box::new(Fault::at(self.pointer(key), message).with(self.hints()))
    }

    /// What is known of a message of which the event cannot be read.
    pub(super) fn hints(&self) -> Hints {
        let event_type = event_type(self, None);
        let id = event_id(self, None, event_type.as_deref(), None);
        let shape = Some(self.shape).filter(|shape| *shape != Shape::Native);
        Hints { id: Some(id), event_type, shape, ..Hints::default() }
    }

    /// A fault of the event, told by its place in the body.
    pub(super) fn placed(&self, mut malformed: Malformed) -> Malformed {
        match (&self.place, &self.type_place) {
            (_, Some(place)) if malformed.kind == MalformedKind::UnknownEventType => {
                malformed.pointer.clone_from(place);
            }
            (Place::Inside(place), _) => malformed.pointer.insert_str(0, place),
            (Place::Decoded(place), _) => {
                if !malformed.pointer.is_empty() {
                    malformed.message += &format!(" (decoded, it is at {})", malformed.pointer);
                }
                malformed.pointer.clone_from(place);
            }
        }
        malformed
    }

    fn pointer(&self, key: &str) -> String {
        let (Place::Inside(place) | Place::Decoded(place)) = &self.place;
        if key.is_empty() { place.clone() } else { format!("{place}/{key}") }
    }
}

/// The event's id, and what is known of an event of which the type stands under this key.
pub(super) fn identify(
    outside: &Outside<'_>,
    event: &Object,
    type_key: &str,
    booking: Option<BookingRef>,
    company: Option<CompanyId>,
) -> (EventId, Hints) {
    let event_type = event_type(outside, event.get(type_key).and_then(Value::as_str));
    let id = event_id(outside, Some(event), event_type.as_deref(), booking.as_ref());
    (id.clone(), Hints { id: Some(id), event_type, booking, company, shape: Some(outside.shape) })
}

/// The type: our own header; else the first known type of the routing key, the AMQP type, what the
/// wrapping says (CloudEvents' type, Laravel's job), and the event.
///
/// When none is known, the wrapping or the event names an unknown one; routing key and AMQP type
/// often hold something else (a queue's name, a framework's class).
pub(super) fn event_type(outside: &Outside<'_>, in_event: Option<&str>) -> Option<String> {
    let envelope = outside.envelope;
    if let Some(name) = envelope.headers.get(TYPE_HEADER).and_then(|name| shown(name)) {
        return Some(name);
    }
    let known = |name: &&str| known_type(name).is_some();
    if let Some(name) = [Some(envelope.routing_key), envelope.message_type].into_iter().flatten().find(known)
    {
        return Some(name.to_owned());
    }
    let named = || outside.types.iter().map(String::as_str).chain(in_event).filter_map(shown);
    named().find(|name| known(&name.as_str())).or_else(|| named().next())
}

/// A type fit to be shown and stored: trimmed, without control characters, at most [`MAX_TEXT`] bytes.
fn shown(name: &str) -> Option<String> {
    let mut name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_TEXT));
    (!name.is_empty()).then_some(name)
}

/// The id: CloudEvents' `id`, `event_id`, AMQP `message_id`, `correlation_id`, Laravel's `uuid`, else
/// a hash of what the event is.
pub(super) fn event_id(
    outside: &Outside<'_>,
    event: Option<&Object>,
    event_type: Option<&str>,
    booking: Option<&BookingRef>,
) -> EventId {
    let envelope = outside.envelope;
    let in_event = event.and_then(|event| event.get("event_id")).and_then(id_text);
    let sources = [
        outside.id.as_deref(),
        in_event.as_deref(),
        envelope.message_id,
        envelope.correlation_id,
        outside.uuid.as_deref(),
    ];
    match sources.into_iter().flatten().find(|id| !id.trim().is_empty()) {
        Some(id) => EventId::new(id),
        None => EventId::of(&[
            event_type.unwrap_or_default().as_bytes(),
            booking.map_or("", BookingRef::as_str).as_bytes(),
            envelope.body,
        ]),
    }
}

/// An id as it may stand in JSON: a text or a number.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

const DAY_MS: i64 = 86_400_000;

/// The time of the event itself, from the first of these fields of it that holds one, else from
/// CloudEvents' `time`; else when it was published (Laravel's `pushedAt`, the AMQP timestamp) or first
/// received.
pub(super) fn event_time(outside: &Outside<'_>, event: &Object, fields: &[&str]) -> EventTime {
    if let Some(ms) = fields.iter().find_map(|key| fields::time_ms(event, key)).or(outside.time_ms) {
        return EventTime { ms, stamped: false };
    }
    let first_seen_ms = outside.envelope.first_seen_ms;
    // A publisher that counts in another unit would be the newest for ever.
    let plausible = |ms: &i64| *ms <= first_seen_ms.saturating_add(DAY_MS);
    let published = [outside.pushed_ms, outside.envelope.timestamp_ms].into_iter().flatten().find(plausible);
    EventTime { ms: published.unwrap_or(first_seen_ms), stamped: true }
}
