//! `hostmatch staff`: lists members of staff, and hands over the hosts and future appointments of one who leaves.

use super::arguments::{self, CompanyFilter};
use super::{Exit, Failure, Global, Output, decision::CommonArgs, output, output::dash};
use crate::app::people::{self, StaffView};
use crate::app::{
    AppContext, HandOver, HandOverView, UndoneHandOver, hand_over, pluralize, preview_hand_over,
    undo_hand_over,
};
use crate::event::CompanyId;
use crate::runtime::clock::now_ms;

/// Members of staff: list them, hand over from one to another
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    List(ListArgs),
    HandOver(HandOverArgs),
    HandOverUndo(UndoArgs),
}

/// Members of staff, each with the hosts that are mapped to them
#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    scope: CompanyFilter,
    /// Also those who are inactive or deleted
    #[arg(long)]
    all: bool,
}

/// Hand over the hosts and future appointments of a member of staff to another
///
/// Hands over everything or nothing. Appointments that a person assigned are listed and stay. The hosts
/// change at once, whatever --from-date is. The hand-over can be undone.
#[derive(Debug, clap::Args)]
pub(super) struct HandOverArgs {
    /// The company of both members of staff
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: CompanyId,
    /// The member of staff who leaves (staff.id)
    #[arg(long, value_name = "STAFF")]
    from: String,
    /// The member of staff who takes over (staff.id)
    #[arg(long, value_name = "STAFF")]
    to: String,
    /// Hand over appointments that start at this time or later: 2026-03-01, or 2026-03-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    from_date: Option<i64>,
    /// Only show what would be handed over
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Undo a hand-over for everything that nobody else has changed since
#[derive(Debug, clap::Args)]
pub(super) struct UndoArgs {
    /// The id of the hand-over
    id: i64,
    /// The company of the hand-over
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: CompanyId,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command; fails when the database cannot be reached, or nothing can be handed over.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::List(args) => {
            let work = async |context: &AppContext| list(context, global.output, args.all).await;
            global.with_context(None, args.scope.company, work).await
        }
        Command::HandOver(args) => {
            // A dry run refuses an actor's name as the real run would.
            args.common.actor.author()?;
            let actor = (!args.dry_run).then_some(&args.common.actor);
            let work = async |context: &AppContext| carry_out(context, global.output, args).await;
            global.with_context(actor, Some(args.company), work).await
        }
        Command::HandOverUndo(undo) => {
            let question = format!("Undo hand-over {}?", undo.id);
            if !output::ask_confirmation(undo.common.yes, &question, "")? {
                return Ok(Exit::NeedsConfirmation);
            }
            let work = async |context: &AppContext| {
                let undone = undo_hand_over(context, undo.id, undo.common.reason.as_deref()).await?;
                show_undone(global.output, &undone)
            };
            global.with_context(Some(&undo.common.actor), Some(undo.company), work).await
        }
    }
}

async fn list(context: &AppContext, output: Output, all: bool) -> Result<Exit, Failure> {
    let list = people::staff(context, all).await?;
    output.list(&list, &list.staff, "No members of staff.", |staff| {
        let row = |one: &StaffView| {
            let hosts: Vec<String> = one.hosts.iter().map(ToString::to_string).collect();
            [
                dash(one.company),
                one.staff.to_string(),
                one.name.clone(),
                dash(one.email.as_deref()),
                one.state.to_owned(),
                dash((!hosts.is_empty()).then(|| hosts.join(", "))),
            ]
        };
        output::table(&["COMPANY", "STAFF", "NAME", "ADDRESS", "STATE", "HOSTS"], staff.iter().map(row))
    })
}

async fn carry_out(context: &AppContext, output: Output, args: &HandOverArgs) -> Result<Exit, Failure> {
    let request = HandOver {
        company: args.company,
        from: args.from.as_str().into(),
        to: args.to.as_str().into(),
        from_ms: args.from_date.unwrap_or_else(now_ms),
        reason: args.common.reason.clone(),
    };
    let mut view = preview_hand_over(context, &request).await?;
    if !args.dry_run {
        let [hosts, appointments] = counts(view.hosts.len(), view.appointments.len());
        let HandOverArgs { from, to, .. } = args;
        let question = format!("Hand over {hosts} and {appointments} from staff {from} to staff {to}?");
        if !output::ask_confirmation(args.common.yes, &question, ", or preview it with --dry-run")? {
            return Ok(Exit::NeedsConfirmation);
        }
        view = hand_over(context, &request).await?;
    }
    output.show(&view, || show(args.company, &view))
}

fn counts(hosts: usize, appointments: usize) -> [String; 2] {
    [pluralize(hosts, "host", "hosts"), pluralize(appointments, "appointment", "appointments")]
}

fn show(company: CompanyId, view: &HandOverView) -> Result<(), Failure> {
    let HandOverView { hand_over: id, hosts, appointments, not_handed_over, undated } = view;
    let verb = if id.is_some() { "Handed over" } else { "Would be handed over" };
    output::print_line(&format!("{verb}: {}", counts(hosts.len(), appointments.len()).join(", ")))?;
    let handed_over = appointments.iter().map(|it| (it, "handed over"));
    let all = handed_over.chain(not_handed_over.iter().map(|it| (it, "stays: a person assigned it")));
    let rows =
        all.map(|(it, what)| [it.appointment.to_string(), output::moment(it.starts_ms), what.to_owned()]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        output::table(&["APPOINTMENT", "STARTS", "WHAT"], rows)?;
    }
    if *undated > 0 {
        let count = pluralize(*undated, "more appointment stays", "more appointments stay");
        output::print_line(&format!("{count}: no start is known"))?;
    }
    if let Some(id) = id {
        output::print_line(&format!(
            "Undo it with: hostmatch staff hand-over-undo {id} --company {company}"
        ))?;
    }
    Ok(())
}

fn show_undone(output: Output, undone: &UndoneHandOver) -> Result<Exit, Failure> {
    output.show(undone, || {
        let counts = counts(undone.hosts.len(), undone.appointments.len());
        output::print_line(&format!("Undone: {}", counts.join(", ")))?;
        for unrestored in &undone.unrestored_hosts {
            output::print_line(&format!("host {} stays: {}", unrestored.host, unrestored.why))?;
        }
        let ids = undone.unrestored_appointments.iter();
        ids.map(|id| format!("appointment {id} stays: it has been changed since"))
            .try_for_each(|text| output::print_line(&text))
    })?;
    let is_all = undone.unrestored_hosts.is_empty() && undone.unrestored_appointments.is_empty();
    Ok(if is_all { Exit::Done } else { Exit::Partial })
}
