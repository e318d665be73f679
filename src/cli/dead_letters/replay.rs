//! `deadletters plan|replay`: freezes a set of dead letters and predicts their outcomes; carries out the plan
//! and compares.

use std::collections::BTreeMap;

use super::filter::Selection;
use super::print_left_out;
use crate::app::replay::{
    self, EndReason, FAILED, LEFT, LOST, PlanView, Progress, REFUSED, Rate, ReplayStart, ReplayTerms, Report,
};
use crate::app::{self, AppContext, pluralize};
use crate::cli::{Exit, Failure, Output, output};
use crate::runtime::shutdown;

/// Replay dead letters: those of a plan, or those that a filter selects, which are planned first
///
/// Publishes their messages to the work queue again, with the same ids. The command ends when each has an
/// outcome. Ctrl-C detaches: the worker finishes the letters in flight, the others wait for
/// `replays resume`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Replay {
    /// Carry out this plan
    #[arg(long, value_name = "ID")]
    plan: Option<i64>,
    #[command(flatten)]
    pub(super) selection: Selection,
    /// The rate: letters per second, minute or hour
    #[arg(long, value_name = "N/s|m|h", default_value = "20/s")]
    rate: Rate,
    /// Replay this many first, and the others only if these succeed
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i32).range(0..))]
    canary: i32,
    /// Stop when more than this percentage has failed again
    #[arg(long, value_name = "N%", default_value = "10%", value_parser = percent)]
    stop_on_failure: i32,
    /// Leave out the letters that would fail again according to the plan
    #[arg(long)]
    skip_failing: bool,
    /// The reason to record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

fn percent(text: &str) -> Result<i32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    number.filter(|number| (0..=100).contains(number)).ok_or_else(|| "expected 0% to 100%".to_owned())
}

pub(super) async fn plan(
    output: Output,
    selection: &Selection,
    context: &AppContext,
) -> Result<Exit, Failure> {
    let view = freeze(selection, context).await?;
    let (Some(id), Some(report)) = (view.plan, &view.report) else {
        return print_nothing_planned(output, &view);
    };
    output.show(&view, || {
        let letters = pluralize(report.letters, "dead letter", "dead letters");
        output::print_line(&format!("Plan {id}: {letters}, frozen; nothing else was changed"))?;
        print_predictions(report)?;
        print_left_out(&view.left_out)?;
        let expires = view.expires.as_deref().unwrap_or_default();
        output::print_line(&format!("Start it before {expires}: hostmatch deadletters replay --plan {id}"))
    })?;
    Ok(if view.left_out.is_empty() { Exit::Done } else { Exit::Partial })
}

async fn freeze(selection: &Selection, context: &AppContext) -> Result<PlanView, Failure> {
    let filter = selection.to_filter()?;
    let plan = async |progress: app::Progress<'_>| replay::plan(context, &filter, progress).await;
    Ok(output::with_progress("planning", plan).await?)
}

fn print_nothing_planned(output: Output, view: &PlanView) -> Result<Exit, Failure> {
    output.show(view, || {
        print_left_out(&view.left_out)?;
        output::print_line(if view.left_out.is_empty() {
            "No open dead letter matches the filter: there is nothing to plan."
        } else {
            "No other open dead letter matches the filter: there is nothing to plan."
        })
    })?;
    Ok(Exit::NotFound)
}

pub(super) async fn run(output: Output, args: &Replay, context: &AppContext) -> Result<Exit, Failure> {
    let (id, report, is_whole) = match args.plan {
        Some(_) if !args.selection.is_empty() => {
            let text = "a plan has a fixed set of letters: give --plan, or filters, not both";
            return Err(Failure::new(Exit::Usage, text));
        }
        Some(id) => {
            let report = replay::read_predictions(context, id).await;
            (id, report.map_err(|error| Failure::with_list_hint(error, super::replays::LIST))?, true)
        }
        None => {
            let view = freeze(&args.selection, context).await?;
            let (Some(id), Some(report)) = (view.plan, &view.report) else {
                return print_nothing_planned(output, &view);
            };
            if output == Output::Table {
                print_left_out(&view.left_out)?;
            }
            (id, report.clone(), view.left_out.is_empty())
        }
    };
    if report.letters > 0 {
        confirm(args, id, &report, context)?;
    }
    let terms = ReplayTerms {
        rate: args.rate.to_string(),
        canary: args.canary,
        stop_percent: args.stop_on_failure,
        skip_failing: args.skip_failing,
    };
    let exit = carry_out(output, id, &ReplayStart::First(terms), args.reason.clone(), context).await?;
    Ok(if exit == Exit::Done && !is_whole { Exit::Partial } else { exit })
}

fn confirm(args: &Replay, id: i64, report: &Report, context: &AppContext) -> Result<(), Failure> {
    let failing = report.predicted.get(FAILED).copied().unwrap_or_default();
    let letters = report.letters - if args.skip_failing { failing } else { 0 };
    let config = &context.config;
    let target = (config.database.url.redacted_url(), config.queue.url.redacted_url());
    let warning = if !args.skip_failing && failing * 100 > i64::from(args.stop_on_failure) * report.letters {
        format!(
            "{failing} of them would fail again, more than --stop-on-failure: --skip-failing leaves them out. "
        )
    } else {
        String::new()
    };
    let all = pluralize(report.letters, "dead letter", "dead letters");
    let question = format!(
        "{warning}Replay {letters} of {all} at {} (database {}, queue {})?",
        args.rate, target.0, target.1
    );
    output::confirm(args.yes, &question, |was_asked| {
        let why = if was_asked { "" } else { ": it needs a confirmation" };
        format!(
            "plan {id} was not started{why}; start it with: hostmatch deadletters replay --plan {id} --yes"
        )
    })
}

/// Carries out a plan or resumes a replay, with a progress bar; then writes how it ended and its results.
pub(super) async fn carry_out(
    output: Output,
    id: i64,
    start: &ReplayStart,
    why: Option<String>,
    context: &AppContext,
) -> Result<Exit, Failure> {
    let stop = shutdown::on_signals()?;
    let bar = output::progress(0, "replaying");
    let show_progress = |letters: i64, progress: Progress| {
        bar.set_length(u64::try_from(letters).unwrap_or_default());
        bar.set_position(u64::try_from(progress.ended).unwrap_or_default());
        let Progress { failed, in_flight, .. } = progress;
        bar.set_message(if progress.is_stuck {
            format!("replaying: waiting for {in_flight}; {}", super::replays::stuck_hint(id))
        } else if progress.all_sent {
            format!("replaying: {failed} failed again, waiting for {in_flight}")
        } else {
            format!("replaying: {failed} failed again, {in_flight} in flight")
        });
    };
    let end = replay::carry_out(context, id, (start, why), &stop, show_progress).await;
    bar.finish_and_clear();
    let mut end = end.map_err(|error| Failure::with_list_hint(error, super::replays::LIST))?;
    let resume = format!("resume it with: hostmatch deadletters replays resume {id}");
    let has_failures = [FAILED, REFUSED, LOST].iter().any(|result| end.report.count_of(result) > 0);
    let (message, exit) = match &end.reason {
        EndReason::Done if has_failures => {
            ("is done; some failed again or were refused".to_owned(), Exit::Partial)
        }
        EndReason::Done => ("is done".to_owned(), Exit::Done),
        EndReason::Stopped(because) => {
            (format!("was stopped: {because}; the other letters are unchanged"), Exit::Partial)
        }
        EndReason::Paused => (format!("was paused; {resume}"), Exit::Partial),
        EndReason::Cancelled => ("was cancelled; the other letters are unchanged".to_owned(), Exit::Partial),
        EndReason::Detached => {
            let text = "was detached; the worker finishes the letters in flight";
            (format!("{text}; {resume}"), Exit::Interrupted)
        }
        EndReason::LeaseLost => ("was taken over by another process".to_owned(), Exit::Partial),
    };
    end.message = message;
    output.show(&end, || {
        output::print_line(&format!("Replay {id} {}", end.message))?;
        print_results(&end.report)
    })?;
    Ok(exit)
}

/// Writes the predictions for people.
pub(super) fn print_predictions(report: &Report) -> Result<(), Failure> {
    let detail = |outcome: &str| match outcome {
        "assigned" => counts(&report.strategies),
        FAILED => counts(&report.predicted_failures),
        "stale" => "a newer event has been decided".to_owned(),
        "unchanged" => "is already assigned to that member of staff".to_owned(),
        "kept" => "somebody else decided".to_owned(),
        _ => String::new(),
    };
    let rows = report.predicted.iter().map(|(outcome, count)| {
        let name = if outcome == FAILED { "would fail again" } else { outcome };
        [format!("  {name}"), count.to_string(), detail(outcome)]
    });
    output::table(&[], rows)
}

/// Writes the results for people.
pub(super) fn print_results(report: &Report) -> Result<(), Failure> {
    let rows = report.results.iter().map(|(result, count)| {
        let name = match result.as_str() {
            FAILED => "failed again",
            REFUSED => "refused: changed since the plan",
            LEFT => "left as they were",
            LOST => "given up: no result arrived",
            other => other,
        };
        [format!("  {name}"), count.to_string()]
    });
    output::table(&[], rows)?;
    for (what, count) in [("in flight", report.in_flight), ("not sent", report.pending)] {
        if count > 0 {
            output::print_line(&format!("  {what}: {count}"))?;
        }
    }
    if let Some(percent) = report.as_planned_percent {
        output::print_line(&format!("As planned: {percent} % ({})", report.as_planned))?;
    }
    if !report.differences.is_empty() {
        output::print_line("Not as planned:")?;
        let rows = report.differences.iter();
        let rows =
            rows.map(|one| [format!("  {}", one.letters), format!("{} → {}", one.predicted, one.result)]);
        output::table(&[], rows)?;
    }
    Ok(())
}

fn counts(counts: &BTreeMap<String, i64>) -> String {
    counts.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}
