//! Arguments that several commands share: companies, hosts, members of staff, pages and times.

use std::error::Error;
use std::str::FromStr;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use sea_orm::DbBackend;
use strum::VariantArray;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::app::Compare;
use crate::config::parse_duration;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::HostKey;
use crate::runtime::clock::now_ms;

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct HostArgs {
    /// The company
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: CompanyId,
    /// The id of the Cal.com user
    #[arg(long, value_name = "ID", value_parser = host)]
    pub(super) host: HostId,
}

impl HostArgs {
    pub(super) fn key(self) -> HostKey {
        HostKey::new(self.company, self.host)
    }
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ExpectedCompany {
    /// Fail unless it belongs to this company
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: Option<CompanyId>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct CompanyFilter {
    /// Only of this company
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: Option<CompanyId>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct HostFilter {
    /// Only of this company
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: Option<CompanyId>,
    /// Only of this Cal.com user
    #[arg(long, value_name = "ID", value_parser = host)]
    pub(super) host: Option<HostId>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct PeriodArgs {
    /// Decided at this time or later: 30d (ago), 2026-03-01 or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = moment)]
    pub(super) since: i64,
    /// Decided before this time [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(super) until: Option<i64>,
    /// Only of this company
    #[arg(long, value_name = "N", value_parser = company)]
    pub(super) company: Option<CompanyId>,
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct PageArgs {
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(super) limit: u64,
    /// Only rows older than this id: the last id of the previous page
    #[arg(long, value_name = "ID")]
    pub(super) before: Option<i64>,
}

pub(super) fn company(text: &str) -> Result<CompanyId, String> {
    let id = text.parse().ok().filter(|id| *id > 0);
    id.map(CompanyId).ok_or_else(|| "expected the id of a company".to_owned())
}

pub(super) fn host(text: &str) -> Result<HostId, String> {
    let id = text.parse().ok().and_then(HostId::new);
    id.ok_or_else(|| "expected the id of a Cal.com user, from 1 to 2147483647".to_owned())
}

/// Parses the id of a member of staff: an integer or a string, as in the gateway.
pub(super) fn staff(text: &str) -> Result<StaffId, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 255 || text.contains(char::is_control) {
        return Err("expected the id of a member of staff".to_owned());
    }
    let number = text.parse::<i64>().ok().filter(|id| id.to_string() == text);
    Ok(number.map_or_else(|| StaffId::Text(text.to_owned()), StaffId::Integer))
}

/// Parses a time into ms since 1970: a duration (that long ago), a day (UTC), or a time with its zone.
pub(super) fn moment(text: &str) -> Result<i64, String> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(now_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)));
    }
    let day = || {
        Date::parse(text, format_description!("[year]-[month]-[day]")).map(|day| day.midnight().assume_utc())
    };
    let time = OffsetDateTime::parse(text, &Rfc3339).or_else(|_| day());
    time.map(|time| time.unix_timestamp() * 1000 + i64::from(time.millisecond()))
        .map_err(|_| "expected 24h, 2026-03-01 or 2026-03-01T08:00:00Z".to_owned())
}

/// Parses a future time into ms since 1970: a duration (from now), a day (UTC), or a time with its zone.
pub(super) fn future_moment(text: &str) -> Result<i64, String> {
    match parse_duration(text) {
        Ok(duration) => Ok(now_ms().saturating_add(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))),
        Err(_) => moment(text).map_err(|_| "expected 14d, 2026-03-01 or 2026-03-01T08:00:00Z".to_owned()),
    }
}

/// Parses a number and its comparison: `6`, `>=6` or `<=6`.
pub(super) fn comparison(text: &str) -> Option<(Compare, i32)> {
    let (compare, number) = match (text.strip_prefix(">="), text.strip_prefix("<=")) {
        (Some(number), _) => (Compare::AtLeast, number),
        (_, Some(number)) => (Compare::AtMost, number),
        _ => (Compare::Exactly, text),
    };
    Some((compare, number.trim().parse().ok()?))
}

/// Returns a parser for one variant of `T`.
pub(super) fn one_of<T>() -> impl TypedValueParser<Value = T>
where
    T: VariantArray + FromStr<Err: Error + Send + Sync + 'static> + Clone + Send + Sync,
    &'static str: From<&'static T>,
{
    PossibleValuesParser::new(T::VARIANTS.iter().map(<&'static str>::from)).try_map(|word| word.parse::<T>())
}

/// A database engine, for commands that work without a database.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Engine {
    #[value(alias = "mariadb")]
    Mysql,
    Postgres,
    Sqlite,
}

impl From<Engine> for DbBackend {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Mysql => Self::MySql,
            Engine::Postgres => Self::Postgres,
            Engine::Sqlite => Self::Sqlite,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_parsed() {
        assert_eq!(staff(" 31 "), Ok(StaffId::Integer(31)));
        assert_eq!(staff("031"), Ok(StaffId::Text("031".into())));
        assert!(staff("").is_err() && staff("a\nb").is_err());
        assert_eq!(host("7"), Ok(HostId(7)));
        assert!(host("0").is_err() && host("4294967296").is_err() && company("-1").is_err());
    }

    #[test]
    fn times_are_parsed() {
        assert_eq!(moment("2026-03-01"), Ok(1_772_323_200_000));
        assert_eq!(moment("2026-03-01T01:00:00.5+01:00"), Ok(1_772_323_200_500));
        assert!((now_ms() - 3_600_000 - moment("1h").unwrap()).abs() < 5_000);
        assert!(moment("yesterday").is_err());
        assert_eq!(future_moment("2026-03-01"), moment("2026-03-01"));
        assert!((future_moment("1h").unwrap() - 3_600_000 - now_ms()).abs() < 5_000);
    }
}
