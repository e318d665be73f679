//! `hostmatch repair`: the appointments that waited for a host that is known by now.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Desk;
use super::named::{self, OneHost};
use super::repairing::{self, Told};
use super::told::{Names, waiting};
use crate::app::{RepairError, Repairer};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::global::Global;
use crate::cli::operator::Acting;
use crate::cli::output::{self, Output};
use crate::event::{CompanyId, HostId};
use crate::matching::HostKey;
use crate::store::{
    RepairFilter, RepairItem, RepairRow, RepairScope, Waiting, repair, repair_items, repairs,
};

/// Repair: what waited for a host gets its member of staff
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Which appointments would be assigned, future and past apart; changes nothing
    Preview(OneHost),
    Apply(ApplyArgs),
    Undo(UndoArgs),
    List(ListArgs),
    Show(ShowArgs),
}

/// Which appointments
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Scope {
    /// Those that have not begun
    Future,
    /// All that wait
    All,
}

/// Assign the appointments that wait for a host, or go on with a repair that was interrupted
#[derive(Debug, clap::Args)]
struct ApplyArgs {
    /// The repair to go on with
    #[arg(conflicts_with_all = ["host", "scope"], required_unless_present = "host")]
    repair: Option<i64>,
    /// The company of the host; with a repair: only if it is this company's
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    /// The id of the Cal.com user
    #[arg(long, value_name = "ID", value_parser = named::host, requires = "company")]
    host: Option<HostId>,
    /// Which of them
    #[arg(long, value_enum, default_value = "future")]
    scope: Scope,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    acting: Acting,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Give the appointments of a repair back that nobody else has touched since
#[derive(Debug, clap::Args)]
struct UndoArgs {
    /// The repair
    repair: i64,
    /// Only if it is this company's
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    acting: Acting,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Repairs, newest first
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this company
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    /// Of this Cal.com user
    #[arg(long, value_name = "ID", value_parser = named::host)]
    host: Option<HostId>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Only older ones than this
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
}

/// One repair, with its appointments
#[derive(Debug, clap::Args)]
struct ShowArgs {
    /// The repair
    repair: i64,
    /// Only if it is this company's
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    /// At most so many appointments
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Only appointments behind this one
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
}

/// Runs the command.
///
/// # Errors
/// When it is refused, there is no such repair, or the database cannot be reached.
pub(in crate::cli) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let only_looks = matches!(args.command, Command::Preview(_) | Command::List(_) | Command::Show(_));
    let desk = Desk::open(global, only_looks).await?;
    let done = match &args.command {
        Command::Preview(args) => preview(&desk, *args).await,
        Command::Apply(args) => apply(&desk, args).await,
        Command::Undo(args) => undo(&desk, args).await,
        Command::List(args) => list(&desk, args).await,
        Command::Show(args) => show(&desk, args).await,
    };
    desk.database.close().await;
    done
}

async fn preview(desk: &Desk, host: OneHost) -> Result<Exit, Failure> {
    let repairer = Repairer::new(&desk.database, &desk.schema);
    let offer = desk.database.in_time(repairer.offer(host.key())).await?;
    let names = Names::of(desk, offer.staff.clone()).await?;
    if desk.output == Output::Json {
        let all = |waiting: &[Waiting]| waiting.iter().map(one).collect::<Vec<_>>();
        output::json(&json!({
            "company": host.company, "host": host.host, "staff": offer.staff,
            "staff_name": offer.staff.as_ref().and_then(|staff| names.name(staff)),
            "future": all(&offer.future), "past": all(&offer.past), "unknown": all(&offer.unknown),
        }))?;
        return Ok(Exit::Done);
    }
    let who = offer.staff.as_ref().map_or_else(|| "nobody yet".to_owned(), |staff| names.told(staff));
    let told = waiting(offer.counts()).unwrap_or_else(|| "no appointment waits".to_owned());
    output::line(&format!("Host {} of company {} is {who}; {told}", host.host, host.company))?;
    for (what, some) in [("future", &offer.future), ("past", &offer.past), ("start unknown", &offer.unknown)]
    {
        let rows = some.iter().map(|one| {
            let starts = one.starts_ms.map(output::moment);
            [
                format!("  {what}"),
                format!("appointment {}", one.appointment),
                super::told::dash(starts),
                super::told::dash(one.booking.as_deref()),
            ]
        });
        if !some.is_empty() {
            output::table(&[], rows)?;
        }
    }
    if offer.staff.is_some() && offer.counts() != crate::app::Counts::default() {
        let scope = if offer.future.is_empty() { "all" } else { "future (or all)" };
        output::line(&format!(
            "Assign them with: hostmatch repair apply --company {} --host {} --scope {scope}",
            host.company, host.host
        ))?;
    }
    Ok(Exit::Done)
}

fn one(waiting: &Waiting) -> Value {
    json!({
        "appointment": waiting.appointment, "starts": waiting.starts_ms.map(output::moment),
        "booking": waiting.booking,
    })
}

async fn apply(desk: &Desk, args: &ApplyArgs) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    if let Some(id) = args.repair {
        found(desk, id, args.company).await?;
        return told(desk, Some(repairing::apply(desk, id).await?));
    }
    let (Some(company), Some(host)) = (args.company, args.host) else {
        return Err(Failure::new(Exit::Usage, "give the number of a repair, or --company N --host ID"));
    };
    let key = HostKey::new(company, host);
    let repairer = Repairer::new(&desk.database, &desk.schema);
    let offer = desk.database.in_time(repairer.offer(key)).await?;
    let Some(staff) = &offer.staff else { return Err(RepairError::NotMapped(host).into()) };
    let counts = offer.counts();
    let (scope, chosen) = match args.scope {
        Scope::Future => (RepairScope::Future, counts.future),
        Scope::All => (RepairScope::All, counts.future + counts.past + counts.unknown),
    };
    if chosen == 0 {
        return told(desk, None);
    }
    let names = Names::of(desk, [staff.clone()]).await?;
    let question = format!("assign {chosen} appointments ({}) to {}?", scope, names.told(staff));
    confirmed(args.yes, &question, "assigned")?;
    match repairer.begin(key, scope, &author, args.reason.as_deref()).await? {
        None => told(desk, None),
        Some(id) => told(desk, Some(repairing::apply(desk, id).await?)),
    }
}

async fn undo(desk: &Desk, args: &UndoArgs) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    let row = found(desk, args.repair, args.company).await?;
    let question = format!("give up to {} appointments of repair {} back?", row.total, row.id);
    confirmed(args.yes, &question, "given back")?;
    told(desk, Some(repairing::undo(desk, args.repair, &author, args.reason.as_deref()).await?))
}

fn confirmed(yes: bool, question: &str, done: &str) -> Result<(), Failure> {
    if yes || output::confirm(question)? == Some(true) {
        return Ok(());
    }
    let text = format!("nothing was {done}: it needs a confirmation, on a terminal or with --yes");
    Err(Failure::new(Exit::NeedsConfirmation, text))
}

fn told(desk: &Desk, repair: Option<Told>) -> Result<Exit, Failure> {
    match (desk.output, &repair) {
        (Output::Json, repair) => output::json(&json!({ "repair": repair }))?,
        (Output::Table, None) => output::line("No appointment waits for this.")?,
        (Output::Table, Some(repair)) => repair.lines().iter().try_for_each(|line| output::line(line))?,
    }
    Ok(repair.map_or(Exit::Done, |repair| repair.exit()))
}

async fn found(desk: &Desk, id: i64, company: Option<CompanyId>) -> Result<RepairRow, Failure> {
    let found = desk.database.in_time(repair(desk.database.connection(), id, company)).await?;
    found.ok_or_else(|| match company {
        Some(company) => Failure::new(Exit::NotFound, format!("company {company} has no repair {id}")),
        None => RepairError::Unknown(id).into(),
    })
}

async fn list(desk: &Desk, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = RepairFilter { company: args.company, host: args.host, before: args.before };
    // One more than wanted tells whether there are more.
    let rows = repairs(desk.database.connection(), &filter, args.limit + 1);
    let mut rows = desk.database.in_time(rows).await?;
    let more = rows.len() as u64 > args.limit;
    rows.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    let next = rows.last().map(|row| row.id).filter(|_| more);
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        all.push(Told::of(desk, row).await?);
    }
    match desk.output {
        Output::Json => output::json(&json!({ "repairs": all, "next_before": next }))?,
        Output::Table if all.is_empty() => output::line("No repairs.")?,
        Output::Table => all.iter().flat_map(Told::lines).try_for_each(|line| output::line(&line))?,
    }
    Ok(Exit::Done)
}

async fn show(desk: &Desk, args: &ShowArgs) -> Result<Exit, Failure> {
    let row = found(desk, args.repair, args.company).await?;
    let items = repair_items(desk.database.connection(), args.repair, None, args.after, args.limit);
    let items = desk.database.in_time(items).await?;
    let repair = Told::of(desk, row).await?;
    if desk.output == Output::Json {
        let items: Vec<Value> = items.iter().map(item).collect();
        output::json(&json!({ "repair": repair, "items": items }))?;
        return Ok(Exit::Done);
    }
    repair.lines().iter().try_for_each(|line| output::line(line))?;
    let rows = items.iter().map(|item| {
        [
            format!("  appointment {}", item.appointment),
            super::told::dash(item.starts_ms.map(output::moment)),
            item.state.to_string(),
            super::told::dash(item.reason.as_deref()),
        ]
    });
    output::table(&[], rows)?;
    Ok(Exit::Done)
}

fn item(item: &RepairItem) -> Value {
    json!({
        "appointment": item.appointment, "starts": item.starts_ms.map(output::moment), "state": item.state,
        "reason": item.reason,
    })
}
