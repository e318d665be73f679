//! `hostmatch match simulate`: what another threshold, or another order of strategies, would have
//! decided on the bookings that were recorded. Writes nothing and locks nothing.

use serde_json::json;

use super::{Exit, Failure, Global, arguments::DecidedArgs, output, output::dash};
use crate::app::simulate::{Counts, Question, SimulationView, simulate};
use crate::app::{AppContext, AppError};

/// What another threshold or order of strategies would have decided on recorded bookings
///
/// As if it had been so from the beginning: mappings that matching made are left out, those of people
/// are in force, staff are those of today. Uses the bookings that are kept (retention.payloads).
/// Reads only, page by page, and locks nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    of: DecidedArgs,
    /// A new match is taken from this confidence on [default: matching.auto_accept]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    auto_accept: Option<u8>,
    /// These strategies alone, asked in this order, such as manual,existing,name,email [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    order: Vec<String>,
    /// List up to so many bookings that would have been decided otherwise
    #[arg(long, value_name = "N", default_value_t = 20)]
    differences: usize,
}

/// Runs the command; fails when a strategy is not known, or the database cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let question = Question {
        since_ms: args.of.since,
        until_ms: args.of.until,
        auto_accept: args.auto_accept,
        order: args.order.clone(),
        max_differences: args.differences,
    };
    let work = async |context: &AppContext| {
        simulate(context, &question).await.map_err(|error| match error {
            AppError::Invalid(why) => Failure::new(Exit::Usage, format!("--order: {why}")),
            error => error.into(),
        })
    };
    let view = global.with_context(None, args.of.company, work).await?;
    global.output.show(&json!({ "simulation": view }), || show(&view))
}

fn show(view: &SimulationView) -> Result<(), Failure> {
    let SimulationView { since, until, auto_accept, order, counts, .. } = view;
    let Counts { bookings, not_kept, more, fewer, another, .. } = counts;
    let order = order.join(", ");
    output::line(&format!(
        "{bookings} bookings decided from {since} to {until}; accepting from {auto_accept}; {order}"
    ))?;
    if *not_kept > 0 {
        output::line(&format!("Left out: {not_kept} whose booking is not kept any more"))?;
    }
    output::line(&format!("Would be matched: {more} more, {fewer} fewer, {another} with another person"))?;
    let people = &serde_json::to_value(counts.people)?;
    output::line(&format!(
        "Hosts that a person mapped: {} found just so, {} otherwise, {} not at all",
        people["mappings_same"], people["mappings_differ"], people["mappings_only"]
    ))?;
    output::line(&format!(
        "Appointments that somebody else decided: {} the same, {} otherwise",
        people["appointments_same"], people["appointments_differ"]
    ))?;
    output::line("")?;
    let rows = counts.strategies.iter().map(|(name, row)| {
        [name.clone(), row.matched.to_string(), row.more.to_string(), row.against_people.to_string()]
    });
    output::table(&["STRATEGY", "MATCHES", "MORE", "AGAINST PEOPLE"], rows)?;
    if !counts.differences.is_empty() {
        output::line("")?;
        let rows = counts.differences.iter().map(|one| {
            [
                one.appointment.to_string(),
                one.what.to_owned(),
                dash(one.recorded.as_ref()),
                dash(one.simulated.as_ref()),
                dash(one.strategy.as_deref()),
                dash(one.people.as_ref()),
            ]
        });
        output::table(&["APPOINTMENT", "WHAT", "RECORDED", "WOULD BE", "BY", "PEOPLE"], rows)?;
    }
    Ok(())
}
