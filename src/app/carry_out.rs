//! Carries out decisions. The facts are read under the hosts' locks, in the transaction that writes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction};
use uuid::Uuid;

use super::decision::{Author, Command, Decided, Decision, Refusal};
use super::ruling::{Ruling, rule};
use crate::event::{CompanyId, StaffId};
use crate::matching::HostKey;
use crate::runtime::backoff::Delays;
use crate::runtime::clock::now_ms;
use crate::store::{
    self, Database, GatewaySchema, HostChange, StaffFact, StoreError, StoreErrorKind, lock_hosts_for_decision,
};

/// Decisions that one person makes together, such as an import: they share an author and an id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionBatch {
    /// The person who decides.
    pub author: Author,
    /// Identifies all changes of the batch (`store::changes_of_batch`). Writing the same decision of a batch twice
    /// creates only one row.
    pub id: Uuid,
    /// The number of the first decision in the next call of [`decide`]. A batch that is carried out in several
    /// calls numbers its decisions consecutively.
    pub first: u32,
}

impl DecisionBatch {
    /// Creates a batch with a new id.
    pub fn new(author: Author) -> Self {
        Self { author, id: Uuid::new_v4(), first: 0 }
    }
}

/// The result of each decision, in the order of the decisions.
pub type DecisionResults = Vec<Result<Decided, Refusal>>;

/// Carries out decisions in the caller's transaction, with a fixed number of statements for about 250
/// decisions. A refused decision writes nothing and does not stop the others; a caller that wants all
/// decisions or none must roll back.
///
/// The hosts stay locked until the transaction ends. Once they are locked, the transaction does not wait for
/// other locks: if another session holds one, it fails with a conflict, and the caller must retry, as
/// [`decide_now`] does. On failure the caller must roll back.
pub async fn decide(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    batch: &DecisionBatch,
    decisions: &[Decision],
) -> Result<DecisionResults, StoreError> {
    let keys: BTreeSet<HostKey> = decisions.iter().map(|decision| decision.key).collect();
    lock_hosts_for_decision(tx, schema, &keys).await?;
    let rulings = rulings(tx, schema, decisions).await?;
    let changes: Vec<HostChange> = decisions
        .iter()
        .zip(&rulings)
        .zip(batch.first..)
        .filter_map(|((decision, ruling), number)| {
            let ruling = ruling.as_ref().ok().filter(|ruling| !ruling.rows.is_empty())?;
            Some(HostChange {
                key: decision.key,
                number,
                rows: ruling.rows.clone(),
                needs_person: ruling.needs_person,
                is_revert: matches!(decision.command, Command::Revert(_)),
                reason: decision.reason.as_deref().map(fit_column),
            })
        })
        .collect();
    let written =
        store::write_changes(tx, schema, (batch.id, batch.author.actor()), &changes, now_ms()).await?;
    let mut written = written.into_iter();
    let decided = |(decision, ruling): (&Decision, Result<Ruling, Refusal>)| {
        let ruling = ruling?;
        let row_ids = if ruling.rows.is_empty() { Vec::new() } else { written.next().unwrap_or_default() };
        let mut decided = result_of(decision, ruling);
        // Of rows that are changed together, the new row comes last.
        let last = row_ids.last().filter(|_| decided.staff.is_some()).map(|(mapping, _)| *mapping);
        decided.mapping = decided.mapping.or(last);
        decided.audits = row_ids.into_iter().map(|(_, audit)| audit).collect();
        Ok(decided)
    };
    Ok(decisions.iter().zip(rulings).map(decided).collect())
}

/// Predicts the results of decisions. Writes nothing and locks nothing.
pub async fn predict(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    decisions: &[Decision],
) -> Result<DecisionResults, StoreError> {
    let rulings = rulings(tx, schema, decisions).await?;
    let predicted = decisions.iter().zip(rulings).map(|(decision, ruling)| Ok(result_of(decision, ruling?)));
    Ok(predicted.collect())
}

/// Runs [`decide`] in its own transaction, which rolls back and retries when the gateway holds a lock. On
/// failure nothing is decided.
pub async fn decide_now(
    database: &Database,
    schema: &GatewaySchema,
    batch: &DecisionBatch,
    decisions: &[Decision],
) -> Result<DecisionResults, StoreError> {
    transact_with_retries(database, async |tx: &DatabaseTransaction| {
        decide(tx, schema, batch, decisions).await
    })
    .await
}

/// Runs `work` in a transaction, and retries after a delay if another session holds a lock or has changed
/// what `work` read.
pub(super) async fn transact_with_retries<T>(
    database: &Database,
    mut work: impl AsyncFnMut(&DatabaseTransaction) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    const MAX_ATTEMPTS: u32 = 30;
    let mut delays = Delays::new(Duration::from_millis(5), Duration::from_millis(200));
    let (mut attempts, mut was_rejected) = (1, false);
    loop {
        let result = database.with_deadline(database.transact(async |tx| work(tx).await)).await;
        let Err(error) = &result else { return result };
        let can_retry = match error.kind() {
            StoreErrorKind::Conflict => attempts < MAX_ATTEMPTS,
            // The gateway may have written the same row in the meantime.
            StoreErrorKind::Rejected => !std::mem::replace(&mut was_rejected, true),
            StoreErrorKind::Unavailable | StoreErrorKind::Behind | StoreErrorKind::Schema => false,
        };
        if !can_retry {
            return result;
        }
        tracing::debug!(%error, "rolled back a person's decision, retrying");
        tokio::time::sleep(delays.next()).await;
        attempts += 1;
    }
}

async fn rulings(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    decisions: &[Decision],
) -> Result<Vec<Result<Ruling, Refusal>>, StoreError> {
    let keys: BTreeSet<HostKey> = decisions.iter().map(|decision| decision.key).collect();
    let facts = store::facts(tx, schema, &keys).await?;
    let (mut named_staff, mut reverted) = (BTreeSet::new(), Vec::new());
    for decision in decisions {
        match &decision.command {
            Command::Set(staff) => _ = named_staff.insert(staff.clone()),
            Command::Revert(change) => reverted.extend(&change.rows),
            Command::SwitchOff(_) | Command::SwitchOn(_) => {}
        }
    }
    let staff: BTreeMap<StaffId, StaffFact> = store::staff_facts(tx, schema, &named_staff).await?;
    let company_ids: BTreeSet<CompanyId> = keys.iter().map(|key| key.company).collect();
    let companies = store::existing_companies(tx, &company_ids).await?;
    let since = store::audits_since(tx, schema, reverted).await?;
    let mut decided_hosts = BTreeSet::new();
    let rule = |decision: &Decision| {
        if !companies.contains(&decision.key.company) {
            return Err(Refusal::NoCompany(decision.key.company));
        }
        if !decided_hosts.insert(decision.key) {
            return Err(Refusal::RepeatedHost(decision.key.host));
        }
        let facts = facts.get(&decision.key).ok_or(Refusal::ChangedMeanwhile(decision.key.host))?;
        rule(decision, facts, &staff, &since)
    };
    Ok(decisions.iter().map(rule).collect())
}

/// Returns the result of a decision, without the audit rows and the id of a new mapping.
fn result_of(decision: &Decision, ruling: Ruling) -> Decided {
    let Ruling { effect, mapping, staff, before, .. } = ruling;
    let (staff, staff_name) = staff.map(|staff| (staff.id, staff.name)).unzip();
    Decided { effect, key: decision.key, mapping, staff, staff_name, before, audits: Vec::new() }
}

/// Shortens a string to the size of the column, and removes NUL characters.
pub(super) fn fit_column(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(8_000).collect()
}
