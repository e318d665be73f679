//! `hostmatch repair`: assigns appointments that waited for a host which is mapped now, and undoes that.

use serde_json::json;

use super::arguments::{self, ExpectedCompany, HostArgs, HostFilter, PageArgs, one_of};
use super::decision::{CommonArgs, staff_label, waiting_summary};
use super::{Exit, Failure, Global, Output, output, output::dash};
use crate::app::repair::{self, RepairPreview};
use crate::app::{AppContext, Progress, RepairFilter, RepairRow, RepairScope, RepairState, pluralize};
use crate::event::{CompanyId, HostId};
use crate::matching::HostKey;

/// Repair: assign the appointments that waited for a host
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show which future and past appointments would be assigned; changes nothing
    Preview(HostArgs),
    Apply(ApplyArgs),
    Undo(UndoArgs),
    List(ListArgs),
    Show(ShowArgs),
}

/// Assign the appointments that wait for a host, or resume an interrupted repair
#[derive(Debug, clap::Args)]
pub(super) struct ApplyArgs {
    /// The repair to resume
    #[arg(conflicts_with_all = ["host", "scope"], required_unless_present = "host")]
    repair: Option<i64>,
    /// The company of the host; with a repair: fail unless the repair belongs to this company
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: Option<CompanyId>,
    /// The id of the Cal.com user
    #[arg(long, value_name = "ID", value_parser = arguments::host, requires = "company")]
    host: Option<HostId>,
    /// The appointments to assign
    #[arg(long, default_value = "future", value_parser = one_of::<RepairScope>())]
    scope: RepairScope,
    #[command(flatten)]
    common: CommonArgs,
}

/// Undo a repair for the appointments that nobody else has changed since
#[derive(Debug, clap::Args)]
pub(super) struct UndoArgs {
    /// The repair
    repair: i64,
    #[command(flatten)]
    expected: ExpectedCompany,
    #[command(flatten)]
    common: CommonArgs,
}

/// Repairs, newest first
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    scope: HostFilter,
    #[command(flatten)]
    page: PageArgs,
}

/// One repair, with its appointments
#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// The repair
    repair: i64,
    #[command(flatten)]
    expected: ExpectedCompany,
    /// At most this many appointments
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// Only appointments after this id
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: i64,
}

/// Runs the command; fails if the repair is refused or does not exist, or if the database cannot be reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let (actor, company) = match command {
        Command::Preview(host) => (None, Some(host.company)),
        Command::Apply(args) => (Some(&args.common.actor), args.company),
        Command::Undo(args) => (Some(&args.common.actor), args.expected.company),
        Command::List(args) => (None, args.scope.company),
        Command::Show(args) => (None, args.expected.company),
    };
    let output = global.output;
    let work = async |context: &AppContext| match command {
        Command::Preview(host) => preview(context, output, host.key()).await,
        Command::Apply(args) => apply(context, output, args).await,
        Command::Undo(args) => undo(context, output, args).await,
        Command::List(args) => list(context, output, args).await,
        Command::Show(args) => show(context, output, args).await,
    };
    global.with_context(actor, company, work).await
}

async fn preview(context: &AppContext, output: Output, key: HostKey) -> Result<Exit, Failure> {
    let preview = repair::preview(context, key).await?;
    output.show(&preview, || describe(key, &preview))
}

fn describe(key: HostKey, preview: &RepairPreview) -> Result<(), Failure> {
    let HostKey { company, host } = key;
    let staff = preview.staff.as_ref().map(|staff| staff_label(staff, preview.staff_name.as_deref()));
    let staff_text = staff.as_deref().unwrap_or("nobody yet");
    let waiting = waiting_summary(preview.counts());
    let waiting_text = waiting.as_deref().unwrap_or("no appointment waits");
    output::print_line(&format!("Host {host} of company {company} is {staff_text}; {waiting_text}"))?;
    let parts = [("future", &preview.future), ("past", &preview.past), ("start unknown", &preview.unknown)];
    for (what, appointments) in parts.into_iter().filter(|(_, appointments)| !appointments.is_empty()) {
        let rows = appointments.iter().map(|one| {
            [
                format!("  {what}"),
                format!("appointment {}", one.appointment),
                dash(one.starts.map(output::moment)),
                dash(one.booking.as_deref()),
            ]
        });
        output::table(&[], rows)?;
    }
    if staff.is_some() && waiting.is_some() {
        let scope = if preview.future.is_empty() { "all" } else { "future (or all)" };
        output::print_line(&format!(
            "Assign them with: hostmatch repair apply --company {company} --host {host} --scope {scope}"
        ))?;
    }
    Ok(())
}

async fn apply(context: &AppContext, output: Output, args: &ApplyArgs) -> Result<Exit, Failure> {
    if let Some(id) = args.repair {
        let repair = repair::find_repair(context, id).await?;
        return render(output, Some(carry_out(context, &repair).await?));
    }
    let (Some(company), Some(host)) = (args.company, args.host) else {
        return Err(Failure::new(Exit::Usage, "give the id of a repair, or --company N --host ID"));
    };
    let (key, scope) = (HostKey::new(company, host), args.scope);
    let preview = repair::preview(context, key).await?;
    let count = preview.counts().of(scope);
    if let Some(staff) = preview.staff.as_ref().filter(|_| count > 0) {
        let staff = staff_label(staff, preview.staff_name.as_deref());
        let appointments = pluralize(count, "appointment", "appointments");
        let question = format!("assign {appointments} ({scope}) to {staff}?");
        output::confirm_change(args.common.yes, &question, "assigned")?;
    }
    render(output, begin(context, key, scope, args.common.reason.as_deref()).await?)
}

async fn undo(context: &AppContext, output: Output, args: &UndoArgs) -> Result<Exit, Failure> {
    let repair = repair::find_repair(context, args.repair).await?;
    let appointments = pluralize(repair.appointments, "appointment", "appointments");
    let question = format!("undo up to {appointments} of repair {}?", repair.id);
    output::confirm_change(args.common.yes, &question, "undone")?;
    let all = usize::try_from(repair.counts.done).unwrap_or_default();
    let why = args.common.reason.as_deref();
    let undo = async |progress: Progress<'_>| {
        repair::undo(context, repair.id, why, |seen| progress(seen, all)).await
    };
    render(output, Some(output::with_progress("undoing", undo).await?))
}

/// Starts a repair and carries it out. Returns `None` if no appointment waits. Fails if the host has no
/// mapping in force, or if the database cannot be reached.
pub(super) async fn begin(
    context: &AppContext,
    key: HostKey,
    scope: RepairScope,
    why: Option<&str>,
) -> Result<Option<RepairRow>, Failure> {
    let Some(id) = repair::begin(context, key, scope, why).await? else { return Ok(None) };
    Ok(Some(carry_out(context, &repair::find_repair(context, id).await?).await?))
}

/// Carries out or resumes a repair, with progress on stderr.
async fn carry_out(context: &AppContext, repair: &RepairRow) -> Result<RepairRow, Failure> {
    let all = usize::try_from(repair.counts.pending).unwrap_or_default();
    let apply =
        async |progress: Progress<'_>| repair::apply(context, repair.id, |seen| progress(seen, all)).await;
    Ok(output::with_progress("assigning", apply).await?)
}

fn render(output: Output, repair: Option<RepairRow>) -> Result<Exit, Failure> {
    output.show(&json!({ "repair": repair }), || match &repair {
        None => output::print_line("No appointment waits for this host."),
        Some(repair) => print(repair),
    })?;
    Ok(repair.as_ref().map_or(Exit::Done, exit))
}

async fn list(context: &AppContext, output: Output, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = RepairFilter { host: args.scope.host, before: args.page.before };
    let page = repair::list(context, &filter, args.page.limit).await?;
    output.list(&page, &page.repairs, "No repairs.", |repairs| {
        repairs.iter().try_for_each(print)?;
        output::print_older_flag(page.next_before)
    })
}

async fn show(context: &AppContext, output: Output, args: &ShowArgs) -> Result<Exit, Failure> {
    let details = repair::show(context, args.repair, (args.after, args.limit)).await?;
    let rows = details.items.iter().map(|item| {
        [
            format!("  appointment {}", item.appointment),
            dash(item.starts.map(output::moment)),
            item.state.to_string(),
            dash(item.reason.as_deref()),
        ]
    });
    output.show(&details, || {
        print(&details.repair)?;
        output::table(&[], rows)
    })
}

/// Writes the result of a repair for people, and the next step.
pub(super) fn print(repair: &RepairRow) -> Result<(), Failure> {
    let RepairRow { id, company, counts, staff, .. } = repair;
    let name = repair.staff_name.as_deref().unwrap_or_default();
    let appointments = pluralize(repair.appointments, "appointment", "appointments");
    let title = format!("Repair {id} ({}): {appointments} for staff {staff} {name}", repair.state);
    output::print_line(title.trim_end())?;
    for (count, what) in [
        (counts.done, "assigned"),
        (counts.left, "left unchanged: they no longer waited"),
        (counts.undone, "undone"),
        (counts.kept, "kept: somebody else has changed them since"),
        (counts.pending, "still to be assigned"),
    ] {
        if count > 0 {
            output::print_line(&format!("  {count} {what}"))?;
        }
    }
    let resume = "Some appointments are locked by another session, or the repair was interrupted; resume it with: \
                  hostmatch repair";
    match repair.state.known() {
        Some(RepairState::Running) if counts.pending > 0 => {
            output::print_line(&format!("{resume} apply {id}"))
        }
        Some(RepairState::Undoing) => output::print_line(&format!("{resume} undo {id}")),
        Some(RepairState::Stopped) => output::print_line(
            "The host is mapped to somebody else now: the other appointments were left unchanged.",
        ),
        Some(RepairState::Running | RepairState::Done) if counts.done > 0 => {
            output::print_line(&format!("Undo it with: hostmatch repair undo {id} --company {company}"))
        }
        _ => Ok(()),
    }
}

/// Returns the exit code, which depends on whether the repair is complete.
pub(super) fn exit(repair: &RepairRow) -> Exit {
    match repair.state.known() {
        Some(RepairState::Done) => Exit::Done,
        Some(RepairState::Undone) if repair.counts.kept == 0 => Exit::Done,
        _ => Exit::Partial,
    }
}
