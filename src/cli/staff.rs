//! `hostmatch staff hand-over` and `hand-over-undo`: a member of staff leaves, and somebody else takes
//! over their hosts and their appointments to come.

use clap::Subcommand;
use serde_json::json;

use super::{Exit, Failure, Global, Output, decision::CommonArgs, moments, output};
use crate::app::{
    Access, AppContext, HandOver, HandOverView, UndoneHandOver, hand_over, preview_hand_over, undo_hand_over,
};
use crate::event::CompanyId;
use crate::runtime::clock::{now_ms, rfc3339};

/// Members of staff: hand over from one to another
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    HandOver(Over),
    HandOverUndo(Undo),
}

/// Somebody takes over: the hosts of a member of staff, and the appointments to come
///
/// All of it at once, or nothing. Only what hostmatch assigned: appointments that a person gave to the one
/// who leaves are told, and stay. The hosts change at once, whatever --from-date says. It can be taken back.
#[derive(Debug, clap::Args)]
struct Over {
    /// The company of both
    #[arg(long, value_name = "N")]
    company: i64,
    /// Who leaves (staff.id)
    #[arg(long, value_name = "STAFF")]
    from: String,
    /// Who takes over (staff.id)
    #[arg(long, value_name = "STAFF")]
    to: String,
    /// Appointments that start then or later: 2026-03-01, or 2026-03-01T08:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = moments::moment)]
    from_date: Option<i64>,
    /// Only say what would be handed over
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Take a hand-over back: whatever nobody else has touched since
#[derive(Debug, clap::Args)]
struct Undo {
    /// Its number
    id: i64,
    /// Its company
    #[arg(long, value_name = "N")]
    company: i64,
    #[command(flatten)]
    common: CommonArgs,
}

/// Runs the command; fails when the database cannot be reached, or nothing can be handed over.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    let (access, acting, company) = match &args.command {
        Command::HandOver(over) if over.dry_run => (Access::ReadOnly, &over.common.acting, over.company),
        Command::HandOver(over) => (Access::Write, &over.common.acting, over.company),
        Command::HandOverUndo(undo) => {
            let question = format!("Take hand-over {} back?", undo.id);
            if !output::confirmed(undo.common.yes, &question, "")? {
                return Ok(Exit::NeedsConfirmation);
            }
            (Access::Write, &undo.common.acting, undo.company)
        }
    };
    let context = global.open(access, acting, Some(company)).await?;
    let done = match &args.command {
        Command::HandOver(over) => carry_out(&context, global.output, over).await,
        Command::HandOverUndo(undo) => {
            let undone = undo_hand_over(&context, undo.id, undo.common.reason.as_deref()).await;
            undone.map_err(Failure::from).and_then(|undone| show_undone(global.output, &undone))
        }
    };
    context.close().await;
    done
}

async fn carry_out(context: &AppContext, output: Output, args: &Over) -> Result<Exit, Failure> {
    let order = HandOver {
        company: CompanyId(args.company),
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
    show(output, args.company, &view)?;
    Ok(Exit::Done)
}

fn show(output: Output, company: i64, view: &HandOverView) -> Result<(), Failure> {
    if output == Output::Json {
        return output::json(&json!(view));
    }
    let HandOverView { hand_over: id, hosts, appointments, left, undated } = view;
    let verb = if id.is_some() { "Handed over" } else { "Would be handed over" };
    output::line(&format!("{verb}: {} hosts, {} appointments", hosts.len(), appointments.len()))?;
    let given = appointments.iter().map(|it| (it, "handed over"));
    let all = given.chain(left.iter().map(|it| (it, "stays: a person assigned it")));
    let rows = all.map(|(it, what)| [it.appointment.to_string(), rfc3339(it.starts_ms), what.to_owned()]);
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        output::table(&["APPOINTMENT", "STARTS", "WHAT"], rows)?;
    }
    if *undated > 0 {
        output::line(&format!("{undated} more appointments stay: hostmatch does not know when they are"))?;
    }
    if let Some(id) = id {
        output::line(&format!("Take it back with: hostmatch staff hand-over-undo {id} --company {company}"))?;
    }
    Ok(())
}

fn show_undone(output: Output, undone: &UndoneHandOver) -> Result<Exit, Failure> {
    if output == Output::Json {
        output::json(&json!(undone))?;
    } else {
        let (hosts, appointments) = (undone.hosts.len(), undone.appointments.len());
        output::line(&format!("Taken back: {hosts} hosts, {appointments} appointments"))?;
        for left in &undone.hosts_left {
            output::line(&format!("host {} stays: {}", left.host, left.why))?;
        }
        for id in &undone.appointments_left {
            output::line(&format!("appointment {id} stays: it was changed again since"))?;
        }
    }
    let is_all = undone.hosts_left.is_empty() && undone.appointments_left.is_empty();
    Ok(if is_all { Exit::Done } else { Exit::Partial })
}
