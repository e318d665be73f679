//! Parses JSON and drops unused keys: no tree is built for an event's attendees, answers, metadata and
//! descriptions. Unused values must have the grammar of JSON, and nothing more: halves of surrogate pairs, numbers
//! out of range and deep nesting are no fault there.

use std::cell::Cell;
use std::fmt::Formatter;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::forms;

/// The key for the encoding of the data in an old CloudEvents message.
pub(super) const CONTENT_ENCODING: &str = "datacontentencoding";

/// Returns the key if the shapes use it, in any object. Add new keys here first. (A `match` is far faster
/// than a search: most keys already differ in length.)
fn keep(key: &str) -> Option<String> {
    match key {
        "addedHostUserIds" | "appointment_id" | "attendeeSeatId" | "bookingId" | "bookingUid"
        | "calcom_booking" | "command" | "company_id" | "createdAt" | "data" | "data_base64"
        | CONTENT_ENCODING | "date" | "displayEmail" | "displayName" | "email" | "event" | "event_id"
        | "hosts" | "id" | "job" | "name" | "occurred_at" | "organizer" | "payload" | "pushedAt"
        | "rescheduleId" | "rescheduleUid" | "rescheduledFromUid" | "rescheduledToUid" | "rootBookingUid"
        | "seatReferenceUid" | "seatUid" | "specversion" | "start" | "startTime" | "status" | "time"
        | "timeZone" | "timezone" | "triggerEvent" | "type" | "uid" | "updatedAt" | "user" | "userId"
        | "username" | "uuid" => Some(key.to_owned()),
        // A list that PHP writes as an object.
        _ if forms::number(key).is_some() => Some(key.to_owned()),
        _ => None,
    }
}

/// The maximum number of values that are kept. A value takes up to 700 bytes, and can be as short as two: without
/// a limit, a body of 1 MiB could take more than 80 MiB. An event with as many bookings as are allowed has
/// about 20,000 values.
pub(super) const MAX_VALUES: usize = 50_000;

/// Parses a whole document; keeps only the object keys that [`keep`] returns.
///
/// # Errors
/// Fails if `serde_json` cannot parse the values to keep as a [`Value`]; with an error of the category `Data` if there
/// are more than [`MAX_VALUES`] of them, with those of `count`, which were kept before.
fn from_str(text: &str, count: &Cell<usize>) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Pruned(count).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Parses a document like [`from_str`], but accepts halves of surrogate pairs in what is kept: they are replaced. Also
/// returns the text with the replacements, if there were any.
///
/// # Errors
/// Fails like [`from_str`].
pub(super) fn from_str_leniently(
    text: &str,
    count: &Cell<usize>,
) -> serde_json::Result<(Value, Option<String>)> {
    let before = count.get();
    from_str(text, count).map(|value| (value, None)).or_else(|error| {
        let replaced = replace_lone_surrogates(text).ok_or(error)?;
        count.set(before);
        Ok((from_str(&replaced, count)?, Some(replaced)))
    })
}

/// Replaces each half of a surrogate pair that stands alone (`\ud83d`, what is left when a text is cut inside an
/// emoji) with the replacement character, in its own length. Returns `None` if there is none.
fn replace_lone_surrogates(text: &str) -> Option<String> {
    let code = |at: usize| {
        let digits = text.as_bytes().get(at..)?.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut replaced = None;
    let mut at = 0;
    while let Some(offset) = text.as_bytes()[at..].iter().position(|byte| *byte == b'\\') {
        at += offset;
        at += match (code(at), code(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                let bytes = replaced.get_or_insert_with(|| text.as_bytes().to_vec());
                bytes[at..at + 6].copy_from_slice(b"\\ufffd");
                6
            }
            // The next byte may be a backslash that does not begin an escape.
            _ => 2,
        };
        at = at.min(text.len());
    }
    String::from_utf8(replaced?).ok()
}

/// Parses a value and keeps it.
#[derive(Clone, Copy)]
struct Pruned<'a>(&'a Cell<usize>);

impl Pruned<'_> {
    /// Counts a value.
    fn count<E: Error>(self) -> Result<(), E> {
        let count = self.0.get() + 1;
        self.0.set(count);
        if count > MAX_VALUES {
            Err(E::custom(format_args!("more than {MAX_VALUES} values")))
        } else {
            Ok(())
        }
    }
}

impl<'de> DeserializeSeed<'de> for Pruned<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Pruned<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("any valid JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            kept.push(item);
        }
        Ok(Value::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (mut kept, mut has_other_keys) = (Map::new(), false);
        while let Some(key) = map.next_key_seed(Key(keep))? {
            match key {
                Some(key) => _ = kept.insert(key, map.next_value_seed(self)?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                    has_other_keys = true;
                }
            }
        }
        // Numbers sort before the other keys.
        let is_number = |key: &String| forms::number(key).is_some();
        if kept.keys().next().is_some_and(is_number)
            && (has_other_keys || !kept.keys().next_back().is_some_and(is_number))
        {
            kept.retain(|key, _| !is_number(key));
        }
        Ok(Value::Object(kept))
    }
}

/// Maps a key with a function, without allocating it.
pub(super) struct Key<F>(pub(super) F);

impl<'de, T, F: FnOnce(&str) -> T> DeserializeSeed<'de> for Key<F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> T> Visitor<'_> for Key<F> {
    type Value = T;

    fn expecting(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<T, E> {
        Ok((self.0)(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_str(text: &str) -> serde_json::Result<Value> {
        super::from_str(text, &Cell::new(0))
    }

    #[test]
    fn used_keys_are_kept_and_invalid_documents_are_refused() {
        let kept =
            from_str(r#"{"uid":"u","attendees":[{"name":"x"}],"hosts":[{"id":7,"bio":{"id":1}}],"uid":1.5}"#);
        assert_eq!(kept.unwrap(), serde_json::json!({"uid": 1.5, "hosts": [{"id": 7}]}));
        let numbered = from_str(r#"{"hosts":{"10":1,"2":{"3":4,"id":5}},"user":{"1":{},"note":2}}"#);
        assert_eq!(
            numbered.unwrap(),
            serde_json::json!({"hosts": {"10": 1, "2": {"id": 5}}, "user": {}}),
            "numbered keys are kept only where there are no others"
        );
        let many = |key: &str, count: usize| format!(r#"{{"{key}":[{}]}}"#, vec!["1"; count].join(","));
        assert!(from_str(&many("guests", 100_000)).is_ok(), "unused values do not count");
        assert!(from_str(&many("hosts", MAX_VALUES - 2)).is_ok());
        assert!(from_str(&many("hosts", MAX_VALUES - 1)).unwrap_err().is_data());
        for fault in
            [r#""\ud800""#, r#"{"\udc00":1}"#, "1e999", &format!("{}{}", "[".repeat(9999), "]".repeat(9999))]
        {
            assert!(from_str(&format!(r#"{{"guests":{fault}}}"#)).is_ok(), "{fault}");
            assert!(from_str(&format!(r#"{{"hosts":{fault}}}"#)).is_err(), "{fault}");
        }
        for value in ["01", "1e", "+1", "nul", r#""\ux""#, r#""\q""#, "\"\n\"", "[1,]", "[}", "{\"a\"}", "[1"]
        {
            let refused = format!(r#"{{"guests":{value}}}"#);
            assert!(
                serde_json::from_str::<Value>(&refused).is_err() && from_str(&refused).is_err(),
                "{refused}"
            );
        }
        assert!(from_str("{} x").is_err());
    }

    #[test]
    fn halves_of_surrogate_pairs_are_replaced_and_nothing_else() {
        for (text, expected) in [
            (r#"{"a":"x\ud83d"}"#, Some(r#"{"a":"x\ufffd"}"#)),
            (
                r#"["\uDC00\ud83d\u0041","\ud83d\ud83d\ude00"]"#,
                Some(r#"["\ufffd\ufffd\u0041","\ufffd\ud83d\ude00"]"#),
            ),
            (r#""\\ud83d\\\ud83d""#, Some(r#""\\ud83d\\\ufffd""#)),
            (r#""é\ud83d\n\ude00""#, Some(r#""é\ufffd\n\ufffd""#)),
            (r#""\ud83d\ude00 \\ud83d \u00e9""#, None),
            (r#""\ud83"#, None),
            (r#""\u+83d" \"#, None),
            ("é", None),
        ] {
            assert_eq!(replace_lone_surrogates(text).as_deref(), expected, "{text}");
        }
    }
}
