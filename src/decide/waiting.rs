//! Appointments that wait for a host which has become known: those for which one transaction was too
//! small are decided in others.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use sea_orm::DatabaseTransaction;

use super::processor::Processor;
use super::retry_set::RetrySet;
use crate::event::AppointmentId;
use crate::matching::{HostKey, Plan};
use crate::runtime::clock::now_ms;
use crate::store::{self, StoreError, StoreErrorKind};

/// So many transactions' worth are looked for at once: the look reads and sorts all that wait, which would
/// cost a host with many appointments more than deciding them.
const AHEAD: u32 = 50;

impl Processor {
    /// Makes the next [`Processor::redecide_waiting`] look, whatever this process knows: another
    /// one may have ended between two transactions.
    pub fn look_for_waiting(&self) {
        self.more_waiting.store(true, Ordering::SeqCst);
    }

    /// Decides appointments again that wait for a host which a match has mapped by now, a bounded
    /// number in each transaction, until none is left.
    ///
    /// # Errors
    /// [`StoreError`]; it is tried again the next time.
    pub async fn redecide_waiting(&self) -> Result<(), StoreError> {
        if self.observes() {
            return Ok(()); // Nobody is mapped while observing.
        }
        while self.more_waiting.swap(false, Ordering::SeqCst) {
            let result = self.redecide_some().await;
            if !matches!(result, Ok(0)) {
                self.look_for_waiting();
            }
            result?;
        }
        Ok(())
    }

    async fn redecide_some(&self) -> Result<usize, StoreError> {
        let limit = self.redecide_limit.max(1);
        let look = store::waiting(self.database().connection(), &self.schema, limit.saturating_mul(AHEAD));
        let found = self.database().in_time(look).await?;
        let size = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut parts = RetrySet::new(found.chunks(size).map(<[_]>::to_vec));
        let mut decided = 0;
        while let Some(mut part) = parts.next().await {
            let work = async |tx: &DatabaseTransaction| self.redecide(tx, &part.items).await;
            match self.database().in_time(self.database().transact(work)).await {
                Ok((some, locked)) => {
                    parts.succeeded();
                    decided += some;
                    part.items.retain(|(id, _)| locked.contains(id));
                    parts.requeue(part);
                }
                Err(error) if error.kind() == StoreErrorKind::Conflict => parts.conflicted(part),
                Err(error) => return Err(error),
            }
        }
        match parts.put_off().len() {
            0 => Ok(decided),
            some => Err(StoreError::Conflict(format!("{some} waiting appointments are locked"))),
        }
    }

    /// How many were decided, and which could not be.
    async fn redecide(
        &self,
        tx: &DatabaseTransaction,
        waiting: &[(AppointmentId, HostKey)],
    ) -> Result<(usize, BTreeSet<AppointmentId>), StoreError> {
        let mut locked: BTreeSet<AppointmentId> = waiting.iter().map(|(id, _)| *id).collect();
        let loaded = store::load_waiting(tx, &self.schema, waiting).await?;
        locked.retain(|id| !loaded.appointments.contains_key(id));
        let mut plan = Plan::new(loaded, &self.resolver, self.policy(now_ms()));
        plan.redecide_waiting();
        let changes = plan.finish();
        store::commit(tx, &self.schema, &changes).await?;
        Ok((changes.assignments.len(), locked))
    }
}
