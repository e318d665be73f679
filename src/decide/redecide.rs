//! Decides appointments again without a delivery: those that wait for a host that now has a mapping, and
//! those that were decided while workers only observed.

use std::collections::BTreeSet;

use sea_orm::DatabaseTransaction;

use super::in_flight::InFlight;
use super::processor::Processor;
use super::retry_set::RetrySet;
use crate::event::AppointmentId;
use crate::matching::{HostKey, Plan};
use crate::runtime::clock::now_ms;
use crate::store::{self, StoreError, StoreErrorKind};

/// One read returns the appointments for this many transactions, because each read sorts all waiting appointments,
/// which for a host with many of them would cost more than deciding.
const TRANSACTIONS_PER_READ: u32 = 50;

/// The number of observed appointments that are read at once.
const OBSERVED_CHUNK: u64 = 200;

/// Decides again the appointments that wait for a host that has a mapping by now, a bounded number in each
/// transaction, until none is left. After a failure the next call continues.
pub async fn redecide_waiting(processor: &Processor) -> Result<(), StoreError> {
    // No host is mapped while observing.
    while !processor.observes() && redecide_chunk(processor).await? > 0 {}
    Ok(())
}

async fn redecide_chunk(processor: &Processor) -> Result<usize, StoreError> {
    let (database, limit) = (&processor.database, processor.redecide_limit.max(1));
    let found = store::waiting_appointments(
        database.connection(),
        &processor.schema,
        limit.saturating_mul(TRANSACTIONS_PER_READ),
    );
    let found = database.with_deadline(found).await?;
    let size = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut retries = RetrySet::new(found.chunks(size).map(<[_]>::to_vec));
    let mut decided = 0;
    while let Some(mut part) = retries.next().await {
        let work = async |tx: &DatabaseTransaction| redecide(processor, tx, &part.items).await;
        match database.with_deadline(database.transact(work)).await {
            Ok((some, locked)) => {
                retries.succeeded();
                decided += some;
                part.items.retain(|(id, _)| locked.contains(id));
                retries.requeue(part);
            }
            Err(error) if error.kind() == StoreErrorKind::Conflict => retries.conflicted(part),
            Err(error) => return Err(error),
        }
    }
    match retries.deferred().len() {
        0 => Ok(decided),
        some => Err(StoreError::Conflict(format!("{some} waiting appointments are locked"))),
    }
}

/// Decides these appointments again. Returns the number of decided appointments, and the locked ones.
async fn redecide(
    processor: &Processor,
    tx: &DatabaseTransaction,
    waiting: &[(AppointmentId, HostKey)],
) -> Result<(usize, BTreeSet<AppointmentId>), StoreError> {
    let mut locked: BTreeSet<AppointmentId> = waiting.iter().map(|(id, _)| *id).collect();
    let loaded = store::load_waiting(tx, &processor.schema, waiting).await?;
    locked.retain(|id| !loaded.appointments.contains_key(id));
    let mut plan = Plan::new(loaded, &processor.resolver, processor.policy(now_ms()));
    plan.redecide_waiting();
    let changes = plan.finish();
    store::commit(tx, &processor.schema, &changes).await?;
    Ok((changes.assignments.len(), locked))
}

/// After the mode has changed from `observe` to `assign`, decides again each appointment that was only
/// observed, as if its newest event arrived again. Nothing is lost, and decisions that people or other
/// programs made in the meantime are kept. The next call decides the appointments
/// that cannot be decided now. Returns whether more appointments wait. After a failure the next call continues.
pub async fn write_observed(processor: &Processor) -> Result<bool, StoreError> {
    let (mut after, mut decided, mut more_waiting) = (AppointmentId(0), 0, false);
    while !processor.observes() {
        let found = store::observed(processor.database.connection(), after, OBSERVED_CHUNK);
        let some = processor.database.with_deadline(found).await?;
        let Some(last) = some.last().map(|assignment| assignment.appointment) else { break };
        after = last;
        let mut flights: Vec<InFlight> = some
            .iter()
            .filter_map(|assignment| {
                Some(InFlight::from_event(assignment.newest_event()?, assignment.decided_ms))
            })
            .collect();
        processor.decide_all(&mut flights).await?;
        more_waiting |= flights.iter().any(|flight| flight.more_waiting);
        decided += flights.len();
    }
    if decided > 0 {
        tracing::info!(appointments = decided, "appointments that were only observed were decided again");
    }
    Ok(more_waiting)
}
