//! Moments on the command line.

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::config::parse_duration;
use crate::runtime::clock::now_ms;

/// A moment in ms since 1970: so long ago, a day (UTC), or a time with its zone.
pub(super) fn moment(text: &str) -> Result<i64, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(now_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    let day = || {
        Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc())
    };
    let time = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| day());
    time.map(|time| time.unix_timestamp() * 1000 + i64::from(time.millisecond()))
        .map_err(|_| "write 24h, 2026-03-01 or 2026-03-01T08:00:00Z".to_owned())
}

/// A moment to come, in ms since 1970: in so long, a day (UTC), or a time with its zone.
pub(super) fn coming(text: &str) -> Result<i64, String> {
    match parse_duration(text) {
        Ok(in_so_long) => {
            Ok(now_ms().saturating_add(i64::try_from(in_so_long.as_millis()).unwrap_or(i64::MAX)))
        }
        Err(_) => moment(text).map_err(|_| "write 14d, 2026-03-01 or 2026-03-01T08:00:00Z".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        assert_eq!(moment("2026-03-01"), Ok(1_772_323_200_000));
        assert_eq!(moment("2026-03-01T01:00:00.5+01:00"), Ok(1_772_323_200_500));
        assert!((now_ms() - 3_600_000 - moment("1h").unwrap()).abs() < 5_000);
        assert!(moment("yesterday").is_err());
        assert_eq!(coming("2026-03-01"), moment("2026-03-01"));
        assert!((coming("1h").unwrap() - 3_600_000 - now_ms()).abs() < 5_000);
    }
}
