//! The report: tables for people, one JSON document for programs.

use serde_json::{Value, json};

use super::directory::Directory;
use super::findings::Findings;
use super::next::{Next, wrapped};
use super::verdict::{self, Became};
use crate::cli::failure::Failure;
use crate::cli::output;

/// Columns of a line: what a usual terminal shows without breaking it.
const WIDTH: u16 = 100;

/// Everything that is reported.
pub(super) struct Report<'a> {
    /// Where the files are.
    pub(super) directory: &'a Directory,
    /// Where the edge listens, when it goes on listening.
    pub(super) url: Option<&'a str>,
    /// What the bookings became.
    pub(super) bookings: &'a [Became],
    /// What else they left behind.
    pub(super) findings: &'a Findings,
    /// What went another way than it should.
    pub(super) differences: &'a [String],
    /// What to type next.
    pub(super) next: &'a [Next],
}

impl Report<'_> {
    /// Writes it as one JSON document.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn json(&self) -> Result<(), Failure> {
        let findings = self.findings;
        let audits = findings.audits.iter().map(|audit| {
            json!({
                "actor": audit.actor, "action": audit.action, "mapping_id": audit.mapping_id,
                "host_id": audit.calcom_host_id, "staff": findings.staff.get(&audit.staff_id),
                "reason": audit.reason,
            })
        });
        let inbox = findings.inbox.iter().map(|host| {
            json!({
                "host_id": host.host_id, "name": host.name, "kind": host.kind,
                "suggestions": host.suggestions(), "appointments": host.appointments,
            })
        });
        let letters = findings.dead_letters.iter().map(|row| {
            json!({
                "id": row.id, "booking": row.booking_ref, "reason": row.reason,
                "error": row.error, "attempts": row.attempts,
            })
        });
        output::json(&json!({
            "ok": self.differences.is_empty(),
            "differences": self.differences,
            "directory": self.directory.shown(),
            "configuration": self.directory.configuration(),
            "listening": self.url,
            "bookings": self.bookings,
            "audits": audits.collect::<Vec<Value>>(),
            "inbox": inbox.collect::<Vec<Value>>(),
            "dead_letters": letters.collect::<Vec<Value>>(),
            "next": self.next,
        }))
    }

    /// Writes it as tables.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn tables(&self) -> Result<(), Failure> {
        let findings = self.findings;
        section("What each booking became")?;
        let rows = self.bookings.iter().map(|one| {
            let staff = one.staff.clone().unwrap_or_else(|| "-".to_owned());
            [one.booking.to_owned(), one.posted.to_owned(), one.outcome.clone(), staff, one.why.clone()]
        });
        table(&["BOOKING", "POSTED", "BECAME", "STAFF", "WHY"], rows)?;

        if self.differences.is_empty() {
            output::line(&format!("\nAll {} bookings became what they should.", self.bookings.len()))?;
        }

        section("Audit trail: every change of a mapping")?;
        let rows = findings.audits.iter().map(|audit| {
            let staff = findings.staff.get(&audit.staff_id).map_or("?", String::as_str);
            let mapping = format!("#{}: host {} is {staff}", audit.mapping_id, audit.calcom_host_id);
            [audit.actor.clone(), audit.action.clone(), mapping, audit.reason.clone()]
        });
        table(&["WHO", "DID WHAT", "MAPPING", "REASON"], rows)?;

        section("Inbox: hosts that need a person")?;
        let rows = findings.inbox.iter().map(|host| {
            let suggestions = verdict::names(&host.suggestions(), findings);
            let suggestions = if suggestions.is_empty() { "-".to_owned() } else { suggestions };
            let name = host.name.clone().unwrap_or_default();
            [host.host_id.to_string(), name, host.kind.clone(), suggestions, host.appointments.to_string()]
        });
        table(&["HOST", "NAME", "KIND", "SUGGESTED", "APPOINTMENTS WAITING"], rows)?;

        section("Dead letters: kept with their bytes until a person deals with them")?;
        let rows = findings.dead_letters.iter().map(|row| {
            let booking = row.booking_ref.clone().unwrap_or_else(|| "-".to_owned());
            let (reason, error) = (row.reason.clone(), row.error.clone());
            [row.id.to_string(), booking, reason, row.attempts.to_string(), error]
        });
        table(&["ID", "BOOKING", "REASON", "ATTEMPTS", "ERROR"], rows)?;

        if !self.next.is_empty() {
            section("What to type next")?;
        }
        for next in self.next {
            output::line(&format!("  # {}\n{}", next.why, wrapped(&next.command, "  ")))?;
        }
        Ok(())
    }
}

fn section(title: &str) -> Result<(), Failure> {
    output::line(&format!("\n{title}\n"))
}

fn table<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> Result<(), Failure> {
    output::table_within(WIDTH, head, rows)
}
