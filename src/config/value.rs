//! Parses single values: durations, sizes and secrets; also numbers and booleans, which may be written as
//! strings, because environment variables contain only strings.

use std::fmt;
use std::time::Duration;

use figment::value::{Num, Value};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value that is never shown: `Debug` and `Serialize` print `[hidden]` (or nothing for an empty value).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself; call this only where the secret is used.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns a URL that may be shown and logged, with `***` in place of the password and the parameters.
    pub fn redacted_url(&self) -> String {
        let Some((scheme, rest)) = self.0.split_once("://") else { return format!("{self:?}") };
        // A password that was not encoded may contain any character, even `@` and `/`, so everything up
        // to the last `@` is treated as user and password.
        let (user, location) = match rest.rsplit_once('@') {
            Some((user, location)) => (user.split_once(':').map_or("***", |(name, _)| name), location),
            None => ("", rest),
        };
        let user = match user {
            "" => String::new(),
            "***" => "***@".to_owned(),
            name => format!("{name}:***@"),
        };
        let location = location
            .split_once('?')
            .map_or_else(|| location.to_owned(), |(location, _)| format!("{location}?***"));
        format!("{scheme}://{user}{location}")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "" } else { "[hidden]" })
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own message would quote the invalid value, which is a secret.
        let value = <Value as Deserialize>::deserialize(deserializer)?;
        let text = value
            .into_string()
            .ok_or_else(|| D::Error::custom("expected a string (the value is not shown)"))?;
        Ok(Self(text))
    }
}

/// Reads a list of secrets: a TOML array, or one comma-separated string.
pub(super) fn secrets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Secret>, D::Error> {
    let hidden = || D::Error::custom("expected a list of strings (the value is not shown)");
    match <Value as Deserialize>::deserialize(deserializer)? {
        Value::String(_, text) => Ok(split_list(&text).map(Secret::new).collect()),
        Value::Array(_, items) => {
            items.into_iter().map(|item| item.into_string().map(Secret::new).ok_or_else(hidden)).collect()
        }
        _ => Err(hidden()),
    }
}

/// Reads a whole number, or a string that contains one.
pub(super) fn number<'de, D, N>(deserializer: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: TryFrom<i128> + fmt::Debug,
{
    let value = <Value as Deserialize>::deserialize(deserializer)?;
    let number = match &value {
        Value::String(_, text) => text.trim().parse::<i128>().ok(),
        Value::Num(_, num) => num.to_i128().or_else(|| num.to_u128().and_then(|n| i128::try_from(n).ok())),
        _ => None,
    };
    let number = number.ok_or_else(|| D::Error::custom("expected a whole number"))?;
    N::try_from(number).map_err(|_| D::Error::custom(format!("{number} is out of range")))
}

/// Reads a number with or without a fraction, or a string that contains such a number.
pub(super) fn ratio<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    string(deserializer)?.trim().parse().map_err(|_| D::Error::custom("expected a number, such as 0.25"))
}

/// Reads a boolean, or the string `true` or `false`.
pub(super) fn boolean<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match <Value as Deserialize>::deserialize(deserializer)? {
        Value::Bool(_, b) => Ok(b),
        Value::String(_, text) if text.trim() == "true" => Ok(true),
        Value::String(_, text) if text.trim() == "false" => Ok(false),
        _ => Err(D::Error::custom("expected true or false")),
    }
}

const DURATION_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Returns the items of a comma-separated list.
pub(super) fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Returns a value as a string, so that a bare number is treated like one in quotes.
fn as_string(value: &Value) -> String {
    match value {
        Value::String(_, text) => text.clone(),
        Value::Num(_, Num::F64(number)) => number.to_string(),
        Value::Num(_, number) => number.to_i128().map(|n| n.to_string()).unwrap_or_default(),
        Value::Bool(_, flag) => flag.to_string(),
        _ => String::new(),
    }
}

fn string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(as_string(&<Value as Deserialize>::deserialize(deserializer)?))
}

/// Parses a duration such as `500ms`, `5s`, `2m`, `1h`, `30d`.
///
/// # Errors
/// Fails with a description of the format.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit = DURATION_UNITS.iter().find(|(unit, _)| *unit == text[digits..].trim());
    let millis =
        text[..digits].parse::<u64>().ok().zip(unit).and_then(|(n, (_, factor))| n.checked_mul(*factor));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is not a duration; write 500ms, 5s, 2m, 1h or 30d"))
}

fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let unit = DURATION_UNITS
        .iter()
        .rev()
        .find(|(_, factor)| millis != 0 && millis.is_multiple_of(u128::from(*factor)));
    let (unit, factor) = unit.unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / u128::from(*factor))
}

/// `5s`, `500ms`, `2m`, `1h`, `30d`
pub(super) mod duration {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        parse_duration(&string(deserializer)?).map_err(D::Error::custom)
    }

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(*duration))
    }
}

/// A list of durations: a TOML array, or one comma-separated string.
pub(super) mod durations {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        let items = match <Value as Deserialize>::deserialize(deserializer)? {
            Value::String(_, text) => split_list(&text).map(str::to_owned).collect(),
            Value::Array(_, values) => values.iter().map(as_string).collect(),
            other => vec![as_string(&other)],
        };
        items.iter().map(|item| parse_duration(item).map_err(D::Error::custom)).collect()
    }

    pub(crate) fn serialize<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(durations.iter().map(|d| format_duration(*d)))
    }
}

/// `4096`, `64KiB`, `1MiB`, `1GiB`
pub(super) mod bytes {
    use super::*;

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
        let text = string(deserializer)?;
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let factor = match text[digits..].trim() {
            "" => Some(1),
            "KiB" => Some(1 << 10),
            "MiB" => Some(1 << 20),
            "GiB" => Some(1 << 30),
            _ => None,
        };
        let size = text[..digits].parse::<usize>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f));
        size.ok_or_else(|| {
            D::Error::custom(format!("{text:?} is not a size; write 4096, 64KiB, 1MiB or 1GiB"))
        })
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's `with` passes a reference")]
    pub(crate) fn serialize<S: Serializer>(size: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        let units = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let unit = units.into_iter().find(|(_, shift)| *size > 0 && size.is_multiple_of(1 << shift));
        match unit {
            Some((unit, shift)) => serializer.collect_str(&format_args!("{}{unit}", size >> shift)),
            None => serializer.collect_str(size),
        }
    }
}
