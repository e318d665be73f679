//! The report: tables for people, one JSON document for programs.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::findings::Findings;
use super::next::{Next, wrapped};
use super::verdict::Became;
use crate::cli::failure::Failure;
use crate::cli::output::{self, dash};

/// Columns of a line: what a usual terminal shows without breaking it.
const WIDTH: u16 = 100;

/// Everything that is reported. `docs/commands.md` describes its JSON.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) ok: bool,
    /// What went another way than it should.
    pub(super) differences: Vec<String>,
    pub(super) directory: &'a Path,
    pub(super) configuration: PathBuf,
    /// Where the edge listens, when it goes on listening.
    pub(super) listening: Option<&'a str>,
    pub(super) bookings: Vec<Became>,
    /// What else they left behind.
    #[serde(flatten)]
    pub(super) findings: Findings,
    /// What to type next.
    pub(super) next: Vec<Next>,
}

impl Report<'_> {
    /// Writes it as tables.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub(super) fn tables(&self) -> Result<(), Failure> {
        let findings = &self.findings;
        section("What each booking became")?;
        let rows = self.bookings.iter().map(|one| {
            let (outcome, staff) = (one.decided.outcome.clone(), dash(one.decided.staff.as_ref()));
            [one.booking.clone(), one.posted.clone(), outcome, staff, one.why.clone()]
        });
        table(&["BOOKING", "POSTED", "BECAME", "STAFF", "WHY"], rows)?;

        if self.ok {
            output::line(&format!("\nAll {} bookings became what they should.", self.bookings.len()))?;
        }

        section("Audit trail: every change of a mapping")?;
        let rows = findings.audits.iter().map(|audit| {
            let mapping = format!("#{}: host {} is {}", audit.mapping_id, audit.host_id, audit.staff);
            [audit.actor.clone(), audit.action.clone(), mapping, audit.reason.clone()]
        });
        table(&["WHO", "DID WHAT", "MAPPING", "REASON"], rows)?;

        section("Inbox: hosts that need a person")?;
        let rows = findings.inbox.iter().map(|host| {
            let suggestions = findings.names(&host.suggestions);
            let suggestions = dash(Some(suggestions).filter(|names| !names.is_empty()));
            let name = host.name.clone().unwrap_or_default();
            [host.host_id.to_string(), name, host.kind.clone(), suggestions, host.appointments.to_string()]
        });
        table(&["HOST", "NAME", "KIND", "SUGGESTED", "APPOINTMENTS WAITING"], rows)?;

        section("Dead letters: kept with their bytes until a person deals with them")?;
        let rows = findings.dead_letters.iter().map(|row| {
            let (reason, error) = (row.reason.clone(), row.error.clone());
            [row.id.to_string(), dash(row.booking.as_ref()), reason, row.attempts.to_string(), error]
        });
        table(&["ID", "BOOKING", "REASON", "ATTEMPTS", "ERROR"], rows)?;

        if !self.next.is_empty() {
            section("What to type next")?;
        }
        for next in &self.next {
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
