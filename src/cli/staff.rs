//! `hostmatch staff hand-over` and `hand-over-undo`: a member of staff leaves, and somebody else takes
//! over their hosts and their appointments to come.

use super::{Exit, Failure, Global, Output, arguments, decision::CommonArgs, output};
use crate::app::{
    AppContext, HandOver, HandOverView, UndoneHandOver, hand_over, preview_hand_over, undo_hand_over,
};
use crate::event::CompanyId;
use crate::runtime::clock::now_ms;

/// Members of staff: hand over from one to another
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    HandOver(Over),
    HandOverUndo(Undo),
}

/// Somebody takes over: the hosts of a member of staff, and the appointments to come
///
/// All of it at once, or nothing. Only what hostmatch assigned: appointments that a person gave to the one
/// who leaves are told, and stay. The hosts change at once, whatever --from-date says. It can be taken back.
#[derive(Debug, clap::Args)]
pub(super) struct Over {
    /// The company of both
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: CompanyId,
    /// Who leaves (staff.id)
    #[arg(long, value_name = "STAFF")]
    from: String,
    /// Who takes over (staff.id)
    #[arg(long, value_name = "STAFF")]
    to: String,
    /// Appointments that start then or later: 2026-03-01, or 2026-03-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = arguments::moment)]
    from_date: Option<i64>,
    /// Only say what would be handed over
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Take a hand-over back: whatever nobody else has touched since
#[derive(Debug, clap::Args)]
pub(super) struct Undo {
    /// Its number
    id: i64,
    /// Its company
    #[arg(long, value_name = "N", value_parser = arguments::company)]
    company: CompanyId,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command; fails when the database cannot be reached, or nothing can be handed over.
pub(super) async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::HandOver(over) => {
            // A dry run refuses a name as the real one would.
            over.common.acting.author()?;
            let acting = (!over.dry_run).then_some(&over.common.acting);
            let work = async |context: &AppContext| carry_out(context, global.output, over).await;
            global.with_context(acting, Some(over.company), work).await
        }
        Command::HandOverUndo(undo) => {
            let question = format!("Take hand-over {} back?", undo.id);
            if !output::confirmed(undo.common.yes, &question, "")? {
                return Ok(Exit::NeedsConfirmation);
            }
            let work = async |context: &AppContext| {
                let undone = undo_hand_over(context, undo.id, undo.common.reason.as_deref()).await?;
                show_undone(global.output, &undone)
            };
            global.with_context(Some(&undo.common.acting), Some(undo.company), work).await
        }
    }
}

async fn carry_out(context: &AppContext, output: Output, args: &Over) -> Result<Exit, Failure> {
    let order = HandOver {
        company: args.company,
        from: args.from.as_str().into(),
        to: args.to.as_str().into(),
        from_ms: args.from_date.unwrap_or_else(now_ms),
        reason: args.common.reason.clone(),
    };
    let mut view = preview_hand_over(context, &order).await?;
    if !args.dry_run {
        let (hosts, appointments) = (view.hosts.len(), view.appointments.len());
        let Over { from, to, .. } = args;
        let question = format!(
            "Hand over {hosts} hosts and {appointments} appointments from staff {from} to staff {to}?"
        );
        if !output::confirmed(args.common.yes, &question, ", or look first with --dry-run")? {
            return Ok(Exit::NeedsConfirmation);
        }
        view = hand_over(context, &order).await?;
    }
    output.show(&view, || show(args.company, &view))
}

fn show(company: CompanyId, view: &HandOverView) -> Result<(), Failure> {
    let HandOverView { hand_over: id, hosts, appointments, left, undated } = view;
    let verb = if id.is_some() { "Handed over" } else { "Would be handed over" };
    output::line(&format!("{verb}: {} hosts, {} appointments", hosts.len(), appointments.len()))?;
    let given = appointments.iter().map(|it| (it, "handed over"));
    let all = given.chain(left.iter().map(|it| (it, "stays: a person assigned it")));
    let rows =
        all.map(|(it, what)| [it.appointment.to_string(), output::moment(it.starts_ms), what.to_owned()]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        output::table(&["APPOINTMENT", "STARTS", "WHAT"], rows)?;
    }
    if *undated > 0 {
        output::line(&format!("{undated} more appointments stay: hostmatch does not know when they are"))?;
    }
    if let Some(id) = id {
        output::line(&format!("Undo it with: hostmatch staff hand-over-undo {id} --company {company}"))?;
    }
    Ok(())
}

fn show_undone(output: Output, undone: &UndoneHandOver) -> Result<Exit, Failure> {
    output.show(undone, || {
        let (hosts, appointments) = (undone.hosts.len(), undone.appointments.len());
        output::line(&format!("Taken back: {hosts} hosts, {appointments} appointments"))?;
        for left in &undone.hosts_left {
            output::line(&format!("host {} stays: {}", left.host, left.why))?;
        }
        let ids = undone.appointments_left.iter();
        ids.map(|id| format!("appointment {id} stays: it was changed again since"))
            .try_for_each(|text| output::line(&text))
    })?;
    let is_all = undone.hosts_left.is_empty() && undone.appointments_left.is_empty();
    Ok(if is_all { Exit::Done } else { Exit::Partial })
}
