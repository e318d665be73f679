//! The flags that choose dead letters.

use strum::VariantArray as _;

use crate::app::dead_letters::{Compare, DeadLetterFilter, LetterState};
use crate::cli::arguments::{OfCompany, compared, moment, one_of};
use crate::cli::{Exit, Failure};
use crate::matching::Reason;

/// Filters for dead letters, which must all match.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filter {
    /// These dead letters
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    ids: Vec<i64>,
    /// Of one group: its fingerprint, or the beginning of it (see `deadletters groups`)
    #[arg(long, value_name = "FINGERPRINT", value_parser = fingerprint)]
    group: Option<String>,
    /// With this reason code, such as appointment_not_found
    #[arg(long, value_name = "CODE", value_parser = code)]
    code: Option<String>,
    #[command(flatten)]
    pub(super) of: OfCompany,
    /// Of this event type, such as appointment.created
    #[arg(long, value_name = "TYPE")]
    event: Option<String>,
    /// About the booking with exactly this reference
    #[arg(long, value_name = "REF")]
    booking: Option<String>,
    /// With this Cal.com user
    #[arg(long, value_name = "ID")]
    host: Option<i64>,
    /// Last failed at this moment or later: 24h ago, or 2026-03-01, or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Last failed before this moment
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
    pub(super) fn chosen(&self) -> DeadLetterFilter {
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

/// Filters for commands that read: no filter chooses all letters, in any state.
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
    pub(super) fn chosen(&self) -> DeadLetterFilter {
        let chosen = self.filter.chosen();
        DeadLetterFilter { reason: self.reason.clone().or(chosen.reason), state: self.state, ..chosen }
    }
}

/// Filters for commands that change something: choosing all letters needs `--all`.
#[derive(Clone, Debug, clap::Args)]
pub(in crate::cli) struct Choosing {
    #[command(flatten)]
    pub(super) filter: Filter,
    /// All dead letters
    #[arg(long)]
    all: bool,
}

impl Choosing {
    /// Returns the filter. Fails with [`Exit::Usage`] when no letters were chosen.
    pub(super) fn chosen(&self) -> Result<DeadLetterFilter, Failure> {
        let names_some = !self.filter.chosen().is_empty() || self.filter.of.company.is_some();
        match (names_some, self.all) {
            (false, false) => {
                let text = "choose dead letters with --ids, --group, --code, another filter, or --all";
                Err(Failure::new(Exit::Usage, text))
            }
            (true, true) => {
                Err(Failure::new(Exit::Usage, "--all chooses every dead letter: give --all or filters"))
            }
            _ => Ok(self.filter.chosen()),
        }
    }

    /// Returns whether neither a filter nor `--all` was given.
    pub(super) fn is_empty(&self) -> bool {
        self.filter.chosen().is_empty() && self.filter.of.company.is_none() && !self.all
    }
}

/// Parses a reason code: one of hostmatch's, or one that the broker gives the messages that it dead-letters.
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
    is_one.then(|| text.to_owned()).ok_or_else(|| "a fingerprint has 4 or more letters and digits".to_owned())
}

fn attempts(text: &str) -> Result<(Compare, i32), String> {
    compared(text).ok_or_else(|| "write 6, '>=6' or '<=1'".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_and_codes_are_read() {
        assert_eq!(attempts(">=6"), Ok((Compare::AtLeast, 6)));
        assert_eq!(attempts("1"), Ok((Compare::Exactly, 1)));
        assert!(attempts("many").is_err());
        assert!(code("nonsense").unwrap_err().contains("appointment_not_found"));
        assert!(code("expired").is_ok() && fingerprint("ab%").is_err());
    }
}
