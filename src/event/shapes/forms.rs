//! Reads values in the forms that PHP gives them: JSON text in place of a value (encoded twice), an object with
//! numbered keys in place of a list (an array that a filter has left without its first item), one host in place of
//! a list of hosts, and a list of one in place of an object.

use std::borrow::Cow;
use std::cell::Cell;

use serde_json::Value;

use super::fields::Object;
use super::{booking, pruned, unread};
use crate::event::booking::{FormNote, OddForm};

/// Decodes JSON text in the bookings under `key` of an event, or in the event itself if that is the booking, and
/// removes what stands for no host. Returns what has another form than expected.
pub(super) fn normalise(event: &mut Object, key: &str) -> Vec<FormNote> {
    let mut normaliser =
        Normaliser { path: String::with_capacity(64), values: Cell::new(0), notes: Vec::new() };
    unread::in_event(event, |key, form| normaliser.note_at(&[key], form));
    match event.get_mut(key) {
        Some(value) => normaliser.at(key, |this| this.bookings(value, true)),
        None => normaliser.fields(event, true),
    }
    normaliser.notes
}

struct Normaliser {
    /// The JSON pointer to the current value.
    path: String,
    /// The number of values in decoded text, which is limited as in a body.
    values: Cell<usize>,
    notes: Vec<FormNote>,
}

impl Normaliser {
    /// Does `work` on the value under this key of the current one.
    fn at(&mut self, key: &str, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push('/');
        self.path.push_str(key);
        work(self);
        self.path.truncate(length);
    }

    fn note(&mut self, form: OddForm) {
        self.notes.push(FormNote { pointer: self.path.clone(), form });
    }

    /// Notes the form of a value inside the current one.
    fn note_at(&mut self, keys: &[&str], form: OddForm) {
        let pointer = keys.iter().fold(self.path.clone(), |path, key| path + "/" + key);
        self.notes.push(FormNote { pointer, form });
    }

    /// Replaces JSON text of an object or a list by its value. Other text stays, and is refused where it is read.
    fn decode_text(&mut self, value: &mut Value) {
        if let Value::String(text) = value
            && text.trim_start().starts_with(['{', '['])
            && let Ok((decoded, replaced)) = pruned::from_str_leniently(text, &self.values)
        {
            *value = decoded;
            self.note(OddForm::Text);
            if replaced.is_some() {
                self.note(OddForm::HalfCharacter);
            }
        }
    }

    /// A booking, a list of them, or the API's envelope around either.
    fn bookings(&mut self, value: &mut Value, has_envelope: bool) {
        self.decode_text(value);
        match value {
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.at(&index.to_string(), |this| this.booking(item, has_envelope));
                }
            }
            Value::Object(object) if is_numbered(object) => {
                self.note(OddForm::Numbered);
                for (key, item) in object {
                    self.at(key, |this| this.booking(item, has_envelope));
                }
            }
            Value::Object(object) => self.fields(object, has_envelope),
            _ => {}
        }
    }

    fn booking(&mut self, value: &mut Value, has_envelope: bool) {
        self.decode_text(value);
        if let Value::Object(object) = value {
            self.fields(object, has_envelope);
        }
    }

    fn fields(&mut self, object: &mut Object, has_envelope: bool) {
        if let Some(hosts) = object.get_mut("hosts")
            && !matches!(hosts, Value::Array(items) if items.first().is_none_or(Value::is_object))
        {
            self.at("hosts", |this| this.hosts(hosts));
        }
        for key in ["organizer", "user"] {
            if let Some(host) = object.get_mut(key)
                && !matches!(host, Value::Object(object) if !is_numbered(object))
            {
                self.at(key, |this| this.host(host));
            }
        }
        if has_envelope && let Some(data) = object.get_mut("data") {
            self.at("data", |this| this.bookings(data, false));
        }
        self.unread(object);
    }

    /// Notes the values of a booking that count as absent.
    fn unread(&mut self, object: &Object) {
        unread::in_booking(object, |key, form| self.note_at(&[key], form));
        if let Some((item, Value::Object(host))) = object.get("hosts").and_then(first_host) {
            let item = item.map(|item| item.to_string());
            unread::in_host(host, |key, form| {
                let keys: Vec<&str> = ["hosts"].into_iter().chain(item.as_deref()).chain([key]).collect();
                self.note_at(&keys, form);
            });
        }
        for field in ["organizer", "user"] {
            if let Some(host) = object.get(field).and_then(single_host) {
                unread::in_host(host, |key, form| self.note_at(&[field, key], form));
            }
        }
    }

    fn hosts(&mut self, value: &mut Value) {
        self.decode_text(value);
        match value {
            Value::Array(items) => {
                if let Some(first) = items.first_mut() {
                    self.at("0", |this| this.decode_text(first));
                }
            }
            Value::Object(object) if is_numbered(object) => {
                self.note(OddForm::Numbered);
                for (key, item) in object {
                    self.at(key, |this| this.decode_text(item));
                }
            }
            Value::Object(object) if !object.is_empty() => self.note(OddForm::Single),
            _ => self.remove_nothing(value),
        }
    }

    fn host(&mut self, value: &mut Value) {
        self.decode_text(value);
        match value {
            Value::Array(items) if items.len() == 1 => self.note(OddForm::ListOfOne),
            Value::Object(object) if object.len() == 1 && is_numbered(object) => {
                self.note(OddForm::Numbered);
            }
            _ => self.remove_nothing(value),
        }
    }

    fn remove_nothing(&mut self, value: &mut Value) {
        if is_nothing(value) && !value.is_null() {
            *value = Value::Null;
            self.note(OddForm::Nothing);
        }
    }
}

/// Returns whether a value stands for no object: null, false, a blank string, or PHP's empty array.
pub(super) fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Returns the items of a list and their keys, in order. `None` if the value is not a list.
pub(super) fn items(value: &Value) -> Option<Vec<(u64, &Value)>> {
    match value {
        Value::Array(items) => Some((0..).zip(items).collect()),
        Value::Object(object) if is_numbered(object) => {
            let numbered = object.iter().filter_map(|(key, item)| Some((number(key)?, item)));
            let mut items: Vec<_> = numbered.collect();
            items.sort_unstable_by_key(|(key, _)| *key);
            Some(items)
        }
        _ => None,
    }
}

/// Returns the first host of a list of hosts and its key; no key if the value is the host itself. `None` if there is
/// none, or if the order is unknown because each key is the id of its host.
pub(super) fn first_host(hosts: &Value) -> Option<(Option<u64>, &Value)> {
    match hosts {
        Value::Array(items) => Some((Some(0), items.first()?)),
        Value::Object(object) if is_numbered(object) => {
            let items = items(hosts)?;
            let is_own_id = |(key, host): &(u64, &Value)| booking::host_key(host) == Some(*key);
            let (key, host) = *items.first()?;
            (items.len() == 1 || !items.iter().all(is_own_id)).then_some((Some(key), host))
        }
        Value::Object(object) if !object.is_empty() => Some((None, hosts)),
        _ => None,
    }
}

/// Returns the host in a field for one host.
pub(super) fn single_host(value: &Value) -> Option<&Object> {
    match (value, items(value).as_deref()) {
        (_, Some([(_, host)])) => host.as_object(),
        (_, Some(_)) => None,
        (value, None) => value.as_object(),
    }
}

/// Returns whether all keys are numbers.
fn is_numbered(object: &Object) -> bool {
    !object.is_empty() && object.keys().all(|key| number(key).is_some())
}

/// Returns the number that a key of a PHP array is.
pub(super) fn number(key: &str) -> Option<u64> {
    let is_number = key.len() <= 10 && key.bytes().all(|byte| byte.is_ascii_digit());
    let is_canonical = key == "0" || !key.starts_with('0');
    if is_number && is_canonical { key.parse().ok() } else { None }
}

/// Returns the JSON text of a value; if that is a string, the JSON text in it.
pub(super) fn text_in(json: &str) -> Cow<'_, str> {
    let is_string = json.starts_with('"');
    let decoded = is_string.then(|| serde_json::from_str(json).ok()).flatten();
    decoded.map_or(Cow::Borrowed(json), Cow::Owned)
}
