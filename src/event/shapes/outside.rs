//! What stands around an event: the message's properties, and what its wrapping says of it.

use std::borrow::Cow;

use super::fields::Fault;
use super::text;
use crate::event::booking::Shape;
use crate::event::decode::{Hints, Malformed, MalformedKind};
use crate::event::envelope::Envelope;

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
        all.copied().try_fold(self.document.as_ref(), |text, key| text::of_key(text, key))
    }

    /// The wrapping names the type under this key, and comes before one around it.
    pub(super) fn names_type_at(&mut self, key: &str) {
        self.type_place = Some(self.pointer(key));
    }

    /// A fault of the wrapping itself, under this key of what is the event so far.
    pub(super) fn fault(&self, key: &str, message: impl Into<String>, hints: Hints) -> Malformed {
        Fault::at(self.pointer(key), message).with(hints)
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
