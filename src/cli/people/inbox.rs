//! `hostmatch inbox`: hosts that need a person, and what a person does with them.

use clap::Subcommand;
use serde_json::json;
use strum::VariantArray as _;

use super::Desk;
use super::deciding::{Along, Manner, carry_out};
use super::inbox_rows::{self, Line};
use super::named::{self, OneHost};
use super::told::Names;
use super::{mapping_rows, trail};
use crate::app::{self, Command as HostCommand, Decision, Repairer};
use crate::cli::choices::one_of;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::global::Global;
use crate::cli::moments::coming;
use crate::cli::operator::Acting;
use crate::cli::output::{self, Output};
use crate::event::{CompanyId, HostId, StaffId};
use crate::matching::{HostKey, InboxState};
use crate::runtime::clock::now_ms;
use crate::store::{
    AuditFilter, HostAct, InboxFilter, InboxKind, MappingFilter, audits, host_acts, inbox_entries,
    last_host_acts, list_mappings,
};
use clap::builder::PossibleValuesParser;

/// The states, and all of them.
fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(InboxState::VARIANTS.iter().copied().map(InboxState::as_str).chain(["any"]))
}

/// The inbox: hosts that need a person
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(ListArgs),
    /// One host: what is the matter, who is suggested and why, what waits, what was done with it
    Show(OneHost),
    Accept(AcceptArgs),
    Assign(AssignArgs),
    Ignore(IgnoreArgs),
    Reopen(ReopenArgs),
}

/// Hosts that need a person, those with the soonest booking first
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this company
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    /// This Cal.com user
    #[arg(long, value_name = "ID", value_parser = named::host)]
    host: Option<HostId>,
    /// With this the matter
    #[arg(long, value_name = "KIND", value_parser = one_of::<InboxKind>())]
    kind: Option<InboxKind>,
    /// In this state
    #[arg(long, value_name = "STATE", default_value = "open", value_parser = states())]
    state: String,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Without the first so many
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
}

/// Take the suggestion: the host is that member of staff from now on
#[derive(Debug, clap::Args)]
struct AcceptArgs {
    #[command(flatten)]
    host: OneHost,
    /// Which suggestion, where there are several
    #[arg(long, value_name = "ID", value_parser = named::staff)]
    staff: Option<StaffId>,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    along: Along,
}

/// Say who the host is, suggested or not
#[derive(Debug, clap::Args)]
struct AssignArgs {
    #[command(flatten)]
    host: OneHost,
    /// The member of staff
    #[arg(long, value_name = "ID", value_parser = named::staff)]
    staff: StaffId,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    along: Along,
}

/// Nobody has to look at this host, until a day or until it is reopened
#[derive(Debug, clap::Args)]
struct IgnoreArgs {
    #[command(flatten)]
    host: OneHost,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Until then, when it is open again: 14d, or 2026-03-01, or 2026-03-01T08:00:00Z [default: until it is reopened]
    #[arg(long, value_name = "TIME", value_parser = coming)]
    until: Option<i64>,
    #[command(flatten)]
    acting: Acting,
}

/// Open an ignored host again
#[derive(Debug, clap::Args)]
struct ReopenArgs {
    #[command(flatten)]
    host: OneHost,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    acting: Acting,
}

/// Runs the command.
///
/// # Errors
/// When it is refused, there is no such host, or the database cannot be reached.
pub(in crate::cli) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let desk = Desk::open(global, matches!(args.command, Command::List(_) | Command::Show(_))).await?;
    let done = match &args.command {
        Command::List(args) => list(&desk, args).await,
        Command::Show(args) => show(&desk, args.key()).await,
        Command::Accept(args) => accept(&desk, args).await,
        Command::Assign(args) => assign(&desk, args).await,
        Command::Ignore(args) => ignore(&desk, args).await,
        Command::Reopen(args) => reopen(&desk, args).await,
    };
    desk.database.close().await;
    done
}

async fn list(desk: &Desk, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = InboxFilter {
        company: args.company,
        host: args.host,
        state: args.state.parse().ok(),
        kind: args.kind,
    };
    let db = desk.database.connection();
    // One more than wanted tells whether there are more.
    let entries = inbox_entries(db, &filter, now_ms(), args.skip, args.limit + 1);
    let mut entries = desk.database.in_time(entries).await?;
    let more = entries.len() as u64 > args.limit;
    entries.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    let names = Names::of(desk, entries.iter().flat_map(Line::suggested)).await?;
    let keys = entries.iter().map(|entry| entry.row.key).collect();
    let last = desk.database.in_time(last_host_acts(db, &keys)).await?;
    let lines: Vec<Line> =
        entries.iter().map(|entry| Line::of(entry, last.get(&entry.row.key), &names)).collect();
    let next = more.then(|| args.skip + args.limit);
    match desk.output {
        Output::Json => output::json(&json!({ "hosts": lines, "next_skip": next }))?,
        Output::Table if lines.is_empty() => output::line("Nobody needs to decide anything here.")?,
        Output::Table => {
            inbox_rows::table(&lines)?;
            if let Some(next) = next {
                output::line(&format!("There are more: --skip {next}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn show(desk: &Desk, key: HostKey) -> Result<Exit, Failure> {
    let entry = app::inbox_entry(&desk.database, key).await?;
    let db = desk.database.connection();
    let names = Names::of(desk, Line::suggested(&entry)).await?;
    let acts = desk.database.in_time(host_acts(db, key)).await?;
    let line = Line::of(&entry, acts.last(), &names);
    let offer = desk.database.in_time(Repairer::new(&desk.database, &desk.schema).offer(key)).await?;
    let filter =
        MappingFilter { company: Some(key.company), host: Some(key.host), ..MappingFilter::default() };
    let mappings = desk.database.in_time(list_mappings(db, &desk.schema, &filter, 50)).await?;
    let mappings: Vec<mapping_rows::Line> = mappings.iter().map(mapping_rows::Line::from).collect();
    let filter = AuditFilter { company: Some(key.company), host: Some(key.host), ..AuditFilter::default() };
    let history = desk.database.in_time(audits(db, &desk.schema, &filter, 20)).await?;
    let history: Vec<trail::Line> = history.into_iter().map(trail::Line::from).collect();
    let next = line.next();
    if desk.output == Output::Json {
        let acts: Vec<_> = acts.iter().map(act).collect();
        output::json(&json!({
            "host": line, "waiting": offer.counts(), "mappings": mappings, "history": history, "acts": acts,
            "next": next,
        }))?;
        return Ok(Exit::Done);
    }
    output::line(&line.title())?;
    output::table(&[], line.lines())?;
    if let Some(told) = super::told::waiting(offer.counts()) {
        output::line(&told)?;
    }
    if !mappings.is_empty() {
        mapping_rows::table(&mappings)?;
    }
    if !history.is_empty() {
        trail::table(&history)?;
    }
    for HostAct { action, act, .. } in &acts {
        let why = act.why.as_deref().unwrap_or("-");
        output::line(&format!("{}  {action} by {}: {why}", output::moment(act.at_ms), act.made_by))?;
    }
    if let Some(next) = next {
        output::line(&format!("What to do: {next}"))?;
    }
    Ok(Exit::Done)
}

fn act(HostAct { action, act, .. }: &HostAct) -> serde_json::Value {
    json!({
        "at": output::moment(act.at_ms), "action": action, "by": act.made_by, "why": act.why,
        "until": act.until_ms.map(output::moment),
    })
}

async fn accept(desk: &Desk, args: &AcceptArgs) -> Result<Exit, Failure> {
    let entry = app::inbox_entry(&desk.database, args.host.key()).await?;
    let chosen = app::accepted(&entry, args.staff.as_ref())?;
    let mut manner = args.manner.clone();
    manner
        .reason
        .get_or_insert_with(|| format!("suggestion accepted: {} ({})", chosen.strategy, chosen.confidence.0));
    let decision = Decision::new(args.host.company, args.host.host, HostCommand::Set(chosen.staff.clone()));
    carry_out(desk, decision, &manner, Some(&args.along)).await
}

async fn assign(desk: &Desk, args: &AssignArgs) -> Result<Exit, Failure> {
    // Of a host that is not in the inbox, `mappings set` decides.
    app::inbox_entry(&desk.database, args.host.key()).await?;
    let decision = Decision::new(args.host.company, args.host.host, HostCommand::Set(args.staff.clone()));
    carry_out(desk, decision, &args.manner, Some(&args.along)).await
}

async fn ignore(desk: &Desk, args: &IgnoreArgs) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    let key = args.host.key();
    app::ignore(&desk.database, &desk.schema, key, &author, (&args.reason, args.until)).await?;
    let until = args.until.map(output::moment);
    match desk.output {
        Output::Json => output::json(&json!({
            "did": "ignored", "company": key.company, "host": key.host, "until": until, "reason": args.reason,
        }))?,
        Output::Table => {
            let until = until.unwrap_or_else(|| "it is reopened".to_owned());
            output::line(&format!("Host {} is ignored until {until}.", key.host))?;
        }
    }
    Ok(Exit::Done)
}

async fn reopen(desk: &Desk, args: &ReopenArgs) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    let key = args.host.key();
    let why = args.reason.as_deref();
    let is_new = app::reopen(&desk.database, &desk.schema, key, &author, why).await?;
    let did = if is_new { "reopened" } else { "unchanged" };
    match desk.output {
        Output::Json => output::json(&json!({ "did": did, "company": key.company, "host": key.host }))?,
        Output::Table if is_new => output::line(&format!("Host {} is open again.", key.host))?,
        Output::Table => output::line(&format!("Nothing to do: host {} is open already.", key.host))?,
    }
    Ok(Exit::Done)
}
