//! Parses JSON and drops unused keys: no tree is built for an event's attendees, answers, metadata and
//! descriptions. The unused values are still validated, so the same JSON is accepted or refused under every
//! key.

use std::cell::Cell;
use std::fmt::Formatter;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// The key for the encoding of the data in an old CloudEvents message.
pub(super) const CONTENT_ENCODING: &str = "datacontentencoding";

/// Returns the key if the shapes use it, in any object. Add new keys here first. (A `match` is far faster
/// than a search: most keys already differ in length.)
fn keep(key: &str) -> Option<String> {
    match key {
        "appointment_id" | "attendeeSeatId" | "bookingId" | "calcom_booking" | "command" | "company_id"
        | "createdAt" | "data" | "data_base64" | CONTENT_ENCODING | "displayEmail" | "displayName"
        | "email" | "event" | "event_id" | "hosts" | "id" | "job" | "name" | "occurred_at" | "organizer"
        | "payload" | "pushedAt" | "rescheduleId" | "rescheduleUid" | "rescheduledFromUid"
        | "rescheduledToUid" | "rootBookingUid" | "seatReferenceUid" | "seatUid" | "specversion"
        | "start" | "startTime" | "status" | "time" | "timeZone" | "triggerEvent" | "type" | "uid"
        | "updatedAt" | "user" | "userId" | "username" | "uuid" => Some(key.to_owned()),
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
/// Fails if `serde_json` cannot parse it as a [`Value`]; with an error of the category `Data` if it has more than
/// [`MAX_VALUES`] values to keep.
pub(super) fn from_str(text: &str) -> serde_json::Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let count = Cell::new(0);
    let value = Pruned::<true>(&count).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Parses a value, and keeps it if `KEEP` is true. Unlike serde's `IgnoredAny` it is equally strict in both
/// cases: it refuses halves of surrogate pairs, numbers out of range and unbounded nesting.
#[derive(Clone, Copy)]
struct Pruned<'a, const KEEP: bool>(&'a Cell<usize>);

impl<const KEEP: bool> Pruned<'_, KEEP> {
    /// Counts a value, if it is kept.
    fn count<E: Error>(self) -> Result<(), E> {
        let count = self.0.get() + usize::from(KEEP);
        self.0.set(count);
        if count > MAX_VALUES {
            Err(E::custom(format_args!("more than {MAX_VALUES} values")))
        } else {
            Ok(())
        }
    }
}

impl<'de, const KEEP: bool> DeserializeSeed<'de> for Pruned<'_, KEEP> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        self.count()?;
        deserializer.deserialize_any(self)
    }
}

impl<'de, const KEEP: bool> Visitor<'de> for Pruned<'_, KEEP> {
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
        Ok(if KEEP { value.into() } else { Value::Null })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut kept = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            if KEEP {
                kept.push(item);
            }
        }
        Ok(Value::Array(kept))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(key) = map.next_key_seed(Key(|key: &str| if KEEP { keep(key) } else { None }))? {
            match key {
                Some(key) => _ = kept.insert(key, map.next_value_seed(self)?),
                None => _ = map.next_value_seed(Pruned::<false>(self.0))?,
            }
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

    #[test]
    fn used_keys_are_kept_and_invalid_documents_are_refused() {
        let kept =
            from_str(r#"{"uid":"u","attendees":[{"name":"x"}],"hosts":[{"id":7,"bio":{"id":1}}],"uid":1.5}"#);
        assert_eq!(kept.unwrap(), serde_json::json!({"uid": 1.5, "hosts": [{"id": 7}]}));
        let many = |key: &str, count: usize| format!(r#"{{"{key}":[{}]}}"#, vec!["1"; count].join(","));
        assert!(from_str(&many("guests", 100_000)).is_ok(), "unused values do not count");
        assert!(from_str(&many("hosts", MAX_VALUES - 2)).is_ok());
        assert!(from_str(&many("hosts", MAX_VALUES - 1)).unwrap_err().is_data());
        let deep = format!(r#"{{"guests":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for refused in [r#"{"guests":"\ud800"}"#, r#"{"guests":1e999}"#, r#"{"guests":01}"#, "{} x", &deep] {
            let expected = serde_json::from_str::<Value>(refused).unwrap_err().to_string();
            assert_eq!(from_str(refused).unwrap_err().to_string(), expected, "{refused}");
        }
    }
}
