//! Decides a batch: decode, load, plan and commit, in one transaction.
//!
//! A malformed message gets its result while it is decoded and does not affect the others. If the transaction
//! fails because the database is unavailable, the whole batch is held, unless the database can be used and a large message may have
//! made it end the connection. If another session has locked a row,
//! it is rolled back and retried. Any other failure is due to one delivery, so the batch is halved until that
//! delivery is alone, and gets the failure as its result.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sea_orm::DatabaseTransaction;

use super::delivery_result::DeliveryResult;
use super::dry_run::DryRun;
use super::in_flight::{InFlight, transactions};
use super::metrics::{Meters, Stage};
use super::retry_set::RetrySet;
use crate::config::{Config, Mode, Overwrite, UnknownBooking};
use crate::event::{EventId, LocalZone};
use crate::matching::{ChangeSet, Loaded, MatchStats, Plan, Policy, Reason, Resolved, Resolver};
use crate::queue::Delivery;
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::store::{
    self, Database, GatewaySchema, HostLockMode, Locked, Lookup, Purpose, StoreError, StoreErrorKind,
};

/// The size of a message in bytes from which it may be the reason why the database ends a connection. Smaller
/// ones fit into every packet.
const LARGE_MESSAGE: usize = 64 * 1024;

/// A large message is at fault if this many attempts in a row with it alone lose the connection, and the
/// database can be used after each.
pub(crate) const LOST_CONNECTIONS: u32 = 3;

/// Everything that deciding needs. The pipelines of a worker share it; it keeps no state between decisions.
#[derive(Debug)]
pub struct Processor {
    pub(crate) database: Database,
    pub(super) schema: GatewaySchema,
    pub(crate) resolver: Resolver,
    mode: Mode,
    overwrite: Overwrite,
    unknown_booking: UnknownBooking,
    pub(super) redecide_limit: u32,
    /// The delays between attempts.
    pub schedule: Vec<Duration>,
    pub(crate) meters: Arc<Meters>,
}

impl Processor {
    /// Creates a processor for this database.
    pub fn new(database: Database, schema: GatewaySchema, config: &Config) -> Self {
        Self {
            database,
            schema,
            resolver: Resolver::new(config.matching.auto_accept),
            mode: config.worker.mode,
            overwrite: config.appointments.overwrite,
            unknown_booking: config.calcom.unknown_booking,
            redecide_limit: config.worker.redecide_limit,
            schedule: config.queue.retry_delays.clone(),
            meters: Arc::new(Meters::new()),
        }
    }

    /// Returns the zone of times that events give without one.
    pub(crate) fn local_zone(&self) -> &LocalZone {
        &self.schema.local_zone
    }

    /// Replaces the strategies.
    #[must_use]
    pub fn with_resolver(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// Begins a dry run without earlier predictions.
    pub fn dry_run(&self) -> DryRun<'_> {
        DryRun { processor: self, state: Loaded::default() }
    }

    /// Checks whether deciding is possible now, by reading and writing as a decision does, without a lasting
    /// effect. The error names the cause.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.database.with_deadline(store::probe(&self.database, &self.schema, self.mode)).await
    }

    /// Decides these deliveries, and returns the result of each. If the database cannot be used, this fails
    /// without any result, and a later call may succeed. Transactions that were committed before stay
    /// committed; deciding their deliveries again leaves the same rows.
    pub async fn process(&self, deliveries: &[Delivery]) -> Result<Vec<DeliveryResult>, StoreError> {
        let mut flights: Vec<InFlight> = deliveries.iter().cloned().map(InFlight::new).collect();
        self.read(&mut flights);
        self.decide_all(&mut flights).await?;
        Ok(flights.into_iter().map(InFlight::into_result).collect())
    }

    /// Decodes a batch.
    pub(crate) fn read(&self, flights: &mut [InFlight]) {
        let stage = Stage::begin(&self.meters, "decode");
        flights.iter_mut().for_each(|flight| self.decode(flight));
        crash_points::point("decoded");
        stage.end();
        self.meters.count_received(flights.iter().map(|flight| flight.labels));
    }

    pub(super) fn decode(&self, flight: &mut InFlight) {
        let is_last = flight.delivery.attempt as usize >= self.schedule.len();
        flight.read(is_last && self.unknown_booking == UnknownBooking::Ignore, self.local_zone());
    }

    /// Decides all deliveries that have no result yet, in as many transactions as needed. On failure,
    /// deliveries that were decided before keep their results.
    pub(crate) async fn decide_all(&self, flights: &mut [InFlight]) -> Result<(), StoreError> {
        let mut retries = RetrySet::new(transactions(flights));
        while let Some(mut part) = retries.next().await {
            match self.decide(&mut part.items).await {
                Ok(()) => {
                    retries.succeeded();
                    part.items.retain(|flight| flight.result.is_none());
                    retries.requeue(part);
                }
                Err(Failure::Held(error)) => return Err(error),
                Err(Failure::Conflict) => retries.conflicted(part),
                Err(Failure::Culprit(_) | Failure::LostConnection(_)) if part.items.len() > 1 => {
                    retries.halve(part);
                }
                Err(Failure::Culprit(result) | Failure::LostConnection(result)) => {
                    // The fault is counted only here, once: while the batch was halved, the same delivery
                    // failed several times.
                    self.meters.count_fault();
                    part.items.into_iter().for_each(|flight| flight.result = Some(result.clone()));
                }
            }
        }
        let deferred = retries.deferred();
        if !deferred.is_empty() {
            // A locked table blocks every delivery: that is an outage.
            self.probe().await?;
            tracing::info!(
                events = deferred.len(),
                "another session keeps rows locked: these events are deferred"
            );
        }
        deferred.into_iter().for_each(|flight| flight.result = Some(DeliveryResult::Deferred));
        Ok(())
    }

    /// Returns whether the data may be the cause of a failed write: the database has refused it, or has ended
    /// the connection over a large message, and can be used otherwise. `largest`: the size of the largest
    /// message, in bytes. Fails if the database cannot be used.
    pub(crate) async fn is_due_to_data(
        &self,
        error: &StoreError,
        largest: usize,
    ) -> Result<bool, StoreError> {
        let may_be = match error.kind() {
            StoreErrorKind::Rejected => true,
            // A packet that is too large resets the connection, often without an error from the server.
            StoreErrorKind::Unavailable => largest >= LARGE_MESSAGE,
            StoreErrorKind::Conflict | StoreErrorKind::Behind | StoreErrorKind::Schema => false,
        };
        if may_be {
            self.probe().await?;
        }
        Ok(may_be)
    }

    /// Decides these deliveries in one transaction. Deliveries whose rows are locked have no result
    /// afterwards. A large delivery that is alone is tried again before it counts as the culprit: any
    /// connection may break once.
    async fn decide(&self, part: &mut [&mut InFlight]) -> Result<(), Failure> {
        let is_alone = part.len() == 1;
        for _ in 1..LOST_CONNECTIONS {
            match self.decide_once(part).await {
                Err(Failure::LostConnection(_)) if is_alone => {}
                result => return result,
            }
        }
        self.decide_once(part).await
    }

    async fn decide_once(&self, part: &mut [&mut InFlight]) -> Result<(), Failure> {
        let events = part.len();
        let attempt = Box::pin(self.database.with_deadline(self.transact(part)));
        let error = match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::Culprit(DeliveryResult::poison())),
        };
        match error.kind() {
            StoreErrorKind::Conflict => {
                tracing::debug!(%error, events, "a transaction was rolled back and is retried");
                Err(Failure::Conflict)
            }
            kind => {
                let largest = part.iter().map(|flight| flight.delivery.message.body.len()).max();
                match self.is_due_to_data(&error, largest.unwrap_or_default()).await {
                    Ok(true) => {}
                    Ok(false) => return Err(Failure::Held(error)),
                    // A full disk refuses everything: no delivery is at fault.
                    Err(unusable) => return Err(Failure::Held(unusable)),
                }
                tracing::warn!(%error, events, "the database refused a transaction");
                let result = DeliveryResult::Retry(Reason::Refused, error.to_string());
                Err(match kind {
                    StoreErrorKind::Unavailable => Failure::LostConnection(result),
                    _ => Failure::Culprit(result),
                })
            }
        }
    }

    async fn transact(&self, part: &mut [&mut InFlight]) -> Result<(), StoreError> {
        let PlannedTransaction { more_waiting, stats, changes, commit } =
            match self.attempt(part, HostLockMode::Shared).await {
                Err(StoreError::SharedHost) => self.attempt(part, HostLockMode::Exclusive).await?,
                result => result?,
            };
        crash_points::point("after_commit");
        part.iter_mut().for_each(|flight| flight.mark_committed(commit.begun_at, more_waiting));
        commit.end();
        self.meters.count_committed(&stats, &changes);
        Ok(())
    }

    async fn attempt(
        &self,
        part: &mut [&mut InFlight],
        hosts: HostLockMode,
    ) -> Result<PlannedTransaction<'_>, StoreError> {
        self.database.transact(async |tx| self.work(tx, part, hosts).await).await
    }

    async fn work(
        &self,
        tx: &DatabaseTransaction,
        part: &mut [&mut InFlight],
        hosts: HostLockMode,
    ) -> Result<PlannedTransaction<'_>, StoreError> {
        let load = Stage::begin(&self.meters, "load");
        let purpose = if self.observes() { Purpose::Observe } else { Purpose::Write(hosts) };
        let (loaded, resolved, locked) = self.load(tx, part, purpose, None).await?;
        crash_points::point("loaded");
        load.end();
        let planning = Stage::begin(&self.meters, "plan");
        let policy = self.policy(now_ms());
        let mut plan = Plan::new(loaded, &self.resolver, policy).with_resolutions(resolved);
        part.iter_mut().for_each(|flight| flight.plan(&mut plan));
        let stats = plan.take_stats();
        let changes = plan.finish();
        locked.allow(&changes)?;
        planning.end();
        let commit = Stage::begin(&self.meters, "commit");
        for flight in &*part {
            if let (Some(copy), Some(DeliveryResult::Done(outcome))) = (&flight.replayed, &flight.planned) {
                store::end_decided(tx, copy, *outcome, policy.now_ms).await?;
            }
        }
        store::commit(tx, &self.schema, &changes).await?;
        crash_points::point("before_commit");
        Ok(PlannedTransaction { more_waiting: locked.more_waiting, stats, changes, commit })
    }

    /// Reads the rows that deciding these deliveries needs, and resolves each new host once. The resolutions
    /// determine which rows are locked, and the plan uses them. Sets the targets of each delivery's bookings.
    /// `before`: the state that a dry run keeps from earlier deliveries.
    pub(super) async fn load(
        &self,
        tx: &DatabaseTransaction,
        part: &mut [&mut InFlight],
        purpose: Purpose,
        before: Option<Loaded>,
    ) -> Result<(Loaded, Resolved, Locked), StoreError> {
        let Processor { schema, resolver, redecide_limit, .. } = self;
        let lookups: Vec<Lookup<'_>> = part.iter().filter_map(|flight| flight.lookup()).collect();
        let events: BTreeSet<&EventId> = part
            .iter()
            .filter_map(|flight| flight.lookup().map(|lookup| &lookup.event.id).or(flight.ignored()))
            .collect();

        let mut batch = store::load_hosts(tx, schema, &lookups, purpose, before.as_ref()).await?;
        let before = before.map(|mut before| {
            before.add_missing(std::mem::take(&mut batch.loaded));
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
                before.add_missing(batch.loaded);
                before
            }
            None => batch.loaded,
        };
        Ok((loaded, resolved, locked))
    }

    pub(super) fn observes(&self) -> bool {
        self.mode == Mode::Observe
    }

    pub(super) fn policy(&self, now_ms: i64) -> Policy {
        Policy { mode: self.mode, overwrite: self.overwrite, now_ms }
    }
}

/// What one transaction has planned and written, before its commit.
struct PlannedTransaction<'m> {
    more_waiting: bool,
    stats: MatchStats,
    changes: ChangeSet,
    commit: Stage<'m>,
}

/// The reason why a part of a batch was not decided.
enum Failure {
    /// The database cannot be used: no delivery is at fault.
    Held(StoreError),
    /// Another session has locked rows that the part needs.
    Conflict,
    /// One delivery of the part is the cause; if the part has only that delivery, this is its result.
    Culprit(DeliveryResult),
    /// The same, but the connection was lost while a large message was written: it may have been an accident.
    LostConnection(DeliveryResult),
}
