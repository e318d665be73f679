//! `hostmatch mappings`: which host is which member of staff, who said so, and saying otherwise.

use clap::Subcommand;

use super::{
    Exit, Failure, Global, Output, audit, decision::CommonArgs, decision::RepairArgs, decision::carry_out,
    decision::waiting, ids, ids::OfCompany, ids::OneHost, ids::OnlyOf, ids::PageArgs, mapping_files,
    moments::moment, operator::Acting, operator::with_context, output, output::dash,
};
use crate::app::mappings::{self, MappingView};
use crate::app::{AppContext, Command as Wanted, Compare, Decision, MappingFilter};
use crate::event::{CompanyId, HostId, StaffId};
use crate::runtime::clock::rfc3339;

/// Mappings: which host is which member of staff
#[derive(Debug, clap::Args)]
pub(super) struct Args {
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
    #[command(flatten)]
    of: OfCompany,
    /// Of this Cal.com user
    #[arg(long, value_name = "ID", value_parser = ids::host)]
    host: Option<HostId>,
    /// Of this member of staff
    #[arg(long, value_name = "ID", value_parser = ids::staff)]
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
    #[command(flatten)]
    page: PageArgs,
}

/// A mapping
#[derive(Debug, clap::Args)]
struct One {
    /// Its id
    mapping: i64,
    #[command(flatten)]
    only: OnlyOf,
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
    #[arg(long, value_name = "ID", value_parser = ids::staff)]
    staff: StaffId,
    /// The host may be one that no booking has named yet
    #[arg(long)]
    unseen: bool,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    repair: RepairArgs,
}

#[derive(Debug, clap::Args)]
struct Switch {
    #[command(flatten)]
    one: One,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
struct RevertArgs {
    /// The id of an audit row (see `mappings history`, `audit list`)
    audit: i64,
    #[command(flatten)]
    only: OnlyOf,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command; fails when it is refused, there is no such mapping, or the database cannot be reached.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    if let Command::Files(command) = &args.command {
        return Box::pin(mapping_files::run(global, command)).await;
    }
    let (acting, company) = args.command.for_whom();
    let work = async |context: &AppContext| run_in(context, global.output, &args.command).await;
    with_context(global, acting, company, work).await
}

impl Command {
    /// Who acts, of those that write; and the company that is asked for.
    fn for_whom(&self) -> (Option<&Acting>, Option<CompanyId>) {
        match self {
            Self::List(args) => (None, args.of.company),
            Self::Show(args) => (None, args.only.company),
            Self::History(args) => (None, args.one.only.company),
            Self::Set(args) => (Some(&args.common.acting), Some(args.host.company)),
            Self::Deactivate(args) | Self::Reactivate(args) => {
                (Some(&args.common.acting), args.one.only.company)
            }
            Self::Revert(args) => (Some(&args.common.acting), args.only.company),
            Self::Files(_) => (None, None),
        }
    }
}

async fn run_in(context: &AppContext, output: Output, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::List(args) => list(context, output, args).await,
        Command::Show(args) => show(context, output, args.mapping).await,
        Command::History(args) => history(context, output, args).await,
        Command::Set(args) => {
            let OneHost { company, host } = args.host;
            let decision = Decision {
                may_be_new: args.unseen,
                ..Decision::new(company, host, Wanted::Set(args.staff.clone()))
            };
            carry_out(context, output, args.common.give_reason(decision), &args.common, Some(&args.repair))
                .await
        }
        Command::Deactivate(args) => switch(context, output, args, Wanted::SwitchOff).await,
        Command::Reactivate(args) => switch(context, output, args, Wanted::SwitchOn).await,
        Command::Revert(args) => {
            let reason = args.common.reason.as_deref();
            let decision = mappings::reverting(context, args.audit, reason).await?;
            carry_out(context, output, decision, &args.common, None).await
        }
        Command::Files(_) => Ok(Exit::Usage),
    }
}

async fn list(context: &AppContext, output: Output, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = MappingFilter {
        id: None,
        host: args.host,
        staff: args.staff.clone(),
        source: args.source.clone(),
        confidence: args.confidence,
        is_active: args.active,
        in_conflict: args.conflict,
        staff_inactive: args.staff_inactive,
        unused_since_ms: args.unused_since,
        before: args.page.before,
    };
    let page = mappings::list(context, &filter, args.page.limit).await?;
    match output {
        Output::Json => output::json(&page)?,
        Output::Table if page.mappings.is_empty() => output::line("No mappings.")?,
        Output::Table => {
            table(&page.mappings)?;
            output::older(page.next_before)?;
        }
    }
    Ok(Exit::Done)
}

async fn show(context: &AppContext, output: Output, id: i64) -> Result<Exit, Failure> {
    let details = mappings::show(context, id).await?;
    if output == Output::Json {
        output::json(&details)?;
        return Ok(Exit::Done);
    }
    let mapping = &details.mapping;
    output::line(&format!("Mapping {id} ({})", state_of(mapping)))?;
    let host = format!("{} {}", mapping.host, mapping.host_name.as_deref().unwrap_or_default());
    let rows = [
        ("company", dash(mapping.company)),
        ("host", host.trim_end().to_owned()),
        ("host's address", dash(mapping.host_email.as_deref())),
        ("staff", format!("{} {}", mapping.staff, mapping.staff_name)),
        ("source", format!("{} ({})", mapping.source, mapping.confidence)),
        ("last used", dash(mapping.last_used.map(rfc3339))),
    ];
    output::table(&[], rows.map(|(name, value)| [format!("  {name}"), value]))?;
    if let Some(waiting) = waiting(details.waiting) {
        output::line(&format!("{waiting} for this host"))?;
    }
    audit::table(&details.history)?;
    Ok(Exit::Done)
}

async fn history(context: &AppContext, output: Output, args: &HistoryArgs) -> Result<Exit, Failure> {
    let view = mappings::history(context, args.one.mapping, args.limit).await?;
    match output {
        Output::Json => output::json(&view)?,
        Output::Table if view.history.is_empty() => {
            output::line("No audit row: the mapping was made by somebody else.")?;
        }
        Output::Table => audit::table(&view.history)?,
    }
    Ok(Exit::Done)
}

async fn switch(
    context: &AppContext,
    output: Output,
    args: &Switch,
    command: fn(i64) -> Wanted,
) -> Result<Exit, Failure> {
    let decision = mappings::switching(context, args.one.mapping, command).await?;
    carry_out(context, output, args.common.give_reason(decision), &args.common, None).await
}

/// Where a mapping stands, in words.
fn state_of(mapping: &MappingView) -> &'static str {
    match (mapping.active, mapping.staff_valid) {
        (true, true) => "in force",
        (true, false) => "does not count: staff inactive",
        (false, _) => "switched off",
    }
}

/// Writes a table of mappings.
pub(super) fn table(mappings: &[MappingView]) -> Result<(), Failure> {
    let head =
        ["ID", "COMPANY", "HOST", "NAME", "STAFF", "STAFF NAME", "SOURCE", "CONF", "STATE", "LAST USED"];
    output::table(
        &head,
        mappings.iter().map(|mapping| {
            [
                mapping.id.to_string(),
                dash(mapping.company),
                mapping.host.to_string(),
                dash(mapping.host_name.as_deref()),
                mapping.staff.to_string(),
                mapping.staff_name.clone(),
                mapping.source.to_string(),
                format!("{:>4}", mapping.confidence),
                state_of(mapping).to_owned(),
                dash(mapping.last_used.map(rfc3339)),
            ]
        }),
    )
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
