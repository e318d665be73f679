//! `hostmatch mappings`: which host is which member of staff, who said so, and saying otherwise.

use clap::Subcommand;
use serde_json::json;

use super::Desk;
use super::deciding::{Along, Manner, carry_out};
use super::mapping_rows::{self, Line};
use super::named::{self, OneHost};
use super::trail;
use crate::app::{Command as HostCommand, Decision, Refusal, Repairer};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::global::Global;
use crate::cli::mapping_files;
use crate::cli::moments::moment;
use crate::cli::output::{self, Output};
use crate::event::{CompanyId, HostId, StaffId};
use crate::store::{
    AuditFilter, Compare, MappingFilter, MappingKey, audits, change_of, find_mapping, list_mappings,
};

/// Mappings: which host is which member of staff
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(ListArgs),
    /// One mapping, with what waits for its host and who changed it
    Show(One),
    /// Who changed a mapping, from what to what, and why; newest first
    History(HistoryArgs),
    Set(SetArgs),
    /// Switch a mapping off: no match brings it back; it can be switched on again
    Deactivate(Switch),
    /// Switch a mapping on again
    Reactivate(Switch),
    /// Take one change back, as a new change
    Revert(RevertArgs),
    #[command(flatten)]
    Files(mapping_files::Command),
}

/// Mappings, newest first
#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Of this company
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    /// Of this Cal.com user
    #[arg(long, value_name = "ID", value_parser = named::host)]
    host: Option<HostId>,
    /// Of this member of staff
    #[arg(long, value_name = "ID", value_parser = named::staff)]
    staff: Option<StaffId>,
    /// With this source: manual, admin, auto_email, auto_name
    #[arg(long)]
    source: Option<String>,
    /// With such a confidence: 95, '>=80' or '<=75'
    #[arg(long, value_name = "N", value_parser = confidence)]
    confidence: Option<(Compare, i32)>,
    /// In force (true) or switched off (false)
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// In force beside another one of the same host, or of the same member of staff
    #[arg(long)]
    conflict: bool,
    /// In force for somebody who is inactive, deleted or of another company: it does not count
    #[arg(long)]
    staff_inactive: bool,
    /// No booking of the host has been decided since: 90d ago, or 2026-03-01, or 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    unused_since: Option<i64>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Only older ones than this: the last id of the page before
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
}

/// A mapping
#[derive(Debug, clap::Args)]
struct One {
    /// Its id
    mapping: i64,
    /// Only if it is this company's
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
}

#[derive(Debug, clap::Args)]
struct HistoryArgs {
    #[command(flatten)]
    one: One,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
}

/// Say who a host is
///
/// A host that is mapped to somebody else is replaced, after a question or with --yes.
#[derive(Debug, clap::Args)]
struct SetArgs {
    #[command(flatten)]
    host: OneHost,
    /// The member of staff
    #[arg(long, value_name = "ID", value_parser = named::staff)]
    staff: StaffId,
    /// The host may be one that no booking has named yet
    #[arg(long)]
    unseen: bool,
    #[command(flatten)]
    manner: Manner,
    #[command(flatten)]
    along: Along,
}

#[derive(Debug, clap::Args)]
struct Switch {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    manner: Manner,
}

#[derive(Debug, clap::Args)]
struct RevertArgs {
    /// The id of an audit row (see `mappings history`, `audit list`)
    audit: i64,
    /// Only if it is this company's
    #[arg(long, value_name = "N", value_parser = named::company)]
    company: Option<CompanyId>,
    #[command(flatten)]
    manner: Manner,
}

/// Runs the command.
///
/// # Errors
/// When it is refused, there is no such mapping, or the database cannot be reached.
pub(in crate::cli) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    if let Command::Files(command) = &args.command {
        return mapping_files::run(global, command).await;
    }
    let only_looks = matches!(args.command, Command::List(_) | Command::Show(_) | Command::History(_));
    let desk = Desk::open(global, only_looks).await?;
    let done = match &args.command {
        Command::List(args) => list(&desk, args).await,
        Command::Show(args) => show(&desk, args).await,
        Command::History(args) => history(&desk, args).await,
        Command::Set(args) => {
            let decision = Decision {
                may_be_new: args.unseen,
                ..Decision::new(args.host.company, args.host.host, HostCommand::Set(args.staff.clone()))
            };
            carry_out(&desk, decision, &args.manner, Some(&args.along)).await
        }
        Command::Deactivate(args) => switch(&desk, args, HostCommand::SwitchOff).await,
        Command::Reactivate(args) => switch(&desk, args, HostCommand::SwitchOn).await,
        Command::Revert(args) => revert(&desk, args).await,
        Command::Files(_) => Ok(Exit::Usage),
    };
    desk.database.close().await;
    done
}

async fn list(desk: &Desk, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = MappingFilter {
        company: args.company,
        host: args.host,
        staff: args.staff.clone(),
        source: args.source.clone(),
        confidence: args.confidence,
        is_active: args.active,
        in_conflict: args.conflict,
        staff_inactive: args.staff_inactive,
        unused_since_ms: args.unused_since,
        before: args.before,
    };
    // One more than wanted tells whether there are more.
    let entries = list_mappings(desk.database.connection(), &desk.schema, &filter, args.limit + 1);
    let mut entries = desk.database.in_time(entries).await?;
    let more = entries.len() as u64 > args.limit;
    entries.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    let next = entries.last().map(|entry| entry.row.id).filter(|_| more);
    let lines: Vec<Line> = entries.iter().map(Line::from).collect();
    match desk.output {
        Output::Json => output::json(&json!({ "mappings": lines, "next_before": next }))?,
        Output::Table if lines.is_empty() => output::line("No mappings.")?,
        Output::Table => {
            mapping_rows::table(&lines)?;
            if let Some(next) = next {
                output::line(&format!("There are older ones: --before {next}"))?;
            }
        }
    }
    Ok(Exit::Done)
}

async fn found(desk: &Desk, one: &One) -> Result<MappingKey, Failure> {
    let found = find_mapping(desk.database.connection(), &desk.schema, one.mapping, one.company);
    desk.database.in_time(found).await?.ok_or_else(|| match one.company {
        Some(company) => Refusal::NoMapping(company, one.mapping).into(),
        None => Failure::new(Exit::NotFound, format!("there is no mapping {}", one.mapping)),
    })
}

async fn trail_of(desk: &Desk, mapping: i64, limit: u64) -> Result<Vec<trail::Line>, Failure> {
    let filter = AuditFilter { mapping: Some(mapping), ..AuditFilter::default() };
    let rows = audits(desk.database.connection(), &desk.schema, &filter, limit);
    Ok(desk.database.in_time(rows).await?.into_iter().map(trail::Line::from).collect())
}

async fn show(desk: &Desk, args: &One) -> Result<Exit, Failure> {
    let MappingKey { key, .. } = found(desk, args).await?;
    let filter = MappingFilter {
        before: args.mapping.checked_add(1),
        host: Some(key.host),
        ..MappingFilter::default()
    };
    let entry = list_mappings(desk.database.connection(), &desk.schema, &filter, 1);
    let entry = desk.database.in_time(entry).await?;
    let line = entry.first().map(Line::from);
    let Some(line) = line else {
        return Err(Failure::new(Exit::NotFound, format!("there is no mapping {}", args.mapping)));
    };
    let waiting =
        desk.database.in_time(Repairer::new(&desk.database, &desk.schema).offer(key)).await?.counts();
    let history = trail_of(desk, args.mapping, 20).await?;
    match desk.output {
        Output::Json => output::json(&json!({ "mapping": line, "waiting": waiting, "history": history }))?,
        Output::Table => {
            output::line(&line.title())?;
            output::table(&[], line.lines())?;
            if let Some(told) = super::told::waiting(waiting) {
                output::line(&format!("{told} for this host"))?;
            }
            trail::table(&history)?;
        }
    }
    Ok(Exit::Done)
}

async fn history(desk: &Desk, args: &HistoryArgs) -> Result<Exit, Failure> {
    found(desk, &args.one).await?;
    let history = trail_of(desk, args.one.mapping, args.limit).await?;
    match desk.output {
        Output::Json => output::json(&json!({ "history": history }))?,
        Output::Table if history.is_empty() => {
            output::line("No audit row: the mapping was made by somebody else.")?;
        }
        Output::Table => trail::table(&history)?,
    }
    Ok(Exit::Done)
}

async fn switch(
    desk: &Desk,
    args: &Switch,
    command: impl FnOnce(i64) -> HostCommand,
) -> Result<Exit, Failure> {
    let MappingKey { key, .. } = found(desk, &args.one).await?;
    let decision = Decision::new(key.company, key.host, command(args.one.mapping));
    carry_out(desk, decision, &args.manner, None).await
}

async fn revert(desk: &Desk, args: &RevertArgs) -> Result<Exit, Failure> {
    let change = change_of(desk.database.connection(), &desk.schema, args.audit, args.company);
    let change = desk.database.in_time(change).await?.ok_or_else(|| {
        let of = args.company.map(|company| format!(" of company {company}")).unwrap_or_default();
        Failure::new(
            Exit::NotFound,
            format!("there is no change {}{of} (hostmatch audit list shows them)", args.audit),
        )
    })?;
    let mut manner = args.manner.clone();
    let why = manner.reason.map(|why| format!(": {why}")).unwrap_or_default();
    manner.reason = Some(format!("reverts audit {}{why}", args.audit));
    let decision = Decision::new(change.key.company, change.key.host, HostCommand::Revert(change));
    carry_out(desk, decision, &manner, None).await
}

fn confidence(text: &str) -> Result<(Compare, i32), String> {
    let (compare, number) = match (text.strip_prefix(">="), text.strip_prefix("<=")) {
        (Some(number), _) => (Compare::AtLeast, number),
        (_, Some(number)) => (Compare::AtMost, number),
        _ => (Compare::Exactly, text),
    };
    let number = number.trim().parse().ok().filter(|score| (0..=100).contains(score));
    number.map(|score| (compare, score)).ok_or_else(|| "write 95, '>=80' or '<=75'".to_owned())
}
