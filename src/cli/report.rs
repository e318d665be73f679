//! `hostmatch report`: reports on decisions, whether they agree with the appointments, and how well matching
//! works.

use serde_json::json;

use super::{Exit, Failure, Global, arguments::PeriodArgs, output, output::dash};
use crate::app::report::{Appointments, Comparison, ReportView, report};
use crate::app::{AppContext, Period, pluralize};
use crate::matching::Confidence;
use crate::runtime::clock::now_ms;

/// Report on decisions, whether they agree with the appointments now, and how well matching works
///
/// Reads only, and locks nothing. With worker.mode = "observe" it compares hostmatch with the people or
/// program that assign in its place. Only the last decision of each appointment counts.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    period: PeriodArgs,
    /// List at most this many appointments whose staff differs from the match
    #[arg(long, value_name = "N", default_value_t = 0)]
    differences: usize,
}

/// Runs the command; fails when the database cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let period = Period { since_ms: args.period.since, until_ms: args.period.until.unwrap_or_else(now_ms) };
    let work = async |context: &AppContext| Ok(report(context, period, args.differences).await?);
    let report = global.with_context(None, args.period.company, work).await?;
    global.output.show(&json!({ "report": report }), || show(&report))
}

fn show(report: &ReportView) -> Result<(), Failure> {
    let Appointments { decided, observed, with_staff, with_staff_percent } = report.appointments;
    let share_of = |value: Option<f64>| dash(value.map(|value| format!("{value} %")));
    output::print_line(&format!(
        "Decided from {} to {}: {}",
        output::moment(report.since),
        output::moment(report.until),
        pluralize(decided, "appointment", "appointments")
    ))?;
    if observed > 0 {
        output::print_line(&format!("Only observed, not written: {observed}"))?;
    }
    output::print_line(&format!(
        "With staff now: {with_staff} ({}; target 90 %)",
        share_of(with_staff_percent)
    ))?;
    let failed = &report.failed;
    let share = share_of(failed.percent);
    output::print_line(&format!("Failed matches: {} ({share}; target below 10 %)", failed.appointments))?;
    output::print_line("")?;
    let head = ["FOUND BY", "CONF", "DECISIONS", "SAME", "BY OTHERS", "DIFFERENT", "ONLY OURS", "AGREEMENT"];
    let row = |name: &str, confidence: Option<Confidence>, decisions: u64, comparison: &Comparison| {
        let Comparison { same, same_by_others, different, only_ours, .. } = *comparison;
        let counts = [decisions, same, same_by_others, different, only_ours];
        let mut cells = vec![name.to_owned(), dash(confidence.map(|it| it.0))];
        cells.extend(counts.iter().map(ToString::to_string));
        cells.push(share_of(comparison.agreement_percent));
        cells
    };
    let rows = report.strategies.iter();
    let mut rows: Vec<_> =
        rows.map(|one| row(&one.strategy, one.confidence, one.appointments, &one.comparison)).collect();
    rows.push(row("all", None, decided, &report.comparison));
    output::table(&head, rows)?;
    let Comparison { only_theirs, neither, not_compared, .. } = report.comparison;
    output::print_line(&format!(
        "Nobody found: {only_theirs} have staff, {neither} have none. Not compared: {not_compared}"
    ))?;
    let reasons = failed.reasons.iter().map(|(reason, count)| [reason.clone(), count.to_string()]);
    let letters =
        failed.dead_letters.iter().map(|(it, count)| [format!("{it} (dead letter)"), count.to_string()]);
    let reasons: Vec<[String; 2]> = reasons.chain(letters).collect();
    if !reasons.is_empty() {
        output::print_line("")?;
        output::table(&["FAILED BECAUSE", "COUNT"], reasons)?;
    }
    if report.mappings.would_make > 0 {
        output::print_line(&format!(
            "\nMappings that assigning would create: {}",
            report.mappings.would_make
        ))?;
    }
    if !report.mappings.per_day.is_empty() {
        output::print_line("")?;
        let days = report.mappings.per_day.iter();
        let days = days.map(|it| [it.day.clone(), it.by_matching.to_string(), it.by_people.to_string()]);
        output::table(&["NEW MAPPINGS", "BY MATCHING", "BY PEOPLE"], days)?;
    }
    if !report.differences.is_empty() {
        output::print_line("")?;
        let rows = report.differences.iter().map(|one| {
            let [found, has] = [&one.found_staff, &one.current_staff].map(|staff| dash(staff.as_ref()));
            [one.appointment.to_string(), one.company.to_string(), found, dash(one.strategy.as_ref()), has]
        });
        output::table(&["APPOINTMENT", "COMPANY", "FOUND", "BY", "HAS"], rows)?;
    }
    Ok(())
}
