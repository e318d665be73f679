//! The demo's report: tables for people, one JSON document for programs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::findings::Findings;
use super::next::{Next, wrapped};
use super::verdict::BookingResult;
use crate::cli::failure::Failure;
use crate::cli::output::{self, dash};

/// The maximum width of a line, which a usual terminal shows without a break.
const WIDTH: u16 = 100;

/// The report. `docs/commands.md` describes its JSON.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) ok: bool,
    /// The differences from the expected results.
    pub(super) differences: Vec<String>,
    pub(super) directory: &'a Path,
    pub(super) configuration: PathBuf,
    /// The address of the edge, if it keeps running.
    pub(super) listening: Option<&'a str>,
    pub(super) bookings: Vec<BookingResult>,
    /// The other results.
    #[serde(flatten)]
    pub(super) findings: Findings,
    /// The commands to try next.
    pub(super) next: Vec<Next>,
}

impl Report<'_> {
    /// Writes the report as tables.
    ///
    /// # Errors
    /// Fails if stdout cannot be written.
    pub(super) fn tables(&self) -> Result<(), Failure> {
        let findings = &self.findings;
        section("The outcome of each booking")?;
        let rows = self.bookings.iter().map(|one| {
            let (outcome, staff) = (one.decided.outcome.clone(), dash(one.decided.staff.as_ref()));
            [one.booking.clone(), one.posted.clone(), outcome, staff, one.why.clone()]
        });
        table(&["BOOKING", "POSTED", "OUTCOME", "STAFF", "WHY"], rows)?;

        if self.ok {
            output::print_line(&format!(
                "\nAll {} bookings have the expected outcome.",
                self.bookings.len()
            ))?;
        }

        section("Audit trail: every change of a mapping")?;
        let rows = findings.audits.iter().map(|audit| {
            let mapping = format!("#{}: host {} is {}", audit.mapping_id, audit.host_id, audit.staff);
            [audit.actor.clone(), audit.action.clone(), mapping, audit.reason.clone()]
        });
        table(&["BY", "ACTION", "MAPPING", "REASON"], rows)?;

        section("Inbox: hosts that need a person")?;
        let rows = findings.inbox.iter().map(|host| {
            let suggestions = findings.names(&host.suggestions);
            let suggestions = dash(Some(suggestions).filter(|names| !names.is_empty()));
            let name = host.name.clone().unwrap_or_default();
            [host.host_id.to_string(), name, host.kind.clone(), suggestions, host.appointments.to_string()]
        });
        table(&["HOST", "NAME", "KIND", "SUGGESTED", "APPOINTMENTS WAITING"], rows)?;

        section("Dead letters: kept with their original bytes until a person handles them")?;
        let rows = findings.dead_letters.iter().map(|row| {
            let (reason, error) = (row.reason.clone(), row.error.clone());
            [row.id.to_string(), dash(row.booking.as_ref()), reason, row.attempts.to_string(), error]
        });
        table(&["ID", "BOOKING", "REASON", "ATTEMPTS", "ERROR"], rows)?;

        if !self.next.is_empty() {
            section("What to type next")?;
        }
        for next in &self.next {
            output::print_line(&format!("  # {}\n{}", next.why, wrapped(&next.command, "  ")))?;
        }
        Ok(())
    }
}

fn section(title: &str) -> Result<(), Failure> {
    output::print_line(&format!("\n{title}\n"))
}

fn table<const N: usize>(head: &[&str; N], rows: impl Iterator<Item = [String; N]>) -> Result<(), Failure> {
    output::table_with_width(WIDTH, head, rows)
}
