//! `hostmatch staff hand-over` and `hand-over-undo`: a member of staff leaves, and somebody else takes
//! over their hosts and their appointments to come.

use clap::Subcommand;
use serde_json::{Value, json};

use super::exit::Exit;
use super::failure::Failure;
use super::global::Global;
use super::operator::Acting;
use super::output::{self, Output};
use super::{gateway, moments};
use crate::app::{Act, HandOver, HandOverError, Handed, take_back};
use crate::event::{CompanyId, StaffId};
use crate::runtime::clock::now_ms;

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
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

/// Take a hand-over back: whatever nobody else has touched since
#[derive(Debug, clap::Args)]
struct Undo {
    /// Its number
    id: i64,
    /// Its company
    #[arg(long, value_name = "N")]
    company: i64,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

impl From<HandOverError> for Failure {
    fn from(error: HandOverError) -> Self {
        match error {
            HandOverError::Store(error) => error.into(),
            error @ HandOverError::Unknown { .. } => Self::new(Exit::NotFound, error),
            error => Self::new(Exit::NotAllowed, error),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When the database cannot be reached, or nothing can be handed over.
pub(super) async fn run(global: &Global, args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::HandOver(over) => hand_over(global, over).await,
        Command::HandOverUndo(undo) => hand_back(global, undo).await,
    }
}

fn staff(text: &str) -> StaffId {
    text.parse().map_or_else(|_| StaffId::Text(text.to_owned()), StaffId::Integer)
}

async fn hand_over(global: &Global, args: &Over) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    let config = global.start(&[])?.config;
    let (database, schema) = match args.dry_run {
        true => gateway::open(&config).await?,
        false => gateway::open_to_write(&config).await?,
    };
    let order = HandOver {
        company: CompanyId(args.company),
        from: staff(&args.from),
        to: staff(&args.to),
        from_ms: args.from_date.unwrap_or_else(now_ms),
        reason: args.reason.clone(),
    };
    let work = async {
        let preview = order.preview(database.connection(), &schema).await?;
        if args.dry_run {
            return Ok((Some(preview), Exit::Done));
        }
        let question = format!(
            "Hand over {} hosts and {} appointments from staff {} to staff {}?",
            preview.hosts.len(),
            preview.appointments.len(),
            args.from,
            args.to
        );
        if !confirmed(args.yes, &question)? {
            return Ok((None, Exit::NeedsConfirmation));
        }
        let handed = order.carry_out(&database, &schema, &Act::new(author)).await?;
        Ok::<_, Failure>((Some(handed), Exit::Done))
    };
    let done = work.await;
    database.close().await;
    let (handed, exit) = done?;
    if let Some(handed) = handed {
        tell(global.output, args.company, &handed)?;
    }
    Ok(exit)
}

fn confirmed(yes: bool, question: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    output::confirm(question)?.ok_or_else(|| {
        Failure::new(
            Exit::NeedsConfirmation,
            format!("{question} Say so with --yes, or look first with --dry-run"),
        )
    })
}

fn tell(output: Output, company: i64, handed: &Handed) -> Result<(), Failure> {
    let Handed { id, hosts, appointments, theirs, undated } = handed;
    match output {
        Output::Json => {
            let told = |all: &[crate::store::Held]| -> Vec<Value> {
                let one = |it: &crate::store::Held| json!({ "appointment": it.appointment, "starts": output::moment(it.starts_ms) });
                all.iter().map(one).collect()
            };
            output::json(&json!({
                "hand_over": id, "hosts": hosts, "appointments": told(appointments),
                "left": told(theirs), "undated": undated,
            }))
        }
        Output::Table => {
            let verb = if id.is_some() { "Handed over" } else { "Would be handed over" };
            output::line(&format!("{verb}: {} hosts, {} appointments", hosts.len(), appointments.len()))?;
            let rows = |all: &[crate::store::Held], what: &str| -> Vec<[String; 3]> {
                let row = |it: &crate::store::Held| {
                    [it.appointment.to_string(), output::moment(it.starts_ms), what.to_owned()]
                };
                all.iter().map(row).collect()
            };
            let mut all = rows(appointments, "handed over");
            all.extend(rows(theirs, "stays: a person assigned it"));
            if !all.is_empty() {
                output::table(&["APPOINTMENT", "STARTS", "WHAT"], all)?;
            }
            if *undated > 0 {
                output::line(&format!(
                    "{undated} more appointments stay: hostmatch does not know when they are"
                ))?;
            }
            if let Some(id) = id {
                output::line(&format!(
                    "Take it back with: hostmatch staff hand-over-undo {id} --company {company}"
                ))?;
            }
            Ok(())
        }
    }
}

async fn hand_back(global: &Global, args: &Undo) -> Result<Exit, Failure> {
    let author = args.acting.author()?;
    let config = global.start(&[])?.config;
    let question = format!("Take hand-over {} back?", args.id);
    if !confirmed(args.yes, &question)? {
        return Ok(Exit::NeedsConfirmation);
    }
    let (database, schema) = gateway::open_to_write(&config).await?;
    let which = (args.id, CompanyId(args.company));
    let done = take_back(&database, &schema, &Act::new(author), which, args.reason.as_deref()).await;
    database.close().await;
    let back = done?;
    let left: Vec<Value> =
        back.hosts_left.iter().map(|(host, why)| json!({ "host": host, "why": why.to_string() })).collect();
    match global.output {
        Output::Json => output::json(&json!({
            "hand_over": args.id, "hosts": back.hosts, "appointments": back.appointments,
            "hosts_left": left, "appointments_left": back.appointments_left,
        }))?,
        Output::Table => {
            let (hosts, appointments) = (back.hosts.len(), back.appointments.len());
            output::line(&format!("Taken back: {hosts} hosts, {appointments} appointments"))?;
            for (host, why) in &back.hosts_left {
                output::line(&format!("host {host} stays: {why}"))?;
            }
            for id in &back.appointments_left {
                output::line(&format!("appointment {id} stays: it was changed again since"))?;
            }
        }
    }
    let all = back.hosts_left.is_empty() && back.appointments_left.is_empty();
    Ok(if all { Exit::Done } else { Exit::Partial })
}
