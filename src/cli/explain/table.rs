//! Renders explanations for people.

use super::Explanation;
use crate::app::explain::{Columns, Delivery, EffectView};
use crate::app::pluralize;
use crate::cli::{Failure, output, output::dash};
use crate::matching::{Resolution, Review, Step, Suggestion};

/// Writes explanations to stdout, separated by blank lines.
pub(super) fn show(explanations: &[Explanation]) -> Result<(), Failure> {
    for (number, explanation) in explanations.iter().enumerate() {
        if number > 0 {
            output::print_line("")?;
        }
        print_one(explanation)?;
    }
    Ok(())
}

fn print_one(Explanation { view: explanation, next }: &Explanation) -> Result<(), Failure> {
    let company = explanation.company.map_or_else(|| "no company".to_owned(), |id| format!("company {id}"));
    match (&explanation.booking, &explanation.event_type) {
        (Some(booking), Some(event_type)) => output::print_line(&format!("Booking {booking}, {event_type}"))?,
        (Some(booking), None) => output::print_line(&format!("Booking {booking}, its newest event again"))?,
        (None, Some(event_type)) => output::print_line(event_type)?,
        (None, None) => {}
    }
    if let Some(host) = &explanation.host {
        let id = host.id.map_or_else(|| "without an id".to_owned(), |id| id.to_string());
        let source = explanation.host_source.map(|source| format!("  (from {source})")).unwrap_or_default();
        output::print_line(&format!("Host {id}  ({company}){source}"))?;
    } else if explanation.effect.as_ref().is_some_and(|effect| effect.appointment.is_some()) {
        output::print_line(&format!("No usable host  ({company})"))?;
    }
    for note in &explanation.notes {
        output::print_line(&format!("Note: {note}."))?;
    }
    if !explanation.steps.is_empty() {
        let head = ["PRIO", "STRATEGY", "LOOKED FOR", "FOUND", "CONF", "RESULT"];
        output::table(&head, explanation.steps.iter().map(row))?;
    }
    if let Some(decision) = &explanation.decision {
        output::print_line(&format!("Decision: {}.", describe(decision)))?;
    }
    if let Some(effect) = &explanation.effect {
        for line in effect_lines(effect) {
            output::print_line(&line)?;
        }
    }
    // No full stop after a command, so that it can be copied.
    let end = if next.contains(": hostmatch ") { "" } else { "." };
    output::print_line(&format!("What to do: {next}{end}"))
}

fn row(step: &Step) -> [String; 6] {
    let staff: Vec<String> = step.found.iter().map(|found| format!("staff {}", found.staff)).collect();
    let confidence = step.found.iter().find_map(|found| found.confidence);
    [
        format!("{:>4}", step.priority),
        step.strategy.to_owned(),
        dash(step.looked_for.as_ref()),
        dash((!staff.is_empty()).then(|| staff.join(", "))),
        confidence.map_or_else(|| "   -".to_owned(), |score| format!("{score:>4}")),
        step.result.clone(),
    ]
}

fn describe(decision: &Resolution) -> String {
    match decision {
        Resolution::Matched { strategy, candidate } => {
            format!("staff {}, by {strategy} ({})", candidate.staff, candidate.confidence.0)
        }
        Resolution::NeedsReview { review: Review::BelowThreshold, suggestions } => {
            format!("not assigned; suggested: {}", names(suggestions))
        }
        Resolution::NeedsReview { review: Review::Ambiguous, suggestions } => {
            format!("not assigned; ambiguous: {}", names(suggestions))
        }
        Resolution::NeedsReview { review: Review::SwitchedOff, suggestions } => {
            format!("not assigned; a person switched the mapping off: {}", names(suggestions))
        }
        Resolution::Unmatched => "not assigned; nobody was found".to_owned(),
    }
}

fn names(suggestions: &[Suggestion]) -> String {
    let names: Vec<String> = suggestions.iter().map(|it| format!("staff {}", it.staff)).collect();
    names.join(", ")
}

fn effect_lines(effect: &EffectView) -> Vec<String> {
    let code = effect.reason.as_deref();
    let reason = code.unwrap_or_default();
    let what = match (effect.delivery, effect.outcome, code) {
        (Delivery::Done, outcome, None) => outcome.unwrap_or_default().to_owned(),
        (Delivery::Done, outcome, Some(reason)) => format!("{} ({reason})", outcome.unwrap_or_default()),
        (Delivery::Retry, ..) => {
            format!("does not exist yet: retried according to the schedule, then a dead letter, {reason}")
        }
        (Delivery::DeadLetter, ..) => format!("a dead letter, {reason}"),
    };
    let name = match effect.appointment {
        Some(id) => format!("Appointment {id}"),
        None if effect.delivery == Delivery::Done => "Outcome".to_owned(),
        None => "Appointment".to_owned(),
    };
    let mut lines = vec![format!("{name}: {what}.")];
    lines.extend(effect.found_by.map(|by| format!("  Found by {}.", by.description())));
    lines.extend(effect.why.as_ref().map(|why| format!("  {why}.")));
    if let (Some(before), Some(after)) = (&effect.before, &effect.after) {
        lines.push(format!("  {}", columns(before, after, effect.held_by == Some("somebody_else"))));
    }
    lines.extend(effect.mappings.iter().map(|mapped| {
        let change = mapped.change.replace('_', " ");
        let change = if change == "made" { "created" } else { change.as_str() };
        format!("  A mapping of this host to staff {} would be {change}.", mapped.staff)
    }));
    if effect.also_decided > 0 {
        let count =
            pluralize(effect.also_decided, "more appointment that waits", "more appointments that wait");
        lines.push(format!("  {count} for this host would be decided too."));
    }
    lines
}

fn columns(before: &Columns, after: &Columns, by_others: bool) -> String {
    let change = |name: &str, from: String, to: String| {
        if from == to { format!("{name} stays {from}") } else { format!("{name} {from} -> {to}") }
    };
    let who = if by_others { " (set or cleared by somebody else)" } else { "" };
    format!(
        "{}{who}, {}.",
        change("staff_id", dash(before.staff_id.as_ref()), dash(after.staff_id.as_ref())),
        change("calcom_host_id", dash(before.calcom_host_id), dash(after.calcom_host_id)),
    )
}
