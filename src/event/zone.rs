//! The zone in which times without a zone are read: PHP writes `2026-11-28 09:00:00`, in the gateway's own zone.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// The zone of times that name none (`gateway.timezone`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalZone(TimeZone);

impl LocalZone {
    /// UTC, for a reader that does not need the times.
    pub const UTC: Self = Self(TimeZone::UTC);

    /// Parses a name (`Europe/Berlin`) or an offset (`+02:00`). Returns `None` for an unknown one.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "UTC" | "Z" => return Some(Self::UTC),
            _ if text.starts_with(['+', '-']) => {}
            _ => return TimeZone::get(text).ok().map(Self),
        }
        let (hours, minutes) = text.get(1..)?.split_once(':')?;
        let seconds = hours.parse::<i32>().ok()? * 3600 + minutes.parse::<i32>().ok()? * 60;
        Self::from_offset(if text.starts_with('-') { -seconds } else { seconds })
    }

    /// Creates a zone with a fixed offset, in seconds east of UTC.
    pub fn from_offset(seconds: i32) -> Option<Self> {
        Offset::from_seconds(seconds).ok().map(|offset| Self(TimeZone::fixed(offset)))
    }

    /// Converts a time without a zone into ms since 1970 (UTC). When clocks go back, the first of the two
    /// instants counts; a time that clocks skip is moved by what they skip.
    pub(super) fn to_ms(&self, text: &str) -> Option<i64> {
        let local: DateTime = text.trim().parse().ok()?;
        Some(self.0.to_ambiguous_timestamp(local).compatible().ok()?.as_millisecond())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_zone_through_changes_of_its_clocks() {
        for (zone, text, utc) in [
            ("UTC", "2026-11-28 09:00:00", "2026-11-28T09:00:00Z"),
            ("+02:00", "2026-11-28 09:00:00.250", "2026-11-28T07:00:00.25Z"),
            ("-03:30", "2026-11-28T09:00:00", "2026-11-28T12:30:00Z"),
            ("Europe/Berlin", "2026-11-28 09:00", "2026-11-28T08:00:00Z"),
            ("Europe/Berlin", " 2026-07-28 09:00:00 ", "2026-07-28T07:00:00Z"),
            // Skipped, and twice.
            ("Europe/Berlin", "2026-03-29 02:30:00", "2026-03-29T01:30:00Z"),
            ("Europe/Berlin", "2026-10-25 02:30:00", "2026-10-25T00:30:00Z"),
        ] {
            let expected = utc.parse::<jiff::Timestamp>().unwrap().as_millisecond();
            assert_eq!(LocalZone::parse(zone).unwrap().to_ms(text), Some(expected), "{zone} {text}");
        }
    }

    #[test]
    fn unknown_zones_and_times_are_refused() {
        for zone in ["", "server", "Mars/Olympus", "+2", "+99:00", "+aa:00"] {
            assert_eq!(LocalZone::parse(zone), None, "{zone}");
        }
        for text in ["", "yesterday", "09:00", "2026-13-40 99:99:99", "2026-11-28 09:00:00 CET"] {
            assert_eq!(LocalZone::UTC.to_ms(text), None, "{text}");
        }
    }
}
