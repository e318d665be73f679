//! `hostmatch match simulate`: what another threshold, or another order of strategies, would have
//! decided on the bookings that were recorded. Writes nothing and locks nothing.

mod counts;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use super::output::{self, Output};
use super::{gateway, moments};
use crate::event::{CompanyId, StaffId};
use crate::matching::{HostKey, Resolver, Simulation};
use crate::runtime::clock::now_ms;
use crate::store::{
    Database, Decided, GatewaySchema, Period, Scope, StoreError, decided, directory_of, recorded,
};
use counts::{ByStrategy, Counts, Difference, People, Tally};

/// Bookings read at once.
const PAGE: u64 = 200;

/// What another threshold or order of strategies would have decided on recorded bookings
///
/// As if it had been so from the beginning: mappings that matching made are left out, those of people
/// are in force, staff are those of today. Uses the bookings that are kept (retention.payloads).
/// Reads only, page by page, and locks nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Bookings decided from this moment on: 30d ago, or 2026-03-01, or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", default_value = "30d", value_parser = moments::moment)]
    since: i64,
    /// Bookings decided before this moment [default: now]
    #[arg(long, value_name = "TIME", value_parser = moments::moment)]
    until: Option<i64>,
    /// Only of this company
    #[arg(long, value_name = "N")]
    company: Option<i64>,
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

/// What the simulation says. `docs/commands.md` describes it.
#[derive(Serialize)]
struct Report {
    since: String,
    until: String,
    company: Option<i64>,
    auto_accept: u8,
    order: Vec<&'static str>,
    bookings: u64,
    not_kept: u64,
    recorded: Tally,
    simulated: Tally,
    more: u64,
    fewer: u64,
    another: u64,
    strategies: BTreeMap<&'static str, ByStrategy>,
    people: People,
    differences: Vec<Difference>,
}

/// Runs the command.
///
/// # Errors
/// When a strategy is not known, or the database cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let config = global.start(&[])?.config;
    let auto_accept = args.auto_accept.unwrap_or(config.matching.auto_accept);
    let usual: Vec<String> = Resolver::new(auto_accept).order().into_iter().map(str::to_owned).collect();
    let order = if args.order.is_empty() { usual } else { args.order.clone() };
    let mut simulation = Simulation::new(auto_accept, &order)
        .map_err(|why| Failure::new(Exit::Usage, format!("--order: {why}")))?;
    let period = Period { since_ms: args.since, until_ms: args.until.unwrap_or_else(now_ms) };
    let (database, schema) = gateway::open(&config).await?;
    let scope = Scope::of(args.company.map(CompanyId));
    let counted = count((&database, &schema, &scope), period, &mut simulation, args.differences).await;
    database.close().await;
    let counts = counted?;
    let report = Report {
        since: output::moment(period.since_ms),
        until: output::moment(period.until_ms),
        company: args.company,
        auto_accept,
        order: simulation.order(),
        bookings: counts.bookings,
        not_kept: counts.not_kept,
        recorded: counts.recorded,
        simulated: counts.simulated,
        more: counts.more,
        fewer: counts.fewer,
        another: counts.another,
        strategies: counts.strategies,
        people: counts.people,
        differences: counts.differences,
    };
    match global.output {
        Output::Json => output::json(&json!({ "simulation": report }))?,
        Output::Table => show(&report)?,
    }
    Ok(Exit::Done)
}

async fn count(
    (database, schema, scope): (&Database, &GatewaySchema, &Scope),
    period: Period,
    simulation: &mut Simulation,
    most: usize,
) -> Result<Counts, StoreError> {
    let db = database.connection();
    let mut counts = Counts::default();
    let mut after = (i64::MIN, i64::MIN);
    loop {
        let page = database.in_time(decided(db, scope, period, after, PAGE)).await?;
        let Some(last) = page.last() else { return Ok(counts) };
        after = (last.decided_ms, last.appointment.0);
        let events = database.in_time(recorded(db, &page)).await?;
        let hosts = |one: &Decided| {
            let host = events.get(&one.appointment)?.bookings.first()?.host.as_ref()?;
            Some((one.company, host.0.clone()))
        };
        let keys: BTreeSet<HostKey> = page
            .iter()
            .filter_map(&hosts)
            .filter_map(|(company, host)| Some(HostKey::new(company, host.id?)))
            .collect();
        let companies: BTreeSet<CompanyId> =
            page.iter().filter_map(&hosts).map(|(company, _)| company).collect();
        let directory = directory_of(db, schema, &keys, &companies, Simulation::is_given);
        let mut directory = database.in_time(directory).await?;
        for one in &page {
            let Some((company, host)) = hosts(one) else {
                counts.not_kept += u64::from(one.host.is_some() || one.found.is_some());
                continue;
            };
            let simulated = simulation.decide(&host, company, &mut directory);
            counts.add(one, &simulated, most);
        }
    }
}

fn show(report: &Report) -> Result<(), Failure> {
    let Report { bookings, not_kept, since, until, auto_accept, .. } = report;
    let order = report.order.join(", ");
    output::line(&format!(
        "{bookings} bookings decided from {since} to {until}; accepting from {auto_accept}; {order}"
    ))?;
    if *not_kept > 0 {
        output::line(&format!("Left out: {not_kept} whose booking is not kept any more"))?;
    }
    let Report { more, fewer, another, .. } = report;
    output::line(&format!("Would be matched: {more} more, {fewer} fewer, {another} with another person"))?;
    let people = &serde_json::to_value(report.people)?;
    output::line(&format!(
        "Hosts that a person mapped: {} found just so, {} otherwise, {} not at all",
        people["mappings_same"], people["mappings_differ"], people["mappings_only"]
    ))?;
    output::line(&format!(
        "Appointments that somebody else decided: {} the same, {} otherwise",
        people["appointments_same"], people["appointments_differ"]
    ))?;
    output::line("")?;
    let rows = report.strategies.iter().map(|(name, row)| {
        [(*name).to_owned(), row.matched.to_string(), row.more.to_string(), row.against_people.to_string()]
    });
    output::table(&["STRATEGY", "MATCHES", "MORE", "AGAINST PEOPLE"], rows)?;
    if !report.differences.is_empty() {
        output::line("")?;
        let dash =
            |staff: &Option<StaffId>| staff.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
        let rows = report.differences.iter().map(|one| {
            [
                one.appointment.to_string(),
                one.what.to_owned(),
                dash(&one.recorded),
                dash(&one.simulated),
                one.strategy.unwrap_or("-").to_owned(),
                dash(&one.people),
            ]
        });
        output::table(&["APPOINTMENT", "WHAT", "RECORDED", "WOULD BE", "BY", "PEOPLE"], rows)?;
    }
    Ok(())
}
