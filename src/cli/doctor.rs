//! `hostmatch doctor`: checks the installation, and shows each problem with its remedy.

use serde_json::json;

use super::{Exit, Failure, Global, Output, arguments::one_of, output};
use crate::app::pluralize;
use crate::install::doctor::{self, Area, Code, Finding, Level, Report, Role, Target};

/// Check this installation: configuration, files, database, broker and topology
///
/// Changes nothing. The exit code is 0 when nothing was found, 10 for warnings only, 1 for errors, 9 when the
/// configuration is invalid. docs/doctor.md lists every code with its remedy.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The roles that run here: an edge (which never opens the database), a worker, or both
    #[arg(long, value_parser = one_of::<Role>(), default_value = "all")]
    role: Role,
    /// Also check the edge at this URL, which runs somewhere else
    #[arg(long, value_name = "URL")]
    edge: Option<String>,
    /// A code to accept: its findings are shown, but do not affect the exit code (repeatable)
    #[arg(long, value_name = "CODE", value_parser = code)]
    accept: Vec<Code>,
    /// Also show the passed checks
    #[arg(long)]
    all: bool,
}

fn code(text: &str) -> Result<Code, String> {
    text.parse().map_err(|_| "unknown code; docs/doctor.md lists all codes".to_owned())
}

/// Runs the command; fails when the command line is wrong, or stdout cannot be written. Findings are not
/// failures.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let (report, refused) = match global.load_for_checks()? {
        Ok(effective) => {
            let target = Target { role: args.role, edge: args.edge.clone(), accepted: args.accept.clone() };
            (Box::pin(doctor::examine(&effective, &target)).await, false)
        }
        Err(error) => (doctor::report_invalid_configuration(&error), true),
    };
    show(global.output, args.all, &report)?;
    Ok(match report.worst() {
        _ if refused => Exit::ConfigInvalid,
        Some(Level::Error) => Exit::Failed,
        Some(Level::Warning) => Exit::Findings,
        None => Exit::Done,
    })
}

fn show(output: Output, all: bool, report: &Report) -> Result<Exit, Failure> {
    let (errors, warnings) = (report.count(Level::Error), report.count(Level::Warning));
    let document = json!({
        "errors": errors, "warnings": warnings, "findings": report.findings, "accepted": report.accepted,
        "not_checked": report.not_checked, "passed": report.passed, "facts": report.facts,
    });
    output.show(&document, || describe((errors, warnings), all, report))
}

fn describe((errors, warnings): (usize, usize), all: bool, report: &Report) -> Result<(), Failure> {
    let of = |level| findings(report.findings.iter().filter(move |one| one.level == level));
    section("ERROR", &of(Level::Error))?;
    section("WARNING", &of(Level::Warning))?;
    section("ACCEPTED", &findings(report.accepted.iter()))?;
    section("NOT CHECKED", &not_checked(report))?;
    section("OK", &if all { passed(report) } else { Vec::new() })?;
    let facts =
        if report.facts.is_empty() { String::new() } else { format!(" ({})", report.facts.join(", ")) };
    let checks = pluralize(report.passed.len(), "check", "checks");
    output::print_line(&match (errors, warnings) {
        (0, 0) => format!("OK: {checks} passed{facts}"),
        _ => format!(
            "{}, {}, {checks} passed{facts}",
            pluralize(errors, "error", "errors"),
            pluralize(warnings, "warning", "warnings")
        ),
    })
}

/// Writes a heading and its lines, if there are any.
fn section(heading: &str, lines: &[String]) -> Result<(), Failure> {
    if lines.is_empty() {
        return Ok(());
    }
    output::print_line(&format!("{heading}\n{}\n", lines.join("\n")))
}

fn findings<'a>(found: impl Iterator<Item = &'a Finding>) -> Vec<String> {
    let text = |one: &Finding| {
        let (code, what) = (one.code.as_str(), one.what.replace('\n', "\n    "));
        format!("  {code}: {}\n    {what}\n    what to do: {}", one.subject, one.remedy)
    };
    found.map(text).collect()
}

/// Groups the skipped checks by reason: one reason usually prevents several checks.
fn not_checked(report: &Report) -> Vec<String> {
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in &report.not_checked {
        match reasons.iter_mut().find(|(why, _)| *why == one.why) {
            Some((_, codes)) => codes.push(one.code.as_str()),
            None => reasons.push((&one.why, vec![one.code.as_str()])),
        }
    }
    let text = |(why, codes): (&str, Vec<&str>)| format!("  {}\n    because: {why}", codes.join(", "));
    reasons.into_iter().map(text).collect()
}

fn passed(report: &Report) -> Vec<String> {
    let of = |area: Area| {
        let codes = report.passed.iter().filter(|code| code.area() == area);
        let codes: Vec<&str> = codes.map(|code| code.as_str()).collect();
        (!codes.is_empty()).then(|| format!("  {}: no {}", area.as_str(), codes.join(", ")))
    };
    Area::ALL.into_iter().filter_map(of).collect()
}
