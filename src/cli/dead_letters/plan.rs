//! `deadletters plan`: freeze a set of dead letters, and say what replaying them would do.

use serde_json::json;

use super::filter::Choosing;
use super::told;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::operator::who;
use crate::cli::output::{self, Output};
use crate::config::Config;
use crate::decide::Processor;
use crate::replay::{Frozen, Report, plan};
use crate::store::{Database, DeadLetterFilter, GatewaySchema, replay, shares};

/// Freeze a set of open dead letters, and say what would become of each; changes nothing else
///
/// The same decisions are made as by a worker, in transactions that only read. `replay --plan`
/// carries it out; letters that arrive later are not in it.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) which: Choosing,
}

/// Runs the command.
///
/// # Errors
/// When nothing was chosen, or the database cannot be reached.
pub(super) async fn run(
    output: Output,
    args: &Args,
    config: &Config,
    (database, schema): (&Database, GatewaySchema),
) -> Result<Exit, Failure> {
    let frozen = freeze(&args.which.chosen()?, config, (database, schema)).await?;
    let Some(id) = frozen.replay else {
        return nothing(output, &frozen);
    };
    let report = Report::of(&database.in_time(shares(database, id)).await?);
    let row = database.in_time(replay(database, id)).await?;
    let expires = row.map(|row| output::moment(row.expires_ms));
    match output {
        Output::Json => output::json(&json!({
            "plan": id, "expires": expires, "left_out": left_out(&frozen), "report": report,
        }))?,
        Output::Table => {
            output::line(&format!(
                "Plan {id}: {} dead letters, frozen; nothing else was changed",
                frozen.letters
            ))?;
            told::foretold(&report)?;
            told::left_out(&frozen.left_out)?;
            output::line(&format!(
                "Begin it until {}: hostmatch deadletters replay --plan {id}",
                expires.unwrap_or_default()
            ))?;
        }
    }
    Ok(if frozen.left_out.is_empty() { Exit::Done } else { Exit::Partial })
}

/// Makes the plan, with a bar.
///
/// # Errors
/// When the database cannot be reached.
pub(super) async fn freeze(
    filter: &DeadLetterFilter,
    config: &Config,
    (database, schema): (&Database, GatewaySchema),
) -> Result<Frozen, Failure> {
    let processor = Processor::new(database.clone(), schema, config);
    let bar = output::progress(0, "planning");
    let watch = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let frozen = plan(database, &processor, filter, who().as_str(), config.replay.plan_valid, watch).await;
    bar.finish_and_clear();
    Ok(frozen?)
}

/// Says that there was nothing to plan.
///
/// # Errors
/// When stdout cannot be written.
pub(super) fn nothing(output: Output, frozen: &Frozen) -> Result<Exit, Failure> {
    match output {
        Output::Json => output::json(&json!({ "plan": null, "left_out": left_out(frozen), "report": null }))?,
        Output::Table => {
            told::left_out(&frozen.left_out)?;
            output::line("No open dead letter is chosen by this: there is nothing to plan.")?;
        }
    }
    Ok(Exit::NotFound)
}

pub(super) fn left_out(frozen: &Frozen) -> Vec<serde_json::Value> {
    frozen.left_out.iter().map(|(id, why)| json!({ "id": id, "why": why })).collect()
}
