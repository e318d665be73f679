//! The flags that select dead letters.

use strum::VariantArray as _;

use crate::app::dead_letters::{Compare, DeadLetterFilter, LetterState};
use crate::cli::arguments::{CompanyFilter, comparison, moment, one_of};
use crate::cli::{Exit, Failure};
use crate::matching::Reason;

/// Filters for dead letters, which must all match.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filter {
    /// These dead letters
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    ids: Vec<i64>,
    /// Of the group with this fingerprint, or beginning of a fingerprint (see `deadletters groups`)
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
    group: Option<String>,
    /// With this reason code, such as appointment_not_found
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Option<String>,
    #[command(flatten)]
    pub(super) scope: CompanyFilter,
    /// Of this event type, such as appointment.created
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    /// About the booking with exactly this reference
    #[arg(long, value_name = "REF")]
    booking: Option<String>,
    /// With this Cal.com user
    #[arg(long, value_name = "ID")]
    host: Option<i64>,
    /// Last failed at this time or later: 24h (ago), 2026-03-01 or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Last failed before this time
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<i64>,
    /// With this number of attempts: 6, '>=6' or '<=1'
    #[arg(long, value_name = "N", value_parser = attempts)]
    attempts: Option<(Compare, i32)>,
    /// With this text in the error, the event's id or the booking's reference
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

impl Filter {
    pub(super) fn to_filter(&self) -> DeadLetterFilter {
        DeadLetterFilter {
            ids: self.ids.clone(),
            reason: self.code.clone(),
            event_type: self.event.clone(),
            booking_ref: self.booking.clone(),
            host_id: self.host,
            since_ms: self.since,
            until_ms: self.until,
            attempts: self.attempts,
            fingerprint: self.group.clone(),
            text: self.text.clone(),
            ..DeadLetterFilter::default()
        }
    }
}

/// Filters for commands that read: without a filter, all letters in any state are selected.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct ReadFilter {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// The same as --code (in commands that change something, --reason is the reason for the change)
    #[arg(long, value_name = "CODE", conflicts_with = "code", value_parser = code)]
    reason: Option<String>,
    /// In this state
    #[arg(long, value_parser = one_of::<LetterState>())]
    state: Option<LetterState>,
}

impl ReadFilter {
    pub(super) fn to_filter(&self) -> DeadLetterFilter {
        let filter = self.filter.to_filter();
        DeadLetterFilter { reason: self.reason.clone().or(filter.reason), state: self.state, ..filter }
    }
}

/// Filters for commands that change something: selecting all letters requires `--all`.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Selection {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// All dead letters
    #[arg(long)]
    all: bool,
}

impl Selection {
    /// Returns the filter. Fails with [`Exit::Usage`] when no letters were selected.
    pub(super) fn to_filter(&self) -> Result<DeadLetterFilter, Failure> {
        let has_filter = !self.filter.to_filter().is_empty() || self.filter.scope.company.is_some();
        match (has_filter, self.all) {
            (false, false) => {
                let text = "choose dead letters with --ids, --group, --code, another filter, or --all";
                Err(Failure::new(Exit::Usage, text))
            }
            (true, true) => {
                Err(Failure::new(Exit::Usage, "--all chooses every dead letter: give --all or filters"))
            }
            _ => Ok(self.filter.to_filter()),
        }
    }

    /// Returns whether neither a filter nor `--all` was given.
    pub(super) fn is_empty(&self) -> bool {
        self.filter.to_filter().is_empty() && self.filter.scope.company.is_none() && !self.all
    }
}

/// Parses a reason code: one of hostmatch's, or one with which the broker dead-letters messages.
fn code(text: &str) -> Result<String, String> {
    const BROKERS: [&str; 3] = ["expired", "maxlen", "rejected"];
    let codes = Reason::VARIANTS.iter().copied().map(Reason::as_str).collect::<Vec<_>>();
    if codes.iter().chain(&BROKERS).any(|code| *code == text) {
        return Ok(text.to_owned());
    }
    Err(format!("unknown reason code; the known codes are {}, {}", codes.join(", "), BROKERS.join(", ")))
}

fn fingerprint(text: &str) -> Result<String, String> {
    let is_one = (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
    is_one
        .then(|| text.to_owned())
        .ok_or_else(|| "expected a fingerprint, or its first 4 or more characters".to_owned())
}

fn attempts(text: &str) -> Result<(Compare, i32), String> {
    comparison(text).ok_or_else(|| "expected 6, '>=6' or '<=1'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_and_codes_are_parsed() {
        assert_eq!(attempts(">=6"), Ok((Compare::AtLeast, 6)));
        assert_eq!(attempts("1"), Ok((Compare::Exactly, 1)));
        assert!(attempts("many").is_err());
        assert!(code("nonsense").unwrap_err().contains("appointment_not_found"));
        assert!(code("expired").is_ok() && fingerprint("ab%").is_err());
    }
}
