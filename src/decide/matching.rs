//! Reads what deciding needs, and in between asks who the new hosts are: each host once. What is locked along follows
//! from the answers, and the plan uses them.

use std::collections::BTreeSet;

use sea_orm::DatabaseTransaction;

use super::in_flight::InFlight;
use super::processor::Processor;
use crate::event::EventId;
use crate::matching::{Loaded, Resolved};
use crate::store::{self, Locked, Lookup, Purpose, StoreError};

/// Reads for these deliveries, and notes with each what its bookings mean. `before`: what a dry run carries along
/// from those before them.
///
/// # Errors
/// [`StoreError`]
pub(super) async fn load(
    processor: &Processor,
    tx: &DatabaseTransaction,
    part: &mut [&mut InFlight],
    purpose: Purpose,
    before: Option<Loaded>,
) -> Result<(Loaded, Resolved, Locked), StoreError> {
    let Processor { schema, resolver, redecide_limit, .. } = processor;
    let lookups: Vec<Lookup<'_>> = part.iter().filter_map(|flight| flight.lookup()).collect();
    let events: BTreeSet<&EventId> = part
        .iter()
        .filter_map(|flight| flight.lookup().map(|lookup| &lookup.event.id).or(flight.ignored()))
        .collect();

    let mut batch = store::load_hosts(tx, schema, &lookups, purpose).await?;
    let before = before.map(|mut before| {
        before.absorb(std::mem::take(&mut batch.loaded));
        before
    });
    let directory = &before.as_ref().unwrap_or(&batch.loaded).directory;
    let mut resolved = Resolved::default();
    for (lookup, targets) in lookups.iter().zip(&batch.targets) {
        for (booking, target) in lookup.event.bookings.iter().zip(targets) {
            if let Some((key, host)) = batch.unmapped_host(booking, target) {
                resolved.resolve(resolver, key, host, directory);
            }
        }
    }
    batch.load_appointments(tx, schema, &resolved.matched(), &events, *redecide_limit).await?;

    let mut targets = std::mem::take(&mut batch.targets).into_iter();
    for flight in part.iter_mut().filter(|flight| flight.lookup().is_some()) {
        flight.targets = targets.next().unwrap_or_default();
        flight.is_locked = purpose != Purpose::ReadOnly && !batch.is_complete(&flight.targets);
    }
    let locked = batch.locked;
    let loaded = match before {
        Some(mut before) => {
            before.absorb(batch.loaded);
            before
        }
        None => batch.loaded,
    };
    Ok((loaded, resolved, locked))
}
