//! Carrying one decision out: what it would come to, a confirmation where it replaces something, the decision
//! itself, and what it makes possible.

use super::{Exit, Failure, Output, global::Acting, output, repair};
use crate::app::decisions::{self, DecisionView};
use crate::app::repair::Counts;
use crate::app::{AppContext, Before, Decided, Decision, Effect, RepairRow, RepairScope};
use crate::event::StaffId;
use crate::matching::HostKey;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct CommonArgs {
    #[command(flatten)]
    pub(super) acting: Acting,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

impl CommonArgs {
    /// The decision with the reason that was given, if one was.
    pub(super) fn give_reason(&self, decision: Decision) -> Decision {
        Decision { reason: self.reason.clone().or(decision.reason), ..decision }
    }
}

#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct RepairArgs {
    /// What becomes of the appointments that wait for this host [default: ask on a terminal, else none]
    #[arg(long, value_enum)]
    repair: Option<Repairing>,
}

/// What is put right along with a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Repairing {
    /// Nothing
    None,
    /// Appointments that have not begun
    Future,
    /// All appointments that wait
    All,
}

/// Carries a decision out. Fails when it is refused or not confirmed, or the database cannot be reached.
pub(super) async fn carry_out(
    context: &AppContext,
    output: Output,
    decision: Decision,
    common: &CommonArgs,
    args: Option<&RepairArgs>,
) -> Result<Exit, Failure> {
    let (decision, predicted) = decisions::preview(context, decision).await?;
    confirm(&predicted, common.yes)?;
    tracing::debug!(host = decision.key.host.0, "decided on what was seen");
    let reason = decision.reason.clone();
    let mut view = decisions::carry_out(context, decision).await?;
    let may_repair = args.filter(|_| view.decided.staff.is_some());
    if let Some(args) = may_repair {
        view.repair = along(context, &view, args.repair, reason.as_deref()).await?;
    }
    output.show(&view, || render(&view, may_repair.is_some()))?;
    Ok(view.repair.as_ref().map_or(Exit::Done, repair::exit))
}

/// `Mara Lind (staff 31)`
pub(super) fn who(staff: &StaffId, name: Option<&str>) -> String {
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} (staff {staff})"),
        None => format!("staff {staff}"),
    }
}

/// The member of staff of a decision; empty for nobody.
fn whom(decided: &Decided) -> String {
    decided.staff.as_ref().map(|staff| who(staff, decided.staff_name.as_deref())).unwrap_or_default()
}

/// Who replaces what somebody decided is asked.
fn confirm(predicted: &Decided, yes: bool) -> Result<(), Failure> {
    if predicted.effect != Effect::Replaced {
        return Ok(());
    }
    let host = predicted.key.host;
    let is_now = |it: &Before| {
        format!("{}, by {} ({})", who(&it.staff, Some(&it.staff_name)), it.source, it.confidence.0)
    };
    let is_now = predicted.before.iter().map(is_now).collect::<Vec<_>>().join(" and to ");
    let question = format!("host {host} is mapped to {is_now}. Replace by {}?", whom(predicted));
    // Names are for the terminal; this may stand in a log.
    let mappings: Vec<String> = predicted.before.iter().map(|it| it.mapping.to_string()).collect();
    output::confirm(yes, &question, |_| {
        format!(
            "nothing was changed: host {host} is mapped already (mapping {}); to replace that needs a \
             confirmation, on a terminal or with --yes",
            mappings.join(", ")
        )
    })
}

/// Repairs along with a decision: what was asked for, or what is answered on the terminal. None: nothing
/// waits, or nothing is to be done.
async fn along(
    context: &AppContext,
    view: &DecisionView,
    asked: Option<Repairing>,
    why: Option<&str>,
) -> Result<Option<RepairRow>, Failure> {
    let key = view.decided.key;
    let Some(waiting) = waiting(view.waiting) else { return Ok(None) };
    let question =
        format!("{waiting} for host {}. Assign them now: [f]uture ones, [a]ll, [n]one? [n]", key.host);
    let answer = if asked.is_none() { output::ask(&question)? } else { None };
    let scope = match (asked, answer.as_deref()) {
        (Some(Repairing::Future), _) | (None, Some("f" | "future")) => RepairScope::Future,
        (Some(Repairing::All), _) | (None, Some("a" | "all")) => RepairScope::All,
        _ => return Ok(None),
    };
    repair::begin(context, key, scope, why).await
}

fn render(view: &DecisionView, may_repair: bool) -> Result<(), Failure> {
    let decided = &view.decided;
    let HostKey { company, host } = decided.key;
    output::line(&sentence(decided))?;
    if let Some(last) = decided.audits.iter().max() {
        output::line(&format!("Take it back with: hostmatch mappings revert {last} --company {company}"))?;
    }
    match (&view.repair, waiting(view.waiting)) {
        (Some(repair), _) => repair::print(repair),
        (None, Some(waiting)) if may_repair => output::line(&format!(
            "{waiting} for this host: hostmatch repair preview --company {company} --host {host}"
        )),
        (None, _) => Ok(()),
    }
}

fn sentence(decided: &Decided) -> String {
    let (host, who) = (decided.key.host, whom(decided));
    let mapping = decided.mapping.map(|id| format!("mapping {id}")).unwrap_or_default();
    let before = decided.before.iter().map(|it| self::who(&it.staff, Some(&it.staff_name)));
    let before = before.collect::<Vec<_>>().join(" and ");
    match decided.effect {
        Effect::Made => format!("Host {host} is {who} from now on ({mapping})."),
        Effect::Replaced => format!("Host {host} is {who} from now on ({mapping}), and no longer {before}."),
        Effect::Confirmed => {
            format!("Host {host} is {who}, as a match had found: now a person says so ({mapping}).")
        }
        Effect::SwitchedOff => format!("Switched off: host {host} is no longer {who} ({mapping})."),
        Effect::SwitchedOn => format!("Switched on: host {host} is {who} again ({mapping})."),
        Effect::Reverted if who.is_empty() => format!("Taken back: host {host} is nobody's again."),
        Effect::Reverted => format!("Taken back: host {host} is {who} again ({mapping})."),
        Effect::Unchanged if who.is_empty() => format!("Nothing to do: host {host} is nobody's already."),
        Effect::Unchanged => format!("Nothing to do: that is so already (host {host}, {who}, {mapping})."),
    }
}

/// How many wait, in words; none when nothing does.
pub(super) fn waiting(counts: Counts) -> Option<String> {
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
    fn what_waits_is_counted_apart() {
        assert_eq!(waiting(Counts::default()), None);
        let some = Counts { future: 2, past: 1, unknown: 0 };
        assert_eq!(waiting(some).unwrap(), "2 future, 1 past appointments wait");
        assert_eq!(waiting(Counts { past: 1, ..Counts::default() }).unwrap(), "1 past appointment waits");
    }
}
