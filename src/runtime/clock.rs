//! Reads the current time, and formats times.

use serde::Serializer;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Returns the milliseconds since 1970 (UTC).
pub fn now_ms() -> i64 {
    let now = OffsetDateTime::now_utc();
    now.unix_timestamp() * 1000 + i64::from(now.millisecond())
}

/// Formats a time, in ms since 1970, according to RFC 3339: in UTC, to the second.
pub fn rfc3339(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp(ms.div_euclid(1000))
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| format!("{ms} ms"))
}

/// Serializes an optional time, in ms since 1970, as [`rfc3339`] formats it.
///
/// # Errors
/// Fails only if the serializer fails.
pub fn as_rfc3339<T, S>(ms: &T, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Copy + Into<Option<i64>>,
    S: Serializer,
{
    match (*ms).into() {
        Some(ms) => serializer.serialize_str(&rfc3339(ms)),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_in_utc() {
        assert_eq!(rfc3339(1_759_738_443_120), "2025-10-06T08:14:03Z");
        assert_eq!(rfc3339(i64::MAX), format!("{} ms", i64::MAX));
    }
}
