//! `deadletters replay`: carry out a plan, and compare.

use serde_json::json;

use super::filter::Choosing;
use super::{plan, told};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::operator::who;
use crate::cli::output::{self, Output};
use crate::config::Config;
use crate::queue::Queue;
use crate::replay::{Ended, Progress, Rate, Report, Runner, Start, stuck};
use crate::runtime::shutdown;
use crate::store::{Database, FAILED, GatewaySchema, LOST, REFUSED, shares};

/// Replay dead letters: those of a plan, or those that a filter chooses, which are planned first
///
/// Their messages are put into the work queue again, under their own ids. It ends when each has an
/// outcome. Ctrl-C detaches: what is on the way is finished by the worker, the rest waits for
/// `replays resume`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Carry out this plan
    #[arg(long, value_name = "ID")]
    plan: Option<i64>,
    #[command(flatten)]
    which: Choosing,
    /// How fast: letters a second, minute or hour
    #[arg(long, value_name = "N/s|m|h", default_value = "20/s")]
    rate: Rate,
    /// So many first; the rest only when they have gone well
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(i32).range(0..))]
    canary: i32,
    /// Stop when more than so many in a hundred have failed again
    #[arg(long, value_name = "N%", default_value = "10%", value_parser = percent)]
    stop_on_failure: i32,
    /// Leave those as they are of which the plan says that they would fail again
    #[arg(long)]
    skip_failing: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

fn percent(text: &str) -> Result<i32, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse().ok();
    number.filter(|number| (0..=100).contains(number)).ok_or_else(|| "write 0% to 100%".to_owned())
}

/// Runs the command.
///
/// # Errors
/// When nothing was chosen, the plan cannot be begun, or database or queue cannot be reached.
pub(super) async fn run(
    output: Output,
    args: &Args,
    config: &Config,
    (database, schema): (&Database, GatewaySchema),
) -> Result<Exit, Failure> {
    let (id, left_out) = match (args.plan, args.which.is_empty()) {
        (Some(_), false) => {
            let text = "a plan has its letters: give --plan, or filters, not both";
            return Err(Failure::new(Exit::Usage, text));
        }
        (Some(id), true) => (id, Vec::new()),
        (None, _) => {
            let frozen = plan::freeze(&args.which.chosen()?, config, (database, schema)).await?;
            let Some(id) = frozen.replay else { return plan::nothing(output, &frozen) };
            (id, frozen.left_out)
        }
    };
    let report = Report::of(&database.in_time(shares(database, id)).await?);
    if output == Output::Table {
        told::left_out(&left_out)?;
    }
    if !args.yes && report.letters > 0 {
        confirm(args, id, &report, config)?;
    }
    let start = Start::Begin {
        rate: args.rate,
        canary: args.canary,
        stop_percent: args.stop_on_failure,
        skip_failing: args.skip_failing,
        why: args.reason.clone(),
    };
    let exit = carry_out(output, id, start, config, database).await?;
    Ok(if exit == Exit::Done && !left_out.is_empty() { Exit::Partial } else { exit })
}

fn confirm(args: &Args, id: i64, report: &Report, config: &Config) -> Result<(), Failure> {
    let failing = report.foretold.get(FAILED).copied().unwrap_or_default();
    let letters = report.letters - if args.skip_failing { failing } else { 0 };
    let target = (config.database.url.shown_as_url(), config.queue.url.shown_as_url());
    let warning = if !args.skip_failing && failing * 100 > i64::from(args.stop_on_failure) * report.letters {
        format!(
            "{failing} of them would fail again, more than --stop-on-failure: --skip-failing leaves them out. "
        )
    } else {
        String::new()
    };
    let question = format!(
        "{warning}Replay {letters} of {} dead letters at {} (database {}, queue {})?",
        report.letters, args.rate, target.0, target.1
    );
    match output::confirm(&question)? {
        Some(true) => Ok(()),
        answer => {
            let text = format!(
                "plan {id} was not begun{}; hostmatch deadletters replay --plan {id} --yes begins it",
                if answer.is_none() { ": it needs a confirmation" } else { "" }
            );
            Err(Failure::new(Exit::NeedsConfirmation, text))
        }
    }
}

/// Carries a plan out, or goes on with a replay, with a bar; then says what became of it.
///
/// # Errors
/// When it cannot be begun, or database or queue cannot be reached.
pub(super) async fn carry_out(
    output: Output,
    id: i64,
    start: Start,
    config: &Config,
    database: &Database,
) -> Result<Exit, Failure> {
    let stop = shutdown::on_signals()?;
    let queue = Queue::open(&config.queue).await?;
    // Tells a broker that is away before anything is begun.
    if let Err(error) = queue.depth().await {
        queue.close().await;
        return Err(error.into());
    }
    let total = Report::of(&database.in_time(shares(database, id)).await?).letters;
    let bar = output::progress(usize::try_from(total).unwrap_or_default(), "replaying");
    let watch = |progress: Progress| {
        bar.set_position(u64::try_from(progress.ended).unwrap_or_default());
        let Progress { failed, on_the_way, .. } = progress;
        bar.set_message(if progress.still {
            format!("replaying: waiting for {on_the_way}; {}", stuck(id))
        } else if progress.all_sent {
            format!("replaying: {failed} failed again, waiting for {on_the_way}")
        } else {
            format!("replaying: {failed} failed again, {on_the_way} on the way")
        });
    };
    let runner = Runner::new(database.clone(), queue.publisher(), id, who().as_str());
    let ended = runner.run(start, &stop, watch).await;
    bar.finish_and_clear();
    queue.close().await;
    tell(output, id, &ended?, database).await
}

/// What became of a replay, and how it ended.
async fn tell(output: Output, id: i64, ended: &Ended, database: &Database) -> Result<Exit, Failure> {
    let report = Report::of(&database.in_time(shares(database, id)).await?);
    let resume = format!("go on with: hostmatch deadletters replays resume {id}");
    let (name, said, exit) = match ended {
        Ended::Done if [FAILED, REFUSED, LOST].iter().any(|result| report.became(result) > 0) => {
            ("done", "is done; some failed again or were refused".to_owned(), Exit::Partial)
        }
        Ended::Done => ("done", "is done".to_owned(), Exit::Done),
        Ended::Stopped(because) => {
            ("stopped", format!("was stopped: {because}; the rest is as it was"), Exit::Partial)
        }
        Ended::Paused => ("paused", format!("was paused; {resume}"), Exit::Partial),
        Ended::Cancelled => ("cancelled", "was cancelled; the rest is as it was".to_owned(), Exit::Partial),
        Ended::Detached => (
            "detached",
            format!("is left here; what is on the way is finished by the worker; {resume}"),
            Exit::Interrupted,
        ),
        Ended::Lost => ("lost", "is carried on by another process now".to_owned(), Exit::Partial),
    };
    match output {
        Output::Json => {
            output::json(&json!({ "replay": id, "ended": name, "said": said, "report": report }))?
        }
        Output::Table => {
            output::line(&format!("Replay {id} {said}"))?;
            told::became(&report)?;
        }
    }
    Ok(exit)
}
