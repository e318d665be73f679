//! Hosts of the inbox as they are shown.

use serde::Serialize;

use super::told::{Names, Suggested, dash};
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{InboxState, Review};
use crate::store::{HostAct, HostAction, InboxEntry, InboxKind};

/// A host that needs a person. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    company: CompanyId,
    host: HostId,
    name: Option<String>,
    email: Option<String>,
    kind: InboxKind,
    /// What is the matter, in words.
    what: &'static str,
    state: InboxState,
    ignored_by: Option<String>,
    ignored_reason: Option<String>,
    ignored_until: Option<String>,
    waiting: i64,
    bookings: i64,
    next_booking: Option<String>,
    last_booking: Option<String>,
    first_seen: String,
    last_seen: String,
    suggestions: Vec<Suggested>,
}

impl Line {
    /// `last`: what was done with the host last, beside mapping it.
    pub(super) fn of(entry: &InboxEntry, last: Option<&HostAct>, names: &Names) -> Self {
        let row = &entry.row;
        let ignored = last.filter(|last| {
            row.state == InboxState::Ignored && last.action.known() == Some(HostAction::Ignore)
        });
        Self {
            company: row.key.company,
            host: row.key.host,
            name: row.host.name.clone(),
            email: row.host.email.clone(),
            kind: entry.kind,
            what: what(row.review, entry.kind),
            state: row.state,
            ignored_by: ignored.map(|last| last.act.made_by.clone()),
            ignored_reason: ignored.and_then(|last| last.act.why.clone()),
            ignored_until: entry.ignored_until_ms.map(output::moment),
            waiting: entry.waiting,
            bookings: entry.bookings,
            next_booking: entry.next_booking_ms.map(output::moment),
            last_booking: entry.last_booking_ms.map(output::moment),
            first_seen: output::moment(row.first_seen_ms),
            last_seen: output::moment(row.last_seen_ms),
            suggestions: row.suggestions.iter().map(|one| Suggested::of(one, names)).collect(),
        }
    }

    /// Those who are suggested.
    pub(super) fn suggested(entry: &InboxEntry) -> impl Iterator<Item = StaffId> + '_ {
        entry.row.suggestions.iter().map(|one| one.staff.clone())
    }

    /// What there is to say about it, line by line.
    pub(super) fn lines(&self) -> Vec<[String; 2]> {
        let mut rows = vec![
            ("name", dash(self.name.as_deref())),
            ("address", dash(self.email.as_deref())),
            ("what is the matter", self.what.to_owned()),
            ("waiting", format!("{} of {} appointments", self.waiting, self.bookings)),
            ("next booking", dash(self.next_booking.as_deref())),
            ("last booking", dash(self.last_booking.as_deref())),
            ("seen", format!("{} to {}", self.first_seen, self.last_seen)),
        ];
        for one in &self.suggestions {
            let name = one.staff_name.as_deref().unwrap_or_default();
            rows.push((
                "suggested",
                format!("staff {} {name}: {} ({})", one.staff, one.because, one.confidence),
            ));
        }
        if self.state == InboxState::Ignored {
            let until = dash(self.ignored_until.as_deref());
            let why = dash(self.ignored_reason.as_deref());
            rows.push(("ignored", format!("by {}, until {until}: {why}", dash(self.ignored_by.as_deref()))));
        }
        rows.into_iter().map(|(name, value)| [format!("  {name}"), value]).collect()
    }

    /// `Host 7 of company 1 (open)`
    pub(super) fn title(&self) -> String {
        format!("Host {} of company {} ({})", self.host, self.company, self.state)
    }

    /// The command that decides it.
    pub(super) fn next(&self) -> Option<String> {
        let (company, host) = (self.company, self.host);
        match (self.state, self.suggestions.len()) {
            (InboxState::Resolved, _) => None,
            (_, 0) => Some(format!("hostmatch inbox assign --company {company} --host {host} --staff ID")),
            (_, 1) => Some(format!("hostmatch inbox accept --company {company} --host {host}")),
            (_, _) => Some(format!("hostmatch inbox accept --company {company} --host {host} --staff ID")),
        }
    }
}

fn what(review: Option<Review>, kind: InboxKind) -> &'static str {
    match (review, kind) {
        (None, _) => "nobody was found",
        (Some(Review::BelowThreshold), _) => "somebody fits, but not surely enough",
        (Some(Review::SwitchedOff), _) => "it fits somebody from whom a person has taken this host",
        (Some(Review::Ambiguous), InboxKind::Conflict) => "several mappings are in force and disagree",
        (Some(Review::Ambiguous), _) => "several people fit, and nothing tells them apart",
    }
}

/// Writes a table of hosts.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn table(lines: &[Line]) -> Result<(), Failure> {
    let head = ["COMPANY", "HOST", "NAME", "KIND", "WAITING", "NEXT BOOKING", "LAST BOOKING", "SUGGESTED"];
    output::table(
        &head,
        lines.iter().map(|line| {
            let suggested: Vec<String> = line
                .suggestions
                .iter()
                .map(|one| {
                    let name = one.staff_name.as_deref().unwrap_or_default();
                    format!("staff {} {name} ({})", one.staff, one.confidence)
                })
                .collect();
            let kind = match line.state {
                InboxState::Open => line.kind.to_string(),
                other => format!("{}, {}", line.kind, other),
            };
            [
                line.company.to_string(),
                line.host.to_string(),
                dash(line.name.as_deref()),
                kind,
                line.waiting.to_string(),
                dash(line.next_booking.as_deref()),
                dash(line.last_booking.as_deref()),
                if suggested.is_empty() { "-".to_owned() } else { suggested.join(", ") },
            ]
        }),
    )
}
