//! `hostmatch report`: what was decided, how it agrees with what the appointments have, and how well
//! matching does.

use serde_json::json;

use super::{Exit, Failure, Global, Output, moments, operator::Acting, output};
use crate::app::report::{Appointments, Comparison, ReportView, report};
use crate::app::{Access, Period};
use crate::matching::Confidence;
use crate::runtime::clock::{now_ms, rfc3339};

/// What was decided, how it agrees with what the appointments have now, and how well matching does
///
/// Reads only, and locks nothing. With worker.mode = "observe" it compares hostmatch with whoever
/// assigns instead of it. Of each appointment the last decision counts.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Decisions from this moment on: 30d ago, or 2026-03-01, or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = moments::moment)]
    since: i64,
    /// Decisions before this moment [default: now]
    #[arg(long, value_name = "TIME", value_parser = moments::moment)]
    until: Option<i64>,
    /// Only of this company
    #[arg(long, value_name = "N")]
    company: Option<i64>,
    /// List up to so many appointments that have somebody else than was found, or nobody
    #[arg(long, value_name = "N", default_value_t = 0)]
    differences: usize,
}

/// Runs the command; fails when the database cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let context = global.open(Access::ReadOnly, &Acting::default(), args.company).await?;
    let period = Period { since_ms: args.since, until_ms: args.until.unwrap_or_else(now_ms) };
    let made = report(&context, period, args.differences).await;
    context.close().await;
    let report = made?;
    match global.output {
        Output::Json => output::json(&json!({ "report": report }))?,
        Output::Table => show(&report)?,
    }
    Ok(Exit::Done)
}

fn show(report: &ReportView) -> Result<(), Failure> {
    let Appointments { decided, observed, with_staff, with_staff_percent } = report.appointments;
    let share_of = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value} %"));
    output::line(&format!(
        "Decided from {} to {}: {decided} appointments",
        rfc3339(report.since),
        rfc3339(report.until)
    ))?;
    if observed > 0 {
        output::line(&format!("Only observed, not written: {observed}"))?;
    }
    output::line(&format!("With staff now: {with_staff} ({}; target 90 %)", share_of(with_staff_percent)))?;
    let failed = &report.failed;
    let share = share_of(failed.percent);
    output::line(&format!("Failed matches: {} ({share}; target below 10 %)", failed.appointments))?;
    output::line("")?;
    let head = ["FOUND BY", "CONF", "DECISIONS", "SAME", "BY OTHERS", "DIFFERENT", "ONLY WE", "AGREEMENT"];
    let line = |name: &str, confidence: Option<Confidence>, decisions: u64, it: &Comparison| {
        let confidence = confidence.map_or_else(|| "-".to_owned(), |it| it.0.to_string());
        let counts = [decisions, it.same, it.same_by_others, it.different, it.only_we];
        let mut cells = vec![name.to_owned(), confidence];
        cells.extend(counts.iter().map(ToString::to_string));
        cells.push(share_of(it.agreement_percent));
        cells
    };
    let rows = report.strategies.iter();
    let mut rows: Vec<_> =
        rows.map(|one| line(&one.strategy, one.confidence, one.appointments, &one.comparison)).collect();
    rows.push(line("all", None, decided, &report.comparison));
    output::table(&head, rows)?;
    let Comparison { only_they, neither, not_compared, .. } = report.comparison;
    output::line(&format!(
        "Nobody found: {only_they} have somebody, {neither} have nobody. Not compared: {not_compared}"
    ))?;
    let reasons = failed.reasons.iter().map(|(reason, count)| [reason.clone(), count.to_string()]);
    let letters =
        failed.dead_letters.iter().map(|(it, count)| [format!("{it} (dead letter)"), count.to_string()]);
    let reasons: Vec<[String; 2]> = reasons.chain(letters).collect();
    if !reasons.is_empty() {
        output::line("")?;
        output::table(&["FAILED BECAUSE", "COUNT"], reasons)?;
    }
    if report.mappings.would_make > 0 {
        output::line(&format!("\nMappings that assigning would make: {}", report.mappings.would_make))?;
    }
    if !report.mappings.per_day.is_empty() {
        output::line("")?;
        let days = report.mappings.per_day.iter();
        let days = days.map(|it| [it.day.clone(), it.by_matching.to_string(), it.by_people.to_string()]);
        output::table(&["NEW MAPPINGS", "BY MATCHING", "BY PEOPLE"], days)?;
    }
    if !report.differences.is_empty() {
        output::line("")?;
        let dash = |staff: &Option<crate::event::StaffId>| {
            staff.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
        };
        let rows = report.differences.iter().map(|one| {
            let strategy = one.strategy.clone().unwrap_or_else(|| "-".to_owned());
            [one.appointment.to_string(), one.company.to_string(), dash(&one.found), strategy, dash(&one.has)]
        });
        output::table(&["APPOINTMENT", "COMPANY", "FOUND", "BY", "HAS"], rows)?;
    }
    Ok(())
}
