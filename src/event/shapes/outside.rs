//! The context of an event: the message's properties and the attributes of its wrapper. From these it
//! derives the event's type, its id and its time; each has several sources, and the first that is present
//! wins.

use std::borrow::Cow;

use serde_json::Value;

use super::fields::{self, Fault, Object};
use crate::event::booking::{EventTime, Shape};
use crate::event::decode::{Envelope, Hints, Malformed, MalformedKind, TYPE_HEADER, known_type};
use crate::event::ids::{BookingRef, CompanyId, EventId, MAX_TEXT};

/// The context of one event. Without a wrapper everything except the envelope is empty.
#[derive(Clone, Debug)]
pub(super) struct Outside<'a> {
    pub(super) envelope: &'a Envelope<'a>,
    /// The shape of the outermost wrapper, or of the event itself.
    pub(super) shape: Shape,
    /// The types that the wrapper names, in the order of precedence.
    pub(super) types: Vec<String>,
    /// CloudEvents' `id`: precedes all others.
    pub(super) id: Option<String>,
    /// Laravel's `uuid`: used last.
    pub(super) uuid: Option<String>,
    /// CloudEvents' `time`, in ms since 1970.
    pub(super) time_ms: Option<i64>,
    /// Laravel's `pushedAt`, in ms since 1970.
    pub(super) pushed_ms: Option<i64>,
    /// The document that contains the event: the body, or what was decoded from a string in it.
    document: Cow<'a, str>,
    /// The keys that lead to the event in that document.
    path: Vec<&'static str>,
    /// Where the event is in the body.
    place: Place,
    /// Where the wrapper names the type: a JSON pointer.
    type_place: Option<String>,
}

/// Where the event is.
#[derive(Clone, Debug)]
enum Place {
    /// A JSON pointer, the prefix of pointers into the event; empty when the event is the body.
    Inside(String),
    /// It was decoded from the string at this pointer; no pointer leads into it.
    Decoded(String),
}

impl<'a> Outside<'a> {
    /// Creates the context of an event that is the whole body.
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

    /// Enters a wrapper: the event is under this key of the current object.
    pub(super) fn enter(&mut self, key: &'static str) {
        self.path.push(key);
        self.place = Place::Inside(self.pointer(key));
    }

    /// Enters a wrapper: the event is the document that was decoded from the string under this key of the
    /// current object.
    pub(super) fn enter_text(&mut self, key: &str, document: Vec<u8>) {
        self.place = Place::Decoded(self.pointer(key));
        self.document = Cow::Owned(String::from_utf8(document).unwrap_or_default());
        self.path.clear();
    }

    /// Returns the original JSON text to which these keys of the event lead.
    pub(super) fn text(&self, keys: &[&str]) -> Option<&str> {
        let all = self.path.iter().chain(keys);
        all.copied().try_fold(self.document.as_ref(), |text, key| fields::text_of_key(text, key))
    }

    /// Records that this wrapper names the type under this key; it overrides an outer one.
    pub(super) fn names_type_at(&mut self, key: &str) {
        self.type_place = Some(self.pointer(key));
    }

    /// Creates a fault of the wrapper itself, under this key of the current object.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) -> Box<Malformed> {
        Box::new(Fault::at(self.pointer(key), message).with(self.hints()))
    }

    /// Returns what is known of a message whose event cannot be decoded.
    pub(super) fn hints(&self) -> Hints {
        let event_type = event_type(self, None);
        let id = event_id(self, None, event_type.as_deref(), None);
        let shape = Some(self.shape).filter(|shape| *shape != Shape::Native);
        Hints { id: Some(id), event_type, shape, ..Hints::default() }
    }

    /// Converts the pointer of a fault from its place in the event to its place in the body.
    pub(super) fn placed(&self, mut malformed: Malformed) -> Malformed {
        match (&self.place, &self.type_place) {
            (_, Some(place)) if malformed.kind == MalformedKind::UnknownEventType => {
                malformed.pointer.clone_from(place);
            }
            (Place::Inside(place), _) => malformed.pointer.insert_str(0, place),
            (Place::Decoded(place), _) => {
                if !malformed.pointer.is_empty() {
                    malformed.message += &format!(" (at {} of the decoded text)", malformed.pointer);
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

/// Returns the event's id and hints, for an event whose type is under this key.
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

/// Returns the type: from our own header, otherwise the first known type among the routing key, the AMQP
/// type, the wrapper (CloudEvents' type, Laravel's job) and the event.
///
/// When none is known, returns the unknown type of the wrapper or the event; routing key and AMQP type often
/// hold something else (a queue's name, a framework's class).
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

/// Cleans a type for display and storage: trimmed, without control characters, at most [`MAX_TEXT`] bytes.
fn shown(name: &str) -> Option<String> {
    let mut name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_TEXT));
    (!name.is_empty()).then_some(name)
}

/// Returns the id: CloudEvents' `id`, `event_id`, AMQP `message_id`, `correlation_id`, Laravel's `uuid`,
/// otherwise a hash of the type, the booking and the body.
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

/// Returns an id from JSON: a string or a number.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

const DAY_MS: i64 = 86_400_000;

/// Returns the event's own time, from the first of these fields that holds one, otherwise from CloudEvents'
/// `time`; otherwise when it was published (Laravel's `pushedAt`, the AMQP timestamp) or first received.
pub(super) fn event_time(outside: &Outside<'_>, event: &Object, fields: &[&str]) -> EventTime {
    if let Some(ms) = fields.iter().find_map(|key| fields::time_ms(event, key)).or(outside.time_ms) {
        return EventTime { ms, stamped: false };
    }
    let first_seen_ms = outside.envelope.first_seen_ms;
    // With a timestamp in another unit an event would stay the newest for ever.
    let plausible = |ms: &i64| *ms <= first_seen_ms.saturating_add(DAY_MS);
    let published = [outside.pushed_ms, outside.envelope.timestamp_ms].into_iter().flatten().find(plausible);
    EventTime { ms: published.unwrap_or(first_seen_ms), stamped: true }
}
