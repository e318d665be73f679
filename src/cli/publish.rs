//! `hostmatch publish FILE|-`: checks the events of a file and publishes them.

use std::path::PathBuf;

use serde_json::json;

use super::{Exit, Failure, Global, Output, items, output};
use crate::app::publish::{EventCheck, EventStatus, Message, check};
use crate::config::Config;
use crate::runtime::shutdown;
use crate::{app, telemetry};

/// Publish events from a file: a JSON object, an array, or one object per line
///
/// Checks all events first. When one is invalid, nothing is published unless --skip-invalid is given.
/// Publishing the same events again does no harm.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The file; - is standard input
    file: PathBuf,
    /// Only check the events; the exit code is that of publishing
    #[arg(long)]
    dry_run: bool,
    /// Publish the valid events and leave out the others (exit code 5 if there are any)
    #[arg(long)]
    skip_invalid: bool,
}

/// Runs the command; fails when the file cannot be read or is invalid, or the queue cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let effective = global.start(&[])?;
    let name = args.file.display().to_string();
    let input = items::read(&args.file)?;
    let (mut checks, mut messages) = (Vec::new(), Vec::new());
    for (place, body) in items::split_file(&args.file, &input)? {
        let (found, message) = check(place.to_string(), body);
        checks.push(found);
        messages.extend(message);
    }
    let invalid = checks.iter().filter(|check| check.status == EventStatus::Invalid).count();
    let refused = invalid > 0 && (!args.skip_invalid || messages.is_empty());
    let count = if refused || args.dry_run { 0 } else { publish(&effective.config, &messages).await? };
    show(global.output, args, &checks, count)?;
    if refused {
        let hint =
            if args.skip_invalid { "" } else { "; correct them, or leave them out with --skip-invalid" };
        let text =
            format!("nothing was published: {invalid} of {} in {name} are invalid{hint}", checks.len());
        return Err(Failure::new(Exit::Failed, text));
    }
    Ok(if invalid > 0 { Exit::Partial } else { Exit::Done })
}

/// Publishes with a progress bar, and returns the number of events. A failure contains the number of
/// confirmed events.
async fn publish(config: &Config, messages: &[Message]) -> Result<usize, Failure> {
    let stop = shutdown::on_signals()?;
    let trace_export = telemetry::start_export(&config.traces, "publish")?;
    let (total, mut published) = (messages.len(), 0);
    let bar = output::progress(total, "publishing");
    let watch = |count| {
        published = count;
        bar.set_position(count as u64);
    };
    let result = app::publish::publish(config, messages, &stop, watch).await;
    bar.finish_and_clear();
    trace_export.shutdown().await;
    let rest = format!("{published} of {total} were confirmed; publishing all of them again does no harm");
    match result {
        Ok(()) if published < total => Err(Failure::new(Exit::Interrupted, "interrupted").with_hint(&rest)),
        Ok(()) => Ok(published),
        Err(error) => Err(Failure::from(error).with_hint(&rest)),
    }
}

fn show(output: Output, args: &Args, checks: &[EventCheck], published: usize) -> Result<Exit, Failure> {
    let count = |status| checks.iter().filter(|check| check.status == status).count();
    let (valid, ignored, invalid) =
        (count(EventStatus::Valid), count(EventStatus::Ignored), count(EventStatus::Invalid));
    let document = json!({
        "dry_run": args.dry_run, "published": published,
        "valid": valid, "ignored": ignored, "invalid": invalid, "events": checks,
    });
    output.show(&document, || {
        let shown = checks.iter().filter(|check| args.dry_run || check.status == EventStatus::Invalid);
        let rows: Vec<_> = shown.map(row).collect();
        if !rows.is_empty() {
            output::table(&["AT", "STATUS", "TYPE", "BOOKING", "PROBLEM"], rows)?;
        }
        let found = format!("{valid} valid, {ignored} with nothing to act on, {invalid} invalid");
        output::print_line(&if args.dry_run { found } else { format!("{published} published ({found})") })
    })
}

fn row(check: &EventCheck) -> [String; 5] {
    let pointer = check.pointer.as_deref().filter(|pointer| !pointer.is_empty());
    let at = pointer.map(|pointer| format!(" (at {pointer})")).unwrap_or_default();
    let status = match check.status {
        EventStatus::Valid => "valid",
        EventStatus::Ignored => "nothing to act on",
        EventStatus::Invalid => "invalid",
    };
    [
        check.place.clone(),
        status.to_owned(),
        check.event_type.clone().unwrap_or_default(),
        check.bookings.join(", "),
        check.problem.as_ref().map(|problem| format!("{problem}{at}")).unwrap_or_default(),
    ]
}
