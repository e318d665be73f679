//! `hostmatch bookings`: which bookings have no member of staff, what happened to one, and giving appointments a
//! member of staff by hand.

use std::collections::BTreeSet;

use super::arguments::{self, CompanyFilter, future_moment, moment};
use super::decision::{CommonArgs, staff_label};
use super::{Exit, Failure, Global, Output, next_action::command, output, output::dash};
use crate::app::bookings::{self, AssignmentView, BookingDetails, BookingView, EntryKind};
use crate::app::{AppContext, BookingFilter};
use crate::event::{AppointmentId, BookingRef, CompanyId, HostId, StaffId};
use crate::runtime::clock::now_ms;

/// Bookings: which have no member of staff, what happened to one, assign by hand
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    Show(ShowArgs),
    Assign(AssignArgs),
    Undo(UndoArgs),
}

/// Bookings, those that start soonest first
///
/// Only bookings about which an event has been decided. Without --since: those that have not started yet.
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    scope: CompanyFilter,
    /// Only those without a member of staff that are not cancelled, with what would give them one
    #[arg(long)]
    unstaffed: bool,
    /// Starting at this time or later: 24h (ago), 2026-03-01 or 2026-03-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<i64>,
    /// Starting before this time: 24h (from now), 2026-03-01 or 2026-03-01T08:00:00Z
    #[arg(long, alias = "starts-within", value_name = "TIME", value_parser = future_moment)]
    until: Option<i64>,
    /// With this Cal.com user as the host
    #[arg(long, value_name = "ID", value_parser = arguments::host)]
    host: Option<HostId>,
    /// With this e-mail address of the host
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// With this member of staff now
    #[arg(long, value_name = "ID", value_parser = arguments::staff, conflicts_with = "unstaffed")]
    staff: Option<StaffId>,
    /// At most this many
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    limit: u64,
    /// The next page: the value of next_after on the previous page
    #[arg(long, value_name = "CURSOR", value_parser = cursor)]
    after: Option<(i64, i64)>,
}

/// One booking: who has it now and why, and what happened to it
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["booking", "appointment"]))]
pub(super) struct ShowArgs {
    /// The uid or id of the booking
    #[arg(value_name = "REF")]
    booking: Option<String>,
    /// The id of the appointment
    #[arg(long, value_name = "ID")]
    appointment: Option<i64>,
    #[command(flatten)]
    scope: CompanyFilter,
}

/// Give appointments a member of staff, all of them or none
///
/// This applies to these appointments only: it does not map their host. Events do not change them afterwards, unless
/// appointments.overwrite is "always". It can be undone.
#[derive(Debug, clap::Args)]
pub(super) struct AssignArgs {
    /// The appointments
    #[arg(value_name = "APPOINTMENT", required = true, num_args = 1..=1000)]
    appointments: Vec<i64>,
    /// The member of staff
    #[arg(long, value_name = "ID", value_parser = arguments::staff)]
    staff: StaffId,
    /// Fail unless they belong to this company
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: Option<CompanyId>,
    /// Only show what would be assigned
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Undo an assignment for the appointments that nobody else has changed since
#[derive(Debug, clap::Args)]
pub(super) struct UndoArgs {
    /// The id of the assignment
    assignment: i64,
    /// Fail unless it belongs to this company
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: Option<CompanyId>,
    #[command(flatten)]
    common: CommonArgs,
}

fn cursor(text: &str) -> Result<(i64, i64), String> {
    text.split_once(':')
        .and_then(|(ms, id)| Some((ms.parse().ok()?, id.parse().ok()?)))
        .ok_or_else(|| "expected the value of next_after on the previous page".to_owned())
}

/// Runs the command; fails if there is no such booking, if the assignment is refused, or if the database cannot be
/// reached.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    let (actor, company) = match command {
        Command::List(args) => (None, args.scope.company),
        Command::Show(args) => (None, args.scope.company),
        Command::Assign(args) => {
            // A dry run refuses an actor's name as the real run would.
            args.common.actor.author()?;
            ((!args.dry_run).then_some(&args.common.actor), args.company)
        }
        Command::Undo(args) => (Some(&args.common.actor), args.company),
    };
    let output = global.output;
    let work = async |context: &AppContext| match command {
        Command::List(args) => list(context, output, args).await,
        Command::Show(args) => show(context, output, args).await,
        Command::Assign(args) => assign(context, output, args).await,
        Command::Undo(args) => undo(context, output, args).await,
    };
    global.with_context(actor, company, work).await
}

async fn list(context: &AppContext, output: Output, args: &ListArgs) -> Result<Exit, Failure> {
    let filter = BookingFilter {
        is_unstaffed: args.unstaffed,
        from_ms: Some(args.since.unwrap_or_else(now_ms)),
        until_ms: args.until,
        host: args.host,
        email: args.email.clone(),
        staff: args.staff.clone(),
        after: args.after,
        ..BookingFilter::default()
    };
    let mut page = bookings::list(context, &filter, args.limit).await?;
    page.bookings.iter_mut().for_each(add_command);
    let none = if args.unstaffed { "Every booking has a member of staff." } else { "No bookings." };
    output.list(&page, &page.bookings, none, |rows| {
        table(rows, args.unstaffed)?;
        page.next_after
            .as_ref()
            .map_or(Ok(()), |next| output::print_line(&format!("There are more: --after {next}")))
    })
}

fn add_command(booking: &mut BookingView) {
    booking.next = booking.action.as_ref().map(command);
}

fn table(rows: &[BookingView], unstaffed: bool) -> Result<(), Failure> {
    let mut head = vec!["STARTS", "APPOINTMENT", "BOOKING", "COMPANY", "SERVICE", "HOST"];
    head.extend(if unstaffed { ["WHY", "WHAT TO DO"] } else { ["STAFF", "OUTCOME"] });
    let row = |one: &BookingView| {
        let (last, end) = match unstaffed {
            true => (dash(one.why), dash(one.next.as_deref())),
            false => (staff_of(one), one.outcome.clone()),
        };
        [
            dash(one.starts.map(output::moment)),
            one.appointment.to_string(),
            dash(one.booking.as_ref()),
            one.company.to_string(),
            dash(one.service.as_deref()),
            host_of(one),
            last,
            end,
        ]
    };
    output::table(&head, rows.iter().map(row))
}

fn host_of(booking: &BookingView) -> String {
    let name = booking.host_name.as_deref().or(booking.host_email.as_deref());
    match (name, booking.host) {
        (Some(name), Some(host)) => format!("{name} ({host})"),
        (name, host) => dash(name.map(str::to_owned).or(host.map(|host| host.to_string()))),
    }
}

fn staff_of(booking: &BookingView) -> String {
    dash(booking.staff.as_ref().map(|staff| staff_label(staff, booking.staff_name.as_deref())))
}

async fn show(context: &AppContext, output: Output, args: &ShowArgs) -> Result<Exit, Failure> {
    let reference = args.booking.as_deref().map(BookingRef::new);
    let which = match (args.appointment, &reference) {
        (Some(id), _) => Ok(AppointmentId(id)),
        (None, Some(Some(reference))) => Err(reference),
        (None, _) => return Err(Failure::new(Exit::Usage, "a reference has 1 to 255 bytes")),
    };
    let mut details = bookings::show(context, which).await?;
    add_command(&mut details.booking);
    output.show(&details, || describe(&details))
}

fn describe(details: &BookingDetails) -> Result<(), Failure> {
    let BookingDetails { booking, held_by, decision, history } = details;
    output::print_line(&format!("Appointment {} of company {}", booking.appointment, booking.company))?;
    let by = match *held_by {
        "hostmatch" => ", assigned by hostmatch",
        "somebody_else" if booking.staff.is_some() => ", assigned by a person or the gateway",
        _ => "",
    };
    let found = decision.as_ref().map(|found| {
        let because = found.because.as_ref().map(|it| format!(": {} {}", it.field, it.value));
        let confidence = found.confidence.map(|it| format!(" ({})", it.0)).unwrap_or_default();
        format!("{}, by {}{confidence}{}", booking.outcome, found.strategy, because.unwrap_or_default())
    });
    output::pairs([
        ("booking", dash(booking.booking.as_ref())),
        ("starts", dash(booking.starts.map(output::moment))),
        ("service", dash(booking.service.as_deref())),
        ("host", host_of(booking)),
        ("staff", format!("{}{by}", staff_of(booking))),
        ("last decision", found.unwrap_or_else(|| booking.outcome.clone())),
    ])?;
    if let Some(why) = booking.why {
        output::print_line(&format!("No member of staff: {why}."))?;
        output::print_line(&format!("What to do: {}", dash(booking.next.as_deref())))?;
    }
    if !history.is_empty() {
        output::print_line("")?;
        let rows = history.iter().map(|entry| {
            let why = entry.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            [
                output::moment(entry.at),
                format!("{} {}", kind(entry.kind), entry.id),
                dash(entry.by.as_deref()),
                format!("{}{why}", entry.what),
            ]
        });
        output::table(&["WHEN", "WHAT", "BY", "RESULT"], rows)?;
    }
    Ok(())
}

fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Event => "event",
        EntryKind::Mapping => "audit",
        EntryKind::Assigned => "assignment",
        EntryKind::Repair => "repair",
        EntryKind::HandOver => "hand-over",
        EntryKind::Undone => "undo of",
    }
}

async fn assign(context: &AppContext, output: Output, args: &AssignArgs) -> Result<Exit, Failure> {
    let ids: BTreeSet<AppointmentId> = args.appointments.iter().copied().map(AppointmentId).collect();
    let mut view = bookings::preview_assign(context, &ids, &args.staff).await?;
    if !args.dry_run {
        let replaced = view.appointments.iter().filter(|one| one.staff_before.is_some()).count();
        if replaced > 0 {
            let staff = staff_label(&view.staff, view.staff_name.as_deref());
            let question = format!(
                "{replaced} of the appointments have another member of staff. Assign {staff} instead?"
            );
            output::confirm_change(args.common.yes, &question, "assigned")?;
        }
        view = bookings::assign(context, view, args.common.reason.as_deref()).await?;
    }
    output.show(&view, || describe_assigned(&view))
}

fn describe_assigned(view: &AssignmentView) -> Result<(), Failure> {
    let staff = staff_label(&view.staff, view.staff_name.as_deref());
    let verb = if view.assignment.is_some() { "has" } else { "would have" };
    for one in &view.appointments {
        let before = one.staff_before.as_ref().map(|id| staff_label(id, one.staff_before_name.as_deref()));
        let before = before.map(|before| format!(", and no longer {before}")).unwrap_or_default();
        output::print_line(&format!("Appointment {} {verb} {staff}{before}.", one.appointment))?;
    }
    for id in &view.unchanged {
        output::print_line(&format!("Nothing to do: appointment {id} already has {staff}."))?;
    }
    view.assignment.map_or(Ok(()), |id| {
        output::print_line(&format!("Undo it with: hostmatch bookings undo {id} --company {}", view.company))
    })
}

async fn undo(context: &AppContext, output: Output, args: &UndoArgs) -> Result<Exit, Failure> {
    let question = format!("Undo assignment {}?", args.assignment);
    if !output::ask_confirmation(args.common.yes, &question, "")? {
        return Ok(Exit::NeedsConfirmation);
    }
    let undone = bookings::undo(context, args.assignment, args.common.reason.as_deref()).await?;
    output.show(&undone, || {
        for id in &undone.appointments {
            output::print_line(&format!("Appointment {id} is as it was before."))?;
        }
        let left = undone.left.iter();
        left.map(|id| format!("Appointment {id} stays: it has been changed since."))
            .try_for_each(|text| output::print_line(&text))
    })?;
    Ok(if undone.left.is_empty() { Exit::Done } else { Exit::Partial })
}
