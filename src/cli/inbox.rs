//! `hostmatch inbox`: lists, shows, accepts, assigns, ignores and reopens hosts that need a person.

use clap::builder::PossibleValuesParser;
use serde::Serialize;
use strum::VariantArray as _;

use super::arguments::{self, HostArgs, HostFilter, future_moment, one_of};
use super::decision::{CommonArgs, RepairArgs, carry_out, waiting_summary};
use super::{
    Exit, Failure, Global, Output, audit, global::ActorArgs, mappings, next_action::command, output,
    output::dash,
};
use crate::app::inbox::{self, InboxDetails, InboxView};
use crate::app::{AppContext, InboxFilter, InboxKind, pluralize};
use crate::event::StaffId;
use crate::matching::{HostKey, InboxState};

/// Parses a state, or `any`.
fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(InboxState::VARIANTS.iter().copied().map(InboxState::as_str).chain(["any"]))
}

/// The inbox: hosts that need a person
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    /// One host: its problem, the suggestions with reasons, the waiting appointments and the history
    Show(HostArgs),
    Accept(AcceptArgs),
    Assign(AssignArgs),
    Ignore(IgnoreArgs),
    Reopen(ReopenArgs),
}

/// Hosts that need a person, those with the earliest booking first
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    scope: HostFilter,
    /// Of this kind
    #[arg(long, value_name = "KIND", value_parser = one_of::<InboxKind>())]
    kind: Option<InboxKind>,
    /// In this state
    #[arg(long, value_name = "STATE", default_value = "open", value_parser = states())]
    state: String,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Skip this many
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
}

/// Accept the suggestion: map the host to that member of staff from now on
#[derive(Debug, clap::Args)]
pub(super) struct AcceptArgs {
    #[command(flatten)]
    host: HostArgs,
    /// The suggestion to accept, if there are several
    #[arg(long, value_name = "ID", value_parser = arguments::staff)]
    staff: Option<StaffId>,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    repair: RepairArgs,
}

/// Map the host to a member of staff, suggested or not
#[derive(Debug, clap::Args)]
pub(super) struct AssignArgs {
    #[command(flatten)]
    host: HostArgs,
    /// The member of staff
    #[arg(long, value_name = "ID", value_parser = arguments::staff)]
    staff: StaffId,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    repair: RepairArgs,
}

/// Ignore this host, until a given time or until it is reopened
#[derive(Debug, clap::Args)]
pub(super) struct IgnoreArgs {
    #[command(flatten)]
    host: HostArgs,
    /// The reason to record
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Reopen the host at this time: 14d (from now), 2026-03-01 or 2026-03-01T08:00:00Z [default: never]
    #[arg(long, value_name = "TIME", value_parser = future_moment)]
    until: Option<i64>,
    #[command(flatten)]
    actor: ActorArgs,
}

/// Reopen an ignored host
#[derive(Debug, clap::Args)]
pub(super) struct ReopenArgs {
    #[command(flatten)]
    host: HostArgs,
    /// The reason to record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    actor: ActorArgs,
}

/// Runs the command; fails if the change is refused, the host does not exist, or the database cannot be
/// reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let (actor, company) = match command {
        Command::List(args) => (None, args.scope.company),
        Command::Show(host) => (None, Some(host.company)),
        Command::Accept(args) => (Some(&args.common.actor), Some(args.host.company)),
        Command::Assign(args) => (Some(&args.common.actor), Some(args.host.company)),
        Command::Ignore(args) => (Some(&args.actor), Some(args.host.company)),
        Command::Reopen(args) => (Some(&args.actor), Some(args.host.company)),
    };
    let output = global.output;
    let work = async |context: &AppContext| match command {
        Command::List(args) => list(context, output, args).await,
        Command::Show(host) => show(context, output, host.key()).await,
        Command::Accept(AcceptArgs { host, staff, common, repair }) => {
            let decision = inbox::accept_decision(context, host.key(), staff.as_ref()).await?;
            carry_out(context, output, common.with_reason(decision), common, Some(repair)).await
        }
        Command::Assign(AssignArgs { host, staff, common, repair }) => {
            let decision = inbox::assign_decision(context, host.key(), staff).await?;
            carry_out(context, output, common.with_reason(decision), common, Some(repair)).await
        }
        Command::Ignore(args) => ignore(context, output, args).await,
        Command::Reopen(args) => reopen(context, output, args).await,
    };
    global.with_context(actor, company, work).await
}

async fn list(context: &AppContext, output: Output, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = InboxFilter { host: args.scope.host, state: args.state.parse().ok(), kind: args.kind };
    let page = inbox::list(context, &filter, (args.skip, args.limit)).await?;
    output.list(&page, &page.hosts, "No hosts need a person.", |hosts| {
        table(hosts)?;
        page.next_skip.map_or(Ok(()), |next| output::print_line(&format!("There are more: --skip {next}")))
    })
}

/// A host, and the command that decides about it.
#[derive(Serialize)]
struct DetailsWithCommand {
    #[serde(flatten)]
    details: InboxDetails,
    next: Option<String>,
}

async fn show(context: &AppContext, output: Output, key: HostKey) -> Result<Exit, Failure> {
    let details = inbox::show(context, key).await?;
    let next = details.host.next().map(|next| command(&next));
    let shown = DetailsWithCommand { details, next };
    output.show(&shown, || describe(&shown))
}

fn describe(DetailsWithCommand { details, next }: &DetailsWithCommand) -> Result<(), Failure> {
    let host = &details.host;
    let key = host.key;
    output::print_line(&format!("Host {} of company {} ({})", key.host, key.company, host.state))?;
    output::pairs(host_rows(host))?;
    if let Some(waiting) = waiting_summary(details.waiting) {
        output::print_line(&waiting)?;
    }
    if !details.mappings.is_empty() {
        mappings::table(&details.mappings)?;
    }
    if !details.history.is_empty() {
        audit::table(&details.history)?;
    }
    for act in &details.actions {
        let why = act.why.as_deref().unwrap_or("-");
        output::print_line(&format!("{}  {} by {}: {why}", output::moment(act.at), act.action, act.by))?;
    }
    next.as_ref().map_or(Ok(()), |next| output::print_line(&format!("What to do: {next}")))
}

async fn ignore(context: &AppContext, output: Output, args: &IgnoreArgs) -> Result<Exit, Failure> {
    let view = inbox::ignore(context, args.host.key(), &args.reason, args.until).await?;
    let until = view.until.map_or_else(|| "it is reopened".to_owned(), output::moment);
    output.show(&view, || output::print_line(&format!("Host {} is ignored until {until}.", args.host.host)))
}

async fn reopen(context: &AppContext, output: Output, args: &ReopenArgs) -> Result<Exit, Failure> {
    let view = inbox::reopen(context, args.host.key(), args.reason.as_deref()).await?;
    let host = args.host.host;
    let text = if view.is_new {
        format!("Host {host} is open again.")
    } else {
        format!("Nothing to do: host {host} is already open.")
    };
    output.show(&view, || output::print_line(&text))
}

/// Returns names and values that describe a host.
fn host_rows(host: &InboxView) -> Vec<(&'static str, String)> {
    let bookings = &host.bookings;
    let mut rows = vec![
        ("name", dash(host.name.as_deref())),
        ("address", dash(host.email.as_deref())),
        ("problem", host.what.to_owned()),
        (
            "waiting",
            format!(
                "{} of {}",
                bookings.waiting,
                pluralize(bookings.bookings, "appointment", "appointments")
            ),
        ),
        ("next booking", dash(bookings.next_booking.map(output::moment))),
        ("last booking", dash(bookings.last_booking.map(output::moment))),
        ("seen", format!("{} to {}", output::moment(host.first_seen), output::moment(host.last_seen))),
    ];
    for one in &host.suggestions {
        let name = one.staff_name.as_deref().unwrap_or_default();
        let suggested = format!("staff {} {name}: {} ({})", one.staff, one.because, one.confidence.0);
        rows.push(("suggested", suggested));
    }
    if host.state == InboxState::Ignored {
        let until = dash(host.ignored_until.map(output::moment));
        let why = dash(host.ignored_reason.as_deref());
        let by = dash(host.ignored_by.as_ref());
        rows.push(("ignored", format!("by {by}, until {until}: {why}")));
    }
    rows
}

fn table(hosts: &[InboxView]) -> Result<(), Failure> {
    let head = ["COMPANY", "HOST", "NAME", "KIND", "WAITING", "NEXT BOOKING", "LAST BOOKING", "SUGGESTED"];
    let rows = hosts.iter().map(|host| {
        let suggested = host.suggestions.iter().map(|one| {
            let name = one.staff_name.as_deref().unwrap_or_default();
            format!("staff {} {name} ({})", one.staff, one.confidence.0)
        });
        let suggested = suggested.collect::<Vec<_>>().join(", ");
        let kind = match host.state {
            InboxState::Open => host.kind.to_string(),
            other => format!("{}, {}", host.kind, other),
        };
        [
            host.key.company.to_string(),
            host.key.host.to_string(),
            dash(host.name.as_deref()),
            kind,
            host.bookings.waiting.to_string(),
            dash(host.bookings.next_booking.map(output::moment)),
            dash(host.bookings.last_booking.map(output::moment)),
            dash(Some(suggested).filter(|names| !names.is_empty())),
        ]
    });
    output::table(&head, rows)
}
