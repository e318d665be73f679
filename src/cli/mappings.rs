//! `hostmatch mappings`: lists, shows, sets, switches and reverts mappings.

use super::arguments::{self, ExpectedCompany, HostArgs, HostFilter, PageArgs, comparison, moment};
use super::decision::{CommonArgs, RepairArgs, carry_out, waiting_summary};
use super::{Exit, Failure, Global, Output, audit, mapping_files, output, output::dash};
use crate::app::mappings::{self, MappingDetails, MappingView};
use crate::app::{AppContext, Command as DecisionCommand, Compare, Decision, MappingFilter};
use crate::event::StaffId;

/// Mappings: which host is which member of staff
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    /// One mapping, with its history and the appointments that wait for its host
    Show(MappingArgs),
    /// The changes to a mapping, newest first: who, from what to what, and why
    History(HistoryArgs),
    Set(SetArgs),
    /// Switch a mapping off: no match switches it on again, but a person can
    Deactivate(ToggleArgs),
    /// Switch a mapping on again
    Reactivate(ToggleArgs),
    /// Revert one change, as a new change
    Revert(RevertArgs),
    #[command(flatten)]
    Files(mapping_files::Command),
}

/// Mappings, newest first
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    scope: HostFilter,
    /// Of this member of staff
    #[arg(long, value_name = "ID", value_parser = arguments::staff)]
    staff: Option<StaffId>,
    /// With this source: manual, admin, auto_email, auto_name
    #[arg(long)]
    source: Option<String>,
    /// With this confidence: 95, '>=80' or '<=75'
    #[arg(long, value_name = "N", value_parser = confidence)]
    confidence: Option<(Compare, i32)>,
    /// In force (true) or switched off (false)
    #[arg(long, value_name = "BOOL")]
    active: Option<bool>,
    /// In force together with another mapping of the same host, or of the same member of staff
    #[arg(long)]
    conflict: bool,
    /// For a member of staff who is inactive, deleted or in another company: such a mapping has no effect
    #[arg(long)]
    staff_inactive: bool,
    /// Whose host has had no decided booking since this time: 90d (ago), 2026-03-01 or
    /// 2026-03-01T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = moment)]
    unused_since: Option<i64>,
    #[command(flatten)]
    page: PageArgs,
}

/// A mapping
#[derive(Debug, clap::Args)]
pub(super) struct MappingArgs {
    /// The id of the mapping
    mapping: i64,
    #[command(flatten)]
    expected: ExpectedCompany,
}

#[derive(Debug, clap::Args)]
pub(super) struct HistoryArgs {
    #[command(flatten)]
    one: MappingArgs,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
}

/// Map a host to a member of staff
///
/// If the host is mapped to somebody else, that mapping is replaced, after confirmation on the terminal or
/// with --yes.
#[derive(Debug, clap::Args)]
pub(super) struct SetArgs {
    #[command(flatten)]
    host: HostArgs,
    /// The member of staff
    #[arg(long, value_name = "ID", value_parser = arguments::staff)]
    staff: StaffId,
    /// Accept a host that no booking has had yet
    #[arg(long)]
    unseen: bool,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    repair: RepairArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct ToggleArgs {
    #[command(flatten)]
    one: MappingArgs,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevertArgs {
    /// The id of an audit row (see `mappings history`, `audit list`)
    audit: i64,
    #[command(flatten)]
    expected: ExpectedCompany,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command; fails if the change is refused, the mapping does not exist, or the database cannot be
/// reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let (actor, company) = match command {
        Command::List(args) => (None, args.scope.company),
        Command::Show(args) => (None, args.expected.company),
        Command::History(args) => (None, args.one.expected.company),
        Command::Set(args) => (Some(&args.common.actor), Some(args.host.company)),
        Command::Deactivate(ToggleArgs { one, common }) | Command::Reactivate(ToggleArgs { one, common }) => {
            (Some(&common.actor), one.expected.company)
        }
        Command::Revert(args) => (Some(&args.common.actor), args.expected.company),
        Command::Files(command) => return mapping_files::run(global, command).await,
    };
    let output = global.output;
    let work = async |context: &AppContext| match command {
        Command::List(args) => list(context, output, args).await,
        Command::Show(args) => show(context, output, args.mapping).await,
        Command::History(args) => history(context, output, args).await,
        Command::Set(SetArgs { host: HostArgs { company, host }, staff, unseen, common, repair }) => {
            let decision = Decision {
                allow_unseen_host: *unseen,
                ..Decision::new(*company, *host, DecisionCommand::Set(staff.clone()))
            };
            carry_out(context, output, common.with_reason(decision), common, Some(repair)).await
        }
        Command::Deactivate(args) => toggle(context, output, args, DecisionCommand::SwitchOff).await,
        Command::Reactivate(args) => toggle(context, output, args, DecisionCommand::SwitchOn).await,
        Command::Revert(RevertArgs { audit, common, .. }) => {
            let decision = mappings::revert_decision(context, *audit, common.reason.as_deref()).await?;
            carry_out(context, output, decision, common, None).await
        }
        Command::Files(_) => Ok(Exit::Usage),
    };
    global.with_context(actor, company, work).await
}

async fn list(context: &AppContext, output: Output, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = MappingFilter {
        id: None,
        host: args.scope.host,
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
    output.list(&page, &page.mappings, "No mappings.", |mappings| {
        table(mappings)?;
        output::print_older_flag(page.next_before)
    })
}

async fn show(context: &AppContext, output: Output, id: i64) -> Result<Exit, Failure> {
    let details = mappings::show(context, id).await?;
    output.show(&details, || describe(&details))
}

fn describe(details: &MappingDetails) -> Result<(), Failure> {
    let mapping = &details.mapping;
    output::print_line(&format!("Mapping {} ({})", mapping.id, state_of(mapping)))?;
    let host = format!("{} {}", mapping.host, mapping.host_name.as_deref().unwrap_or_default());
    let rows = [
        ("company", dash(mapping.company)),
        ("host", host.trim_end().to_owned()),
        ("host's address", dash(mapping.host_email.as_deref())),
        ("staff", format!("{} {}", mapping.staff, mapping.staff_name)),
        ("source", format!("{} ({})", mapping.source, mapping.confidence)),
        ("last used", dash(mapping.last_used.map(output::moment))),
    ];
    output::pairs(rows)?;
    if let Some(waiting) = waiting_summary(details.waiting) {
        output::print_line(&format!("{waiting} for this host"))?;
    }
    audit::table(&details.history)
}

async fn history(context: &AppContext, output: Output, args: &HistoryArgs) -> Result<Exit, Failure> {
    let view = mappings::history(context, args.one.mapping, args.limit).await?;
    let none = "No audit row: hostmatch did not create this mapping.";
    output.list(&view, &view.history, none, audit::table)
}

async fn toggle(
    context: &AppContext,
    output: Output,
    args: &ToggleArgs,
    command: fn(i64) -> DecisionCommand,
) -> Result<Exit, Failure> {
    let decision = mappings::switch_decision(context, args.one.mapping, command).await?;
    carry_out(context, output, args.common.with_reason(decision), &args.common, None).await
}

/// Describes the state of a mapping.
fn state_of(mapping: &MappingView) -> &'static str {
    match (mapping.active, mapping.staff_valid) {
        (true, true) => "in force",
        (true, false) => "no effect: staff inactive",
        (false, _) => "switched off",
    }
}

pub(super) fn table(mappings: &[MappingView]) -> Result<(), Failure> {
    let head =
        ["ID", "COMPANY", "HOST", "NAME", "STAFF", "STAFF NAME", "SOURCE", "CONF", "STATE", "LAST USED"];
    let rows = mappings.iter().map(|mapping| {
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
            dash(mapping.last_used.map(output::moment)),
        ]
    });
    output::table(&head, rows)
}

fn confidence(text: &str) -> Result<(Compare, i32), String> {
    let score = comparison(text).filter(|(_, score)| (0..=100).contains(score));
    score.ok_or_else(|| "expected 95, '>=80' or '<=75'".to_owned())
}
