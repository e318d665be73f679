//! Offering what a decision makes possible, doing it with progress, and telling what came of it.

use serde::Serialize;
use serde_json::{Value, json};

use super::Desk;
use super::told::{Names, waiting};
use crate::app::{Author, Counts, Repairer, Tally};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output;
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{HostKey, Stored};
use crate::store::{RepairRow, RepairScope, RepairState};

/// What is put right along with a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Repairing {
    /// Nothing
    None,
    /// Appointments that have not begun
    Future,
    /// All appointments that wait
    All,
}

impl Repairing {
    fn scope(self) -> Option<RepairScope> {
        match self {
            Self::None => None,
            Self::Future => Some(RepairScope::Future),
            Self::All => Some(RepairScope::All),
        }
    }
}

/// A repair as it is shown. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    id: i64,
    company: CompanyId,
    host: HostId,
    staff: StaffId,
    staff_name: Option<String>,
    scope: Stored<RepairScope>,
    state: RepairState,
    appointments: i64,
    counts: Tally,
    made_by: String,
    why: Option<String>,
    created: String,
    ended: Option<String>,
    undone_by: Option<String>,
    undone_why: Option<String>,
    undone: Option<String>,
}

impl Told {
    pub(super) async fn of(desk: &Desk, row: RepairRow) -> Result<Self, Failure> {
        let names = Names::of(desk, [row.staff.clone()]).await?;
        let repairer = Repairer::new(&desk.database, &desk.schema);
        let counts = desk.database.in_time(repairer.tally(row.id)).await?;
        Ok(Self {
            id: row.id,
            company: row.company(),
            host: row.host(),
            staff_name: names.name(&row.staff),
            staff: row.staff,
            scope: row.scope,
            state: row.state,
            appointments: row.total,
            counts,
            made_by: row.made_by,
            why: row.why,
            created: output::moment(row.created_ms),
            ended: row.ended_ms.map(output::moment),
            undone_by: row.undone_by,
            undone_why: row.undone_why,
            undone: row.undone_ms.map(output::moment),
        })
    }

    /// What came of it, in words, and what to do next.
    pub(super) fn lines(&self) -> Vec<String> {
        let Self { id, company, counts, .. } = self;
        let who = self.staff_name.as_deref().unwrap_or_default();
        let mut lines = vec![
            format!(
                "Repair {id} ({}): {} appointments for staff {} {who}",
                self.state, self.appointments, self.staff
            )
            .trim_end()
            .to_owned(),
        ];
        for (count, what) in [
            (counts.done, "assigned"),
            (counts.left, "left: they did not wait any more"),
            (counts.undone, "given back"),
            (counts.kept, "kept: somebody else has touched them since"),
            (counts.pending, "still to be assigned"),
        ] {
            if count > 0 {
                lines.push(format!("  {count} {what}"));
            }
        }
        match self.state {
            RepairState::Running if counts.pending > 0 => lines.push(format!(
                "Somebody else has locked some, or it was interrupted; go on with: hostmatch repair apply {id}"
            )),
            RepairState::Stopped => lines.push("The host is somebody else's by now: the rest was left.".to_owned()),
            RepairState::Undoing => lines.push(format!(
                "Somebody else has locked some, or it was interrupted; go on with: hostmatch repair undo {id}"
            )),
            RepairState::Running | RepairState::Done if counts.done > 0 => {
                lines.push(format!("Take it back with: hostmatch repair undo {id} --company {company}"));
            }
            RepairState::Running | RepairState::Done | RepairState::Undone => {}
        }
        lines
    }

    /// Whether everything was done.
    pub(super) fn exit(&self) -> Exit {
        let is_partial = match self.state {
            RepairState::Running | RepairState::Stopped | RepairState::Undoing => true,
            RepairState::Done => false,
            RepairState::Undone => self.counts.kept > 0,
        };
        if is_partial { Exit::Partial } else { Exit::Done }
    }
}

/// How many wait for a host, for programs.
pub(super) fn counted(counts: Counts) -> Value {
    json!(counts)
}

/// Repairs along with a decision: what was asked for, or what is answered on the terminal. None: nothing
/// waits, or nothing is to be done.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn along(
    desk: &Desk,
    key: HostKey,
    counts: Counts,
    asked: Option<Repairing>,
    author: &Author,
    why: Option<&str>,
) -> Result<Option<Told>, Failure> {
    let Some(told) = waiting(counts) else { return Ok(None) };
    let chosen = match asked {
        Some(chosen) => chosen,
        None => {
            let question =
                format!("{told} for host {}. Assign them now: [f]uture ones, [a]ll, [n]one? [n]", key.host);
            match output::ask(&question)?.as_deref() {
                Some("f" | "future") => Repairing::Future,
                Some("a" | "all") => Repairing::All,
                _ => Repairing::None,
            }
        }
    };
    let Some(scope) = chosen.scope() else { return Ok(None) };
    let repairer = Repairer::new(&desk.database, &desk.schema);
    match repairer.begin(key, scope, author, why).await? {
        None => Ok(None),
        Some(id) => apply(desk, id).await.map(Some),
    }
}

/// Carries a repair out, or goes on with it, with progress on stderr.
///
/// # Errors
/// When there is no such repair, it has ended, or the database cannot be reached.
pub(super) async fn apply(desk: &Desk, id: i64) -> Result<Told, Failure> {
    let repairer = Repairer::new(&desk.database, &desk.schema);
    let counts = desk.database.in_time(repairer.tally(id)).await?;
    let bar = output::progress(usize::try_from(counts.pending).unwrap_or_default(), "assigning");
    let row = repairer.apply(id, |seen| bar.set_position(seen as u64)).await;
    bar.finish_and_clear();
    Told::of(desk, row?).await
}

/// Takes a repair back, or goes on with it, with progress on stderr.
///
/// # Errors
/// When there is no such repair, it was taken back, or the database cannot be reached.
pub(super) async fn undo(desk: &Desk, id: i64, author: &Author, why: Option<&str>) -> Result<Told, Failure> {
    let repairer = Repairer::new(&desk.database, &desk.schema);
    let counts = desk.database.in_time(repairer.tally(id)).await?;
    let bar = output::progress(usize::try_from(counts.done).unwrap_or_default(), "giving back");
    let row = repairer.undo(id, author, why, |seen| bar.set_position(seen as u64)).await;
    bar.finish_and_clear();
    Told::of(desk, row?).await
}
