//! `hostmatch match simulate`: simulates another threshold or order of strategies on recorded bookings.
//! Writes nothing and locks nothing.

use serde_json::json;

use super::{Exit, Failure, Global, arguments::PeriodArgs, output, output::dash};
use crate::app::simulate::{Counts, SimulationInput, SimulationView, simulate};
use crate::app::{AppContext, AppError, pluralize};

/// Simulate another threshold or order of strategies on recorded bookings
///
/// Decides as if these settings had always been in force: uses people's mappings and today's staff, but no
/// mapping that matching created. Uses the bookings that are kept (retention.payloads).
/// Reads only, page by page, and locks nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    period: PeriodArgs,
    /// Accept a new match with at least this confidence [default: matching.auto_accept]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=100))]
    auto_accept: Option<u8>,
    /// Use only these strategies, in this order, such as manual,existing,name,email [default: all]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    order: Vec<String>,
    /// List at most this many bookings that would have been decided differently
    #[arg(long, value_name = "N", default_value_t = 20)]
    differences: usize,
}

/// Runs the command; fails when a strategy is unknown, or the database cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let input = SimulationInput {
        since_ms: args.period.since,
        until_ms: args.period.until,
        auto_accept: args.auto_accept,
        order: args.order.clone(),
        max_differences: args.differences,
    };
    let work = async |context: &AppContext| {
        simulate(context, &input).await.map_err(|error| match error {
            AppError::Invalid(why) => Failure::new(Exit::Usage, format!("--order: {why}")),
            error => error.into(),
        })
    };
    let view = global.with_context(None, args.period.company, work).await?;
    global.output.show(&json!({ "simulation": view }), || show(&view))
}

fn show(view: &SimulationView) -> Result<(), Failure> {
    let SimulationView { since, until, auto_accept, order, counts, .. } = view;
    let Counts { bookings, not_kept, more, fewer, another, .. } = counts;
    let order = order.join(", ");
    let decided = pluralize(*bookings, "booking", "bookings");
    output::print_line(&format!(
        "{decided} decided from {since} to {until}; accepting from {auto_accept}; {order}"
    ))?;
    if *not_kept > 0 {
        output::print_line(&format!("Left out: {not_kept}, because their booking is no longer kept"))?;
    }
    output::print_line(&format!(
        "Would be matched: {more} more, {fewer} fewer, {another} with another person"
    ))?;
    let people = &serde_json::to_value(counts.people)?;
    output::print_line(&format!(
        "Hosts that a person mapped: {} matched the same, {} differently, {} not at all",
        people["mappings_same"], people["mappings_differ"], people["mappings_only"]
    ))?;
    output::print_line(&format!(
        "Appointments that somebody else decided: {} the same, {} differently",
        people["appointments_same"], people["appointments_differ"]
    ))?;
    output::print_line("")?;
    let rows = counts.strategies.iter().map(|(name, row)| {
        [name.clone(), row.matched.to_string(), row.more.to_string(), row.against_people.to_string()]
    });
    output::table(&["STRATEGY", "MATCHES", "MORE", "AGAINST PEOPLE"], rows)?;
    if !counts.differences.is_empty() {
        output::print_line("")?;
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
