//! Carrying one decision out: what is there now, a confirmation where it replaces something, the decision
//! itself, and what it makes possible.

use serde_json::{Value, json};

use super::Desk;
use super::repairing::{self, Repairing, Told};
use super::told::{Names, waiting};
use crate::app::{Act, Before, Counts, Decided, Decision, Effect, Refusal, Repairer, decide_now, predict};
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::operator::Acting;
use crate::cli::output::{self, Output};
use crate::event::StaffId;
use crate::matching::HostKey;
use crate::store::{HostFacts, facts};

/// How a decision is made
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Manner {
    #[command(flatten)]
    pub(super) acting: Acting,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

/// Which appointments go along with it
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Along {
    /// What becomes of the appointments that wait for this host [default: ask on a terminal, else none]
    #[arg(long, value_enum)]
    repair: Option<Repairing>,
}

/// Carries a decision out.
///
/// # Errors
/// When it is refused or not confirmed, or the database cannot be reached.
pub(super) async fn carry_out(
    desk: &Desk,
    decision: Decision,
    manner: &Manner,
    along: Option<&Along>,
) -> Result<Exit, Failure> {
    let author = manner.acting.author()?;
    let key = decision.key;
    let now = host_facts(desk, key).await?;
    // Whoever decides here has seen this, and means it.
    let decision = Decision { seen: Some(now.last_audit), reason: manner.reason.clone(), ..decision };
    let predicted = predict(desk.database.connection(), &desk.schema, std::slice::from_ref(&decision));
    let predicted = desk.database.in_time(predicted).await?.remove(0)?;
    confirmed(desk, &predicted, manner).await?;
    tracing::debug!(host = key.host.0, "decided on what was seen");
    let act = Act::new(author.clone());
    let decided = decide_now(&desk.database, &desk.schema, &act, &[decision]).await?.remove(0);
    let decided = match decided {
        Err(refusal @ Refusal::ChangedMeanwhile(_)) => {
            let now = host_facts(desk, key).await?;
            return Err(Failure::from(refusal).with(&in_force(&now)));
        }
        decided => decided?,
    };
    let repairer = Repairer::new(&desk.database, &desk.schema);
    let counts = desk.database.in_time(repairer.offer(key)).await?.counts();
    let repair = match along.filter(|_| decided.staff.is_some()) {
        None => None,
        Some(along) => {
            repairing::along(desk, key, counts, along.repair, &author, manner.reason.as_deref()).await?
        }
    };
    tell(desk, &decided, counts, repair.as_ref(), along.is_some()).await?;
    Ok(repair.map_or(Exit::Done, |repair| repair.exit()))
}

async fn host_facts(desk: &Desk, key: HostKey) -> Result<HostFacts, Failure> {
    let keys = [key].into();
    let facts = facts(desk.database.connection(), &desk.schema, &keys);
    let mut facts = desk.database.in_time(facts).await?;
    facts.remove(&key).ok_or_else(|| Failure::from(Refusal::UnknownHost(key.company, key.host)))
}

/// What is in force for a host, in words.
fn in_force(facts: &HostFacts) -> String {
    let mut active =
        facts.mappings.iter().filter(|row| row.state.is_active && row.company() == Some(facts.key.company));
    match active.next() {
        None => "it has no mapping in force now".to_owned(),
        Some(row) => {
            format!("it is mapped to staff {} now (mapping {}, {})", row.staff.id, row.id, row.state.source)
        }
    }
}

/// Who replaces what somebody decided is asked.
async fn confirmed(desk: &Desk, predicted: &Decided, manner: &Manner) -> Result<(), Failure> {
    if predicted.effect != Effect::Replaced || manner.yes {
        return Ok(());
    }
    let staff = predicted.before.iter().map(|before| before.staff.clone()).chain(predicted.staff.clone());
    let names = Names::of(desk, staff).await?;
    let is_now: Vec<String> = predicted
        .before
        .iter()
        .map(|it| format!("{}, by {} ({})", names.told(&it.staff), it.source, it.confidence.0))
        .collect();
    let to = predicted.staff.as_ref().map(|staff| names.told(staff)).unwrap_or_default();
    let text = format!("host {} is mapped to {}", predicted.key.host, is_now.join(" and to "));
    match output::confirm(&format!("{text}. Replace by {to}?"))? {
        Some(true) => Ok(()),
        _ => Err(Failure::new(
            Exit::NeedsConfirmation,
            // Names are for the terminal; this may stand in a log.
            format!(
                "nothing was changed: host {} is mapped already (mapping {}); to replace that needs a \
                 confirmation, on a terminal or with --yes",
                predicted.key.host,
                predicted.before.iter().map(|it| it.mapping.to_string()).collect::<Vec<_>>().join(", ")
            ),
        )),
    }
}

async fn tell(
    desk: &Desk,
    decided: &Decided,
    counts: Counts,
    repair: Option<&Told>,
    may_repair: bool,
) -> Result<(), Failure> {
    let people = decided.staff.iter().chain(decided.before.iter().map(|before| &before.staff));
    let names = Names::of(desk, people.cloned()).await?;
    if desk.output == Output::Json {
        return output::json(&document(decided, &names, counts, repair));
    }
    output::line(&sentence(decided, &names))?;
    if !decided.audits.is_empty() {
        let last = decided.audits.iter().max().copied().unwrap_or_default();
        output::line(&format!(
            "Take it back with: hostmatch mappings revert {last} --company {}",
            decided.key.company
        ))?;
    }
    match (repair, waiting(counts)) {
        (Some(repair), _) => repair.lines().iter().try_for_each(|line| output::line(line))?,
        (None, Some(told)) if decided.staff.is_some() && may_repair => {
            let HostKey { company, host } = decided.key;
            output::line(&format!(
                "{told} for this host: hostmatch repair preview --company {company} --host {host}"
            ))?;
        }
        (None, _) => {}
    }
    Ok(())
}

fn document(decided: &Decided, names: &Names, counts: Counts, repair: Option<&Told>) -> Value {
    let Decided { key, effect, mapping, staff, before, audits } = decided;
    let before: Vec<Value> = before
        .iter()
        .map(|Before { mapping, staff, source, confidence }| {
            json!({
                "mapping": mapping, "staff": staff, "staff_name": names.name(staff), "source": source,
                "confidence": confidence,
            })
        })
        .collect();
    json!({
        "did": effect, "company": key.company, "host": key.host, "mapping": mapping, "staff": staff,
        "staff_name": staff.as_ref().and_then(|staff| names.name(staff)), "before": before,
        "audits": audits, "waiting": repairing::counted(counts), "repair": repair,
    })
}

fn sentence(decided: &Decided, names: &Names) -> String {
    let host = decided.key.host;
    let who = decided.staff.as_ref().map(|staff: &StaffId| names.told(staff)).unwrap_or_default();
    let mapping = decided.mapping.map(|id| format!("mapping {id}")).unwrap_or_default();
    let before: Vec<String> = decided.before.iter().map(|before| names.told(&before.staff)).collect();
    let before = before.join(" and ");
    match decided.effect {
        Effect::Made => format!("Host {host} is {who} from now on ({mapping})."),
        Effect::Replaced => format!("Host {host} is {who} from now on ({mapping}), and no longer {before}."),
        Effect::Confirmed => {
            format!("Host {host} is {who}, as a match had found: now a person says so ({mapping}).")
        }
        Effect::SwitchedOff => format!("Switched off: host {host} is no longer {who} ({mapping})."),
        Effect::SwitchedOn => format!("Switched on: host {host} is {who} again ({mapping})."),
        Effect::Reverted if who.is_empty() => format!("Taken back: host {host} is nobody's again."),
        Effect::Reverted => format!("Taken back: host {host} is {who} again ({mapping})."),
        Effect::Unchanged if who.is_empty() => format!("Nothing to do: host {host} is nobody's already."),
        Effect::Unchanged => format!("Nothing to do: that is so already (host {host}, {who}, {mapping})."),
    }
}
