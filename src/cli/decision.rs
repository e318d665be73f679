//! Carries out one decision: previews it, asks for a confirmation if it replaces a mapping, decides, and
//! offers a repair.

use super::{Exit, Failure, Output, global::ActorArgs, output, repair};
use crate::app::decisions::{self, DecisionView};
use crate::app::repair::Counts;
use crate::app::{AppContext, Decided, Decision, Effect, PreviousMapping, RepairRow, RepairScope};
use crate::event::StaffId;
use crate::matching::HostKey;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct CommonArgs {
    #[command(flatten)]
    pub(super) actor: ActorArgs,
    /// The reason to record
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
}

impl CommonArgs {
    /// Adds the reason of the command line to the decision, if there is one.
    pub(super) fn with_reason(&self, decision: Decision) -> Decision {
        Decision { reason: self.reason.clone().or(decision.reason), ..decision }
    }
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct RepairArgs {
    /// The appointments to assign, of those that wait for this host [default: ask on a terminal, else none]
    #[arg(long, value_enum)]
    repair: Option<RepairChoice>,
}

/// The appointments to assign after a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum RepairChoice {
    /// Nothing
    None,
    /// Appointments that have not started
    Future,
    /// All appointments that wait
    All,
}

/// Carries out a decision. Fails if the decision is refused or not confirmed, or if the database cannot be
/// reached.
pub(super) async fn carry_out(
    context: &AppContext,
    output: Output,
    decision: Decision,
    common: &CommonArgs,
    args: Option<&RepairArgs>,
) -> Result<Exit, Failure> {
    let (decision, predicted) = decisions::preview(context, decision).await?;
    confirm(&predicted, common.yes)?;
    tracing::debug!(host = decision.key.host.0, "decision confirmed, carrying it out");
    let reason = decision.reason.clone();
    let mut view = decisions::carry_out(context, decision).await?;
    let may_repair = args.filter(|_| view.decided.staff.is_some());
    if let Some(args) = may_repair {
        view.repair = repair_waiting(context, &view, args.repair, reason.as_deref()).await?;
    }
    output.show(&view, || render(&view, may_repair.is_some()))?;
    Ok(view.repair.as_ref().map_or(Exit::Done, repair::exit))
}

/// Renders `Mara Lind (staff 31)`.
pub(super) fn staff_label(staff: &StaffId, name: Option<&str>) -> String {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} (staff {staff})"),
        None => format!("staff {staff}"),
    }
}

/// Renders the member of staff of a decision; empty for nobody.
fn decided_staff_label(decided: &Decided) -> String {
    decided.staff.as_ref().map(|staff| staff_label(staff, decided.staff_name.as_deref())).unwrap_or_default()
}

/// Asks for a confirmation if the decision replaces a mapping.
fn confirm(predicted: &Decided, yes: bool) -> Result<(), Failure> {
    if predicted.effect != Effect::Replaced {
        return Ok(());
    }
    let host = predicted.key.host;
    let label = |it: &PreviousMapping| {
        format!("{}, by {} ({})", staff_label(&it.staff, Some(&it.staff_name)), it.source, it.confidence.0)
    };
    let current = predicted.before.iter().map(label).collect::<Vec<_>>().join(" and to ");
    let question =
        format!("host {host} is mapped to {current}. Map it to {} instead?", decided_staff_label(predicted));
    // No names here: this text may end up in a log.
    let mappings: Vec<String> = predicted.before.iter().map(|it| it.mapping.to_string()).collect();
    output::confirm(yes, &question, |_| {
        format!(
            "nothing was changed: host {host} is already mapped (mapping {}); replacing that needs a \
             confirmation, on a terminal or with --yes",
            mappings.join(", ")
        )
    })
}

/// Repairs after a decision, as `--repair` or the answer on the terminal requests. Returns `None` if no
/// appointment waits, or if none should be assigned.
async fn repair_waiting(
    context: &AppContext,
    view: &DecisionView,
    requested: Option<RepairChoice>,
    why: Option<&str>,
) -> Result<Option<RepairRow>, Failure> {
    let key = view.decided.key;
    let Some(waiting) = waiting_summary(view.waiting) else { return Ok(None) };
    let question = format!("{waiting} for host {}. Assign them now: [f]uture, [a]ll, [n]one? [n]", key.host);
    let answer = if requested.is_none() { output::ask(&question)? } else { None };
    let scope = match (requested, answer.as_deref()) {
        (Some(RepairChoice::Future), _) | (None, Some("f" | "future")) => RepairScope::Future,
        (Some(RepairChoice::All), _) | (None, Some("a" | "all")) => RepairScope::All,
        _ => return Ok(None),
    };
    repair::begin(context, key, scope, why).await
}

fn render(view: &DecisionView, may_repair: bool) -> Result<(), Failure> {
    let decided = &view.decided;
    let HostKey { company, host } = decided.key;
    output::print_line(&summary(decided))?;
    if let Some(last) = decided.audits.iter().max() {
        output::print_line(&format!("Undo it with: hostmatch mappings revert {last} --company {company}"))?;
    }
    match (&view.repair, waiting_summary(view.waiting)) {
        (Some(repair), _) => repair::print(repair),
        (None, Some(waiting)) if may_repair => output::print_line(&format!(
            "{waiting} for this host: hostmatch repair preview --company {company} --host {host}"
        )),
        (None, _) => Ok(()),
    }
}

fn summary(decided: &Decided) -> String {
    let (host, staff) = (decided.key.host, decided_staff_label(decided));
    let mapping = decided.mapping.map(|id| format!("mapping {id}")).unwrap_or_default();
    let before = decided.before.iter().map(|it| staff_label(&it.staff, Some(&it.staff_name)));
    let before = before.collect::<Vec<_>>().join(" and ");
    match decided.effect {
        Effect::Made => format!("Host {host} is {staff} from now on ({mapping})."),
        Effect::Replaced => {
            format!("Host {host} is {staff} from now on ({mapping}), and no longer {before}.")
        }
        Effect::Confirmed => {
            format!("Host {host} is {staff}, as matched before; now confirmed by a person ({mapping}).")
        }
        Effect::SwitchedOff => format!("Switched off: host {host} is no longer {staff} ({mapping})."),
        Effect::SwitchedOn => format!("Switched on: host {host} is {staff} again ({mapping})."),
        Effect::Reverted if staff.is_empty() => {
            format!("Reverted: host {host} has no mapping in force, as before.")
        }
        Effect::Reverted => format!("Reverted: host {host} is {staff} again ({mapping})."),
        Effect::Unchanged if staff.is_empty() => {
            format!("Nothing to do: host {host} already has no mapping in force.")
        }
        Effect::Unchanged => format!("Nothing to do: host {host} is already {staff} ({mapping})."),
    }
}

/// Describes how many appointments wait. Returns `None` if none does.
pub(super) fn waiting_summary(counts: Counts) -> Option<String> {
    let Counts { future, past, unknown } = counts;
    let parts: Vec<String> = [(future, "future"), (past, "past"), (unknown, "without a known start")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let word = if future + past + unknown == 1 { "appointment waits" } else { "appointments wait" };
    (!parts.is_empty()).then(|| format!("{} {word}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_appointments_are_counted_by_time() {
        assert_eq!(waiting_summary(Counts::default()), None);
        let some = Counts { future: 2, past: 1, unknown: 0 };
        assert_eq!(waiting_summary(some).unwrap(), "2 future, 1 past appointments wait");
        assert_eq!(
            waiting_summary(Counts { past: 1, ..Counts::default() }).unwrap(),
            "1 past appointment waits"
        );
    }
}
