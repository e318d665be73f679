//! The context of an event: the message's properties and the attributes of its wrapper. This module derives
//! the event's type, id and time from these; each has several sources, and the first that is present wins.

use std::borrow::Cow;

use serde_json::Value;

use super::Document;
use super::fields::{self, Fault, GivenTime, Object};
use crate::event::booking::{BookingEvent, EventTime, Shape, TimeNote};
use crate::event::decode::{Envelope, Hints, Malformed, MalformedKind, TYPE_HEADER, known_type};
use crate::event::ids::{BookingRef, CompanyId, EventId, MAX_TEXT};

/// The context of one event. Without a wrapper the attributes (`types`, `id`, `uuid`, `time`, `pushed_ms`)
/// are empty.
#[derive(Clone, Debug)]
pub(super) struct EventContext<'a> {
    pub(super) envelope: &'a Envelope<'a>,
    /// The shape of the outermost wrapper, or of the event itself.
    pub(super) shape: Shape,
    /// The types that the wrapper names, in order of precedence.
    pub(super) types: Vec<String>,
    /// CloudEvents' `id`, which takes precedence over all other ids.
    pub(super) id: Option<String>,
    /// Laravel's `uuid`, the last fallback.
    pub(super) uuid: Option<String>,
    /// CloudEvents' `time`.
    pub(super) time: Option<GivenTime>,
    /// Laravel's `pushedAt`, in ms since 1970.
    pub(super) pushed_ms: Option<i64>,
    /// The document that contains the event: the body, or a document that was decoded from a string in the
    /// body.
    document: Cow<'a, str>,
    /// Whether halves of surrogate pairs were replaced in that document.
    pub(super) has_half_characters: bool,
    /// The keys that lead to the event in that document.
    path: Vec<&'static str>,
    /// The location of the event in the body.
    location: Location,
    /// A JSON pointer to the type in the wrapper.
    type_pointer: Option<String>,
}

/// The location of the event.
#[derive(Clone, Debug)]
enum Location {
    /// The JSON pointer to the event, a prefix of all pointers into it; empty if the event is the body.
    Pointer(String),
    /// The event was decoded from the string at this pointer, so no pointer leads into the event.
    DecodedFrom(String),
}

impl<'a> EventContext<'a> {
    /// Creates the context of an event that is the whole body.
    pub(super) fn new(envelope: &'a Envelope<'a>) -> Self {
        Self {
            envelope,
            shape: Shape::Native,
            types: Vec::new(),
            id: None,
            uuid: None,
            time: None,
            pushed_ms: None,
            document: Cow::Borrowed(std::str::from_utf8(envelope.body).unwrap_or_default()),
            has_half_characters: false,
            path: Vec::new(),
            location: Location::Pointer(String::new()),
            type_pointer: None,
        }
    }

    /// Sets the document that contains the event, and returns its object.
    pub(super) fn set_document(&mut self, Document { object, replaced }: Document) -> Object {
        if let Some(text) = replaced {
            self.document = Cow::Owned(text);
            self.has_half_characters = true;
        }
        object
    }

    /// Enters a wrapper: the event is under this key of the current object.
    pub(super) fn enter(&mut self, key: &'static str) {
        self.path.push(key);
        self.location = Location::Pointer(self.pointer(key));
    }

    /// Enters a wrapper: the event is the document that was decoded from the string under this key of the
    /// current object.
    pub(super) fn enter_decoded(&mut self, key: &str, document: Vec<u8>) {
        self.location = Location::DecodedFrom(self.pointer(key));
        self.document = Cow::Owned(String::from_utf8(document).unwrap_or_default());
        self.path.clear();
    }

    /// Returns the original JSON text of the value at this path of keys in the event.
    pub(super) fn raw_json_at(&self, keys: &[&str]) -> Option<&str> {
        let all = self.path.iter().chain(keys);
        all.copied().try_fold(self.document.as_ref(), |text, key| fields::text_of_key(text, key))
    }

    /// Records that this wrapper names the type under this key; this overrides the type of an outer wrapper.
    pub(super) fn set_type_pointer(&mut self, key: &str) {
        self.type_pointer = Some(self.pointer(key));
    }

    /// Creates a fault of the wrapper itself, under this key of the current object.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>) -> Box<Malformed> {
        Box::new(Fault::at(self.pointer(key), message).with_hints(self.hints()))
    }

    /// Returns the hints about a message whose event cannot be decoded.
    pub(super) fn hints(&self) -> Hints {
        let event_type = event_type(self, None);
        let id = event_id(self, None, event_type.as_deref(), None);
        let shape = Some(self.shape).filter(|shape| *shape != Shape::Native);
        Hints { id: Some(id), event_type, shape, ..Hints::default() }
    }

    /// Converts the pointer of a fault, which is relative to the event, into a pointer into the body.
    pub(super) fn with_body_pointer(&self, mut malformed: Malformed) -> Malformed {
        match (&self.location, &self.type_pointer) {
            (_, Some(pointer)) if malformed.kind == MalformedKind::UnknownEventType => {
                malformed.pointer.clone_from(pointer);
            }
            (Location::Pointer(prefix), _) => malformed.pointer.insert_str(0, prefix),
            (Location::DecodedFrom(pointer), _) => {
                if !malformed.pointer.is_empty() {
                    malformed.message += &format!(" (at {} in the decoded data)", malformed.pointer);
                }
                malformed.pointer.clone_from(pointer);
            }
        }
        malformed
    }

    /// Converts the pointers in an event, which are relative to the event, into pointers into the body. They stay
    /// as they are if no pointer leads into the event.
    pub(super) fn set_body_pointers(&self, event: &mut BookingEvent) {
        let Location::Pointer(prefix) = &self.location else { return };
        let notes = event.form_notes.iter_mut().map(|note| &mut note.pointer);
        let places = event.bookings.iter_mut().filter_map(|booking| booking.host_missing_at.as_mut());
        notes.chain(places).for_each(|pointer| pointer.insert_str(0, prefix));
    }

    fn pointer(&self, key: &str) -> String {
        let (Location::Pointer(pointer) | Location::DecodedFrom(pointer)) = &self.location;
        if key.is_empty() { pointer.clone() } else { format!("{pointer}/{key}") }
    }
}

/// Returns the event's id and hints, for an event whose type is under this key.
pub(super) fn identify(
    context: &EventContext<'_>,
    event: &Object,
    type_key: &str,
    booking: Option<BookingRef>,
    company: Option<CompanyId>,
) -> (EventId, Hints) {
    let event_type = event_type(context, event.get(type_key).and_then(Value::as_str));
    let id = event_id(context, Some(event), event_type.as_deref(), booking.as_ref());
    (id.clone(), Hints { id: Some(id), event_type, booking, company, shape: Some(context.shape) })
}

/// Returns the type: from our own header, otherwise the first known type among the routing key, the AMQP
/// type, the wrapper (CloudEvents' type, Laravel's job) and the event.
///
/// When none is known, returns the unknown type of the wrapper or the event; the routing key and the AMQP
/// type often hold something else (a queue's name, a framework's class).
pub(super) fn event_type(context: &EventContext<'_>, in_event: Option<&str>) -> Option<String> {
    let envelope = context.envelope;
    if let Some(name) = envelope.headers.get(TYPE_HEADER).and_then(|name| clean_type(name)) {
        return Some(name);
    }
    let known = |name: &&str| known_type(name).is_some();
    if let Some(name) = [Some(envelope.routing_key), envelope.message_type].into_iter().flatten().find(known)
    {
        return Some(name.to_owned());
    }
    let named = || context.types.iter().map(String::as_str).chain(in_event).filter_map(clean_type);
    named().find(|name| known(&name.as_str())).or_else(|| named().next())
}

/// Cleans a type for display and storage: trimmed, without control characters, at most [`MAX_TEXT`] bytes.
fn clean_type(name: &str) -> Option<String> {
    let mut name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    name.truncate(name.floor_char_boundary(MAX_TEXT));
    (!name.is_empty()).then_some(name)
}

/// Returns the event's id, from the first of these that is present: CloudEvents' `id`, `event_id`, AMQP
/// `message_id`, `correlation_id`, Laravel's `uuid`, otherwise a hash of the type, the booking and the body.
pub(super) fn event_id(
    context: &EventContext<'_>,
    event: Option<&Object>,
    event_type: Option<&str>,
    booking: Option<&BookingRef>,
) -> EventId {
    let envelope = context.envelope;
    let in_event = event.and_then(|event| event.get("event_id")).and_then(id_text);
    let sources = [
        context.id.as_deref(),
        in_event.as_deref(),
        envelope.message_id,
        envelope.correlation_id,
        context.uuid.as_deref(),
    ];
    match sources.into_iter().flatten().find(|id| !id.trim().is_empty()) {
        Some(id) => EventId::new(id),
        None => EventId::hash_of(&[
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

/// Returns the event's time: its own, from the first of these fields that holds one, otherwise CloudEvents'
/// `time`, otherwise the time at which the event was published (Laravel's `pushedAt`, the AMQP timestamp) or
/// first received. The note is about its own time.
pub(super) fn event_time(
    context: &EventContext<'_>,
    event: &Object,
    fields: &[&str],
) -> (EventTime, Option<TimeNote>) {
    let envelope = context.envelope;
    let given = fields.iter().map(|key| fields::time(event, key, envelope.zone));
    let (own, note) = own_time(envelope, given.chain([context.time]).flatten());
    let time = own.unwrap_or_else(|| {
        let published = [context.pushed_ms, envelope.timestamp_ms].into_iter().flatten();
        let ms = published.into_iter().find(|ms| is_plausible(envelope, *ms));
        EventTime { ms: ms.unwrap_or(envelope.first_seen_ms), is_inferred: true }
    });
    (time, note)
}

/// Returns the first of these times that is not in the future.
pub(super) fn own_time(
    envelope: &Envelope<'_>,
    given: impl IntoIterator<Item = GivenTime>,
) -> (Option<EventTime>, Option<TimeNote>) {
    let mut note = None;
    for GivenTime { ms, is_local } in given {
        if is_plausible(envelope, ms) {
            let note = note.or(is_local.then_some(TimeNote::Local));
            return (Some(EventTime { ms, is_inferred: false }), note);
        }
        note = Some(TimeNote::Future);
    }
    (None, note)
}

/// Returns whether an event may have this time. One that lies in the future (or is in another unit, such as
/// µs) would make the event the newest of its appointment forever.
fn is_plausible(envelope: &Envelope<'_>, ms: i64) -> bool {
    ms <= envelope.first_seen_ms.saturating_add(EventTime::MAX_AHEAD_MS)
}
