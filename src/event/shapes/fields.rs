//! Decodes individual fields of an event. Each function returns the accepted value, or an error with a JSON
//! pointer to the field.

use std::collections::BTreeMap;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::{Iso8601, Rfc3339};

use super::pruned::Key;
use crate::event::decode::{Hints, Malformed, MalformedKind};
use crate::event::ids::BookingRef;
use crate::event::zone::LocalZone;

/// A JSON object.
pub(super) type Object = Map<String, Value>;

/// The reason why a message is malformed, before hints are added.
#[derive(Debug)]
pub(super) struct Fault {
    kind: MalformedKind,
    pointer: String,
    message: String,
}

impl Fault {
    /// Creates a fault at `pointer`. `message` must not contain a value from the event.
    pub(super) fn new(kind: MalformedKind, pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self { kind, pointer: pointer.into(), message: message.into() }
    }

    /// Creates a fault of the common kind, [`MalformedKind::Malformed`].
    pub(super) fn at(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(MalformedKind::Malformed, pointer, message)
    }

    /// Adds the hints that could still be decoded.
    pub(super) fn with_hints(self, hints: Hints) -> Malformed {
        Malformed { kind: self.kind, pointer: self.pointer, message: self.message, hints: Box::new(hints) }
    }
}

/// Names the type of a JSON value, for an error text that does not show the value.
pub(super) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Returns a field that exists and is not null.
pub(super) fn present<'a>(object: &'a Object, key: &str) -> Option<&'a Value> {
    object.get(key).filter(|value| !value.is_null())
}

/// Returns whether a value is a string without anything to see, which counts as absent.
pub(super) fn is_blank(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// Decodes a key of a gateway table: a positive whole number, or a string with one.
///
/// # Errors
/// Fails if the value is anything else, except null and a blank string.
pub(super) fn positive_id(object: &Object, key: &str) -> Result<Option<i64>, Fault> {
    let Some(value) = present(object, key).filter(|value| !is_blank(value)) else { return Ok(None) };
    whole_number(value).filter(|number| *number > 0).map(Some).ok_or_else(|| {
        Fault::at(
            format!("/{key}"),
            format!("{key} must be a positive whole number (a string of digits is accepted)"),
        )
    })
}

/// Decodes a whole number, or a string of digits; either may end in `.0`.
pub(super) fn whole_number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
        Value::String(text) => {
            let text = text.trim();
            let is_zero = |fraction: &str| !fraction.is_empty() && fraction.bytes().all(|b| b == b'0');
            let digits =
                text.split_once('.').filter(|(_, fraction)| is_zero(fraction)).map_or(text, |it| it.0);
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// Returns a number that was written with a fraction of zero (`211.0`), as programs write whole numbers that they
/// keep as floats. `None` if it has another fraction, or is so large that it may have lost digits.
fn whole(number: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64)
}

/// Decodes a reference to a booking: a string or a whole number. null and a blank string are treated as
/// absent.
///
/// # Errors
/// Fails if the value has another type, or if the string is too long or contains NUL.
pub(super) fn reference(object: &Object, key: &str, pointer: &str) -> Result<Option<BookingRef>, Fault> {
    let Some(value) = present(object, key) else { return Ok(None) };
    let at = |message: String| Fault::at(format!("{pointer}/{key}"), message);
    match value {
        blank if is_blank(blank) => Ok(None),
        Value::String(text) => BookingRef::new(text)
            .map(Some)
            .ok_or_else(|| at(format!("{key} is longer than 255 bytes or contains a NUL character"))),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            Ok(BookingRef::new(&number.to_string()))
        }
        other => match other.as_f64().and_then(whole) {
            Some(number) => Ok(BookingRef::new(&number.to_string())),
            None => {
                let found = describe_non_integer(other);
                Err(at(format!("{key} must be a string or a whole number, not {found}")))
            }
        },
    }
}

fn describe_non_integer(value: &Value) -> &'static str {
    if value.is_number() { "a fraction or a number that exceeds 64 bits" } else { json_type(value) }
}

/// A time that an event gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenTime {
    /// ms since 1970 (UTC)
    pub(super) ms: i64,
    /// Whether it names no zone, so that it was read in the local one.
    pub(super) is_local: bool,
}

/// Decodes a time: RFC 3339, or ISO 8601 with an offset, or without one and then in `zone`; or an object that PHP
/// makes of a `DateTime`. Everything else is treated as absent, and so is a year that no DATETIME column can hold.
pub(super) fn time(object: &Object, key: &str, zone: &LocalZone) -> Option<GivenTime> {
    match object.get(key)? {
        Value::String(text) => text_time(text, zone),
        Value::Object(php) => {
            let zone = LocalZone::parse(php.get("timezone")?.as_str()?)?;
            text_time(php.get("date")?.as_str()?, &zone).map(|time| GivenTime { is_local: false, ..time })
        }
        _ => None,
    }
}

/// Decodes a time from a string.
pub(super) fn text_time(text: &str, zone: &LocalZone) -> Option<GivenTime> {
    let text = text.trim();
    let absolute = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::PARSING))
        .ok()
        .and_then(|time| i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).ok());
    let (ms, is_local) = match absolute {
        Some(ms) => (ms, false),
        None => (zone.to_ms(text)?, true),
    };
    (0..YEAR_10000_MS).contains(&ms).then_some(GivenTime { ms, is_local })
}

/// Decodes seconds since 1970 from PHP's `microtime(true)`, as a number or a string, into ms. Everything else
/// is treated as absent.
pub(super) fn seconds_ms(value: &Value) -> Option<i64> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    let ms = (seconds * 1000.0).floor();
    // In this range both types hold every whole number exactly; NaN is outside it.
    (0.0..YEAR_10000_MS as f64).contains(&ms).then_some(ms as i64)
}

/// 10000-01-01T00:00:00Z.
const YEAR_10000_MS: i64 = 253_402_300_800_000;

/// Decodes a name or an address for people: decodes HTML entities, which Cal.com's payload templates leave in
/// values (`O&#x27;Neil`), removes control characters, and trims it. Returns `None` if nothing remains.
pub(super) fn display_text(object: &Object, key: &str) -> Option<String> {
    let text = html_escape::decode_html_entities(object.get(key)?.as_str()?);
    if !text.chars().any(char::is_control) {
        let trimmed = text.trim();
        return (!trimmed.is_empty()).then(|| trimmed.to_owned());
    }
    let visible: String = text
        .chars()
        // A tab between two names becomes a space; a NUL is removed.
        .map(|c| if c.is_control() && c.is_whitespace() { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    let trimmed = visible.trim();
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// Returns the JSON text of a key's value in an object; if the key occurs twice, that of the last value.
pub(super) fn text_of_key<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    let found = serde_json::Deserializer::from_str(object).deserialize_map(ValueOf(key));
    found.ok().flatten().map(RawValue::get)
}

/// Returns the JSON texts of the items of a list, which may be an object with numbered keys.
pub(super) fn text_of_items(list: &str) -> Vec<&str> {
    if list.trim_start().starts_with('{') {
        let items: BTreeMap<u64, &RawValue> = serde_json::from_str(list).unwrap_or_default();
        return items.into_values().map(RawValue::get).collect();
    }
    let items: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
    items.into_iter().map(RawValue::get).collect()
}

struct ValueOf<'k>(&'k str);

impl<'de> Visitor<'de> for ValueOf<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(matches) = map.next_key_seed(Key(|key: &str| key == self.0))? {
            if matches {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        serde_json::from_value(json!({ "v": value })).unwrap()
    }

    #[test]
    fn times_are_read_and_everything_else_is_treated_as_absent() {
        let berlin = LocalZone::parse("Europe/Berlin").unwrap();
        let read_time = |text: &str| time(&object(json!(text)), "v", &berlin);
        let read = |text: &str| read_time(text).map(|time| time.ms);
        let local = Some(GivenTime { ms: 1_759_731_243_000, is_local: true });
        assert_eq!(read_time("2025-10-06 08:14:03"), local, "as PHP's date('Y-m-d H:i:s') writes it");
        assert_eq!(read_time("2025-10-06T08:14:03"), local);
        assert_eq!(read("2025-10-06T08:14:03.120Z"), Some(1_759_738_443_120));
        assert_eq!(read("2025-10-06T10:14:03.120+02:00"), Some(1_759_738_443_120));
        assert_eq!(
            read("2025-10-06T08:14:03+0000"),
            Some(1_759_738_443_000),
            "as PHP's DATE_ISO8601 writes it"
        );
        assert_eq!(read(" 2025-10-06T08:14:03Z "), Some(1_759_738_443_000));
        assert_eq!(read("9999-12-31T23:59:59Z"), Some(YEAR_10000_MS - 1000));
        for absent in [
            "",
            "yesterday",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59-01:00",
            "+999999-12-31T23:59:59Z",
            "-999999-01-01T00:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "2025-13-40T99:99:99Z",
            "2025-13-40 99:99:99",
            "0000-00-00 00:00:00",
        ] {
            assert_eq!(read(absent), None, "{absent:?}");
        }
        assert_eq!(time(&object(json!(1_759_738_443)), "v", &berlin), None);
        // As PHP encodes a DateTime.
        for (zone, ms) in [
            ("America/New_York", Some(1_759_752_843_120)),
            ("+02:00", Some(1_759_731_243_120)),
            ("UTC", Some(1_759_738_443_120)),
            ("Mars/Olympus", None),
        ] {
            let php = json!({"date": "2025-10-06 08:14:03.120000", "timezone_type": 3, "timezone": zone});
            let expected = ms.map(|ms| GivenTime { ms, is_local: false });
            assert_eq!(time(&object(php), "v", &berlin), expected, "{zone}");
        }
        assert_eq!(time(&object(json!({"date": "2025-10-06 08:14:03"})), "v", &berlin), None);
    }

    #[test]
    fn seconds_may_be_numbers_or_strings_and_have_fractions() {
        for (value, ms) in [
            (json!("1732290000.1239"), Some(1_732_290_000_123)),
            (json!(1_732_290_000.5), Some(1_732_290_000_500)),
            (json!(1_732_290_000), Some(1_732_290_000_000)),
            (json!("1732290000,5"), None),
            (json!("NaN"), None),
            (json!("inf"), None),
            (json!("-1"), None),
            (json!(1e300), None),
            (json!(null), None),
        ] {
            assert_eq!(seconds_ms(&value), ms, "{value}");
        }
    }

    #[test]
    fn whole_numbers_may_be_strings_of_digits() {
        for (value, number) in [
            (json!(7), Some(7)),
            (json!(" 07 "), Some(7)),
            (json!(211.0), Some(211)),
            (json!("211.0"), Some(211)),
            (json!("9223372036854775807"), Some(i64::MAX)),
            (json!("9223372036854775808"), None),
            (json!(9_223_372_036_854_775_808_u64), None),
            (json!(1.5), None),
            (json!("1.5"), None),
            (json!("7."), None),
            (json!(".0"), None),
            (json!(9_007_199_254_740_992.0), None),
            (json!("+7"), None),
            (json!(""), None),
            (json!(true), None),
        ] {
            assert_eq!(whole_number(&value), number, "{value}");
        }
    }

    #[test]
    fn strings_lose_control_characters_and_outer_spaces() {
        let read = |text: &str| display_text(&object(json!(text)), "v");
        assert_eq!(read(" Mara\tLind\0\u{7f} \n"), Some("Mara Lind".to_owned()));
        assert_eq!(read("\0 \t"), None);
        assert_eq!(read("Ж́ 🙂"), Some("Ж́ 🙂".to_owned()));
        assert_eq!(read("O&#x27;Neil &amp; Co"), Some("O'Neil & Co".to_owned()));
        assert_eq!(read("M&uuml;ller&#10;"), Some("Müller".to_owned()));
        assert_eq!(read("A & B; R&D"), Some("A & B; R&D".to_owned()));
    }

    #[test]
    fn text_of_key_returns_the_original_text_and_the_last_duplicate() {
        let document = r#" {"a": 1, "\u0062" : { "c":1.0e2 } , "a":[ 1, {"x" : "\u00e4"}]} "#;
        assert_eq!(text_of_key(document, "b"), Some(r#"{ "c":1.0e2 }"#));
        assert_eq!(text_of_key(document, "a").map(text_of_items), Some(vec!["1", r#"{"x" : "\u00e4"}"#]));
        assert_eq!(text_of_items(r#"{"10": [1], "2": {"x":1}}"#), [r#"{"x":1}"#, "[1]"]);
        assert_eq!(text_of_key(document, "c"), None);
        assert_eq!(text_of_key("[1]", "a"), None);
    }
}
