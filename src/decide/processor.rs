//! Decides a batch: decode, load, plan, commit, in one transaction.
//!
//! A malformed message gets its answer while it is decoded and costs its neighbours nothing. When
//! the transaction fails, a database that is away holds the whole batch; one that met somebody
//! else's lock has given way, and is tried again; anything else is somebody's fault, and the batch
//! is halved down to the one culprit, which alone is answered for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use sea_orm::DatabaseTransaction;

use super::delivery_result::DeliveryResult;
use super::in_flight::{InFlight, transactions};
use super::metrics::Meters;
use super::retry_set::RetrySet;
use super::stage::Stage;
use super::trace::BatchTrace;
use crate::config::{Config, Mode, Overwrite, UnknownBooking};
use crate::event::EventId;
use crate::matching::{ChangeSet, Noted, Plan, Policy, Reason, Resolver};
use crate::queue::Delivery;
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::store::{self, Database, GatewaySchema, Hosts, Lookup, StoreError, StoreErrorKind};

/// Everything that deciding needs. Shared by the pipelines of a worker.
#[derive(Debug)]
pub struct Processor {
    database: Database,
    pub(crate) schema: GatewaySchema,
    pub(crate) resolver: Resolver,
    pub(crate) mode: Mode,
    overwrite: Overwrite,
    unknown_booking: UnknownBooking,
    pub(crate) redecide_limit: u32,
    schedule: Vec<Duration>,
    pub(crate) more_waiting: AtomicBool,
    /// The database could not be used when something was decided, or asked about, last.
    pub(crate) held: AtomicBool,
    pub(crate) meters: Arc<Meters>,
}

impl Processor {
    /// A processor for this database.
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
            // Look once at the start: an earlier process may have died between two transactions.
            more_waiting: AtomicBool::new(true),
            held: AtomicBool::new(false),
            meters: Arc::new(Meters::new()),
        }
    }

    /// The database that it works on.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// The delays between attempts.
    pub fn schedule(&self) -> &[Duration] {
        &self.schedule
    }

    /// Decides these deliveries: for each its event's type, where it could be read, and an answer.
    ///
    /// # Errors
    /// When the database cannot be used: nothing is answered then, and the same again later may be.
    /// What was committed before that is committed; deciding it again leaves the same rows.
    pub async fn process(
        &self,
        deliveries: &[Delivery],
    ) -> Result<Vec<(Option<String>, DeliveryResult)>, StoreError> {
        let mut flights = self.read(deliveries);
        self.decide_all(&mut flights, &BatchTrace::default()).await?;
        Ok(flights.into_iter().map(InFlight::finish).collect())
    }

    /// Reads a batch.
    pub(crate) fn read(&self, deliveries: &[Delivery]) -> Vec<InFlight> {
        let stage = Stage::begin(&self.meters, "decode");
        let flights: Vec<InFlight> = deliveries.iter().map(|delivery| self.decode(delivery)).collect();
        crash_points::point("decoded");
        stage.end();
        self.meters.received(flights.iter().map(|flight| flight.named));
        flights
    }

    /// Answers all of these that have no answer yet, in as many transactions as it takes. When it fails,
    /// those that were decided before keep their answers.
    pub(crate) async fn decide_all(
        &self,
        flights: &mut [InFlight],
        trace: &BatchTrace,
    ) -> Result<(), StoreError> {
        let mut parts = RetrySet::new(transactions(flights));
        while let Some(mut part) = parts.next().await {
            match self.decide(flights, &part.items, trace).await {
                Ok(answers) => {
                    self.held.store(false, Ordering::Relaxed);
                    parts.succeeded();
                    for (index, answer) in part.items.iter().zip(answers) {
                        flights[*index].answer = answer;
                    }
                    part.items.retain(|index| flights[*index].answer.is_none());
                    parts.requeue(part);
                }
                Err(Failure::Held(error)) => {
                    self.held.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                Err(Failure::InTheWay) => parts.conflicted(part),
                Err(Failure::Culprit(_)) if part.items.len() > 1 => parts.halve(part),
                Err(Failure::Culprit(answer)) => {
                    // Of it alone: halving has failed with it several times before.
                    self.meters.failed();
                    flights[part.items[0]].answer = Some(answer);
                }
            }
        }
        let put_off = parts.put_off();
        if !put_off.is_empty() {
            // A locked table is in everybody's way: that is an outage.
            self.probe().await?;
            tracing::info!(
                events = put_off.len(),
                "somebody else keeps rows locked: these events are put off"
            );
        }
        for index in put_off {
            flights[index].answer = Some(DeliveryResult::Deferred);
        }
        Ok(())
    }

    pub(crate) fn decode(&self, delivery: &Delivery) -> InFlight {
        let is_last = delivery.attempt as usize >= self.schedule.len();
        InFlight::of(delivery, is_last && self.unknown_booking == UnknownBooking::Ignore)
    }

    /// Decides these flights in one transaction. None: a row that it is about is locked.
    async fn decide(
        &self,
        flights: &[InFlight],
        part: &[usize],
        trace: &BatchTrace,
    ) -> Result<Vec<Option<DeliveryResult>>, Failure> {
        let attempt = Box::pin(self.database.in_time(self.transact(flights, part, trace)));
        let error = match AssertUnwindSafe(attempt).catch_unwind().await {
            Ok(Ok(answers)) => return Ok(answers),
            Ok(Err(error)) => error,
            Err(_) => return Err(Failure::Culprit(DeliveryResult::poison())),
        };
        match error.kind() {
            StoreErrorKind::Unavailable | StoreErrorKind::Behind | StoreErrorKind::Schema => {
                Err(Failure::Held(error))
            }
            StoreErrorKind::Conflict => {
                tracing::debug!(%error, events = part.len(), "a transaction gave way");
                Err(Failure::InTheWay)
            }
            StoreErrorKind::Rejected => {
                // A full disk refuses everything: that is nobody's fault.
                if let Err(error) = self.probe().await {
                    return Err(Failure::Held(error));
                }
                tracing::warn!(%error, events = part.len(), "the database did not take a transaction");
                Err(Failure::Culprit(DeliveryResult::Retry(Reason::Refused, error.to_string())))
            }
        }
    }

    async fn transact(
        &self,
        flights: &[InFlight],
        part: &[usize],
        trace: &BatchTrace,
    ) -> Result<Vec<Option<DeliveryResult>>, StoreError> {
        let work = |hosts| self.database.transact(async move |tx| self.work(tx, flights, part, hosts).await);
        let Worked { answers, more_waiting, noted, changes, commit } = match work(Hosts::Shared).await {
            Err(StoreError::SharedHost) => work(Hosts::Alone).await?,
            done => done?,
        };
        crash_points::point("after_commit");
        trace.committed(part, &answers, commit.begun_at);
        commit.end();
        self.meters.committed(&noted, &changes);
        if more_waiting {
            self.look_for_waiting();
        }
        Ok(answers)
    }

    async fn work(
        &self,
        tx: &DatabaseTransaction,
        flights: &[InFlight],
        part: &[usize],
        hosts: Hosts,
    ) -> Result<Worked<'_>, StoreError> {
        let load = Stage::begin(&self.meters, "load");
        let works = || part.iter().map(|index| &flights[*index]);
        let events: Vec<Lookup<'_>> = works().filter_map(InFlight::lookup).collect();
        let others: Vec<&EventId> = works().filter_map(InFlight::ignored).collect();

        let (schema, resolver, limit) = (&self.schema, &self.resolver, self.redecide_limit);
        let mut batch = match self.mode {
            Mode::Assign => store::load(tx, schema, resolver, &events, &others, limit, hosts).await?,
            Mode::Observe => store::observe(tx, schema, resolver, &events, &others, limit).await?,
        };
        crash_points::point("loaded");
        load.end();
        let planning = Stage::begin(&self.meters, "plan");
        let complete: Vec<bool> = batch.targets.iter().map(|targets| batch.is_complete(targets)).collect();
        let policy = self.policy(now_ms());
        let mut plan = Plan::new(std::mem::take(&mut batch.loaded), &self.resolver, policy);
        let mut targets = batch.targets.iter().zip(complete);
        let answers = works().map(|flight| {
            let targets = match flight.lookup() {
                Some(_) => targets.next().filter(|(_, is_complete)| *is_complete)?.0.as_slice(),
                None => &[],
            };
            Some(flight.answer_by(&mut plan, targets))
        });
        let answers: Vec<Option<DeliveryResult>> = answers.collect();
        let noted = plan.noted();
        let changes = plan.finish();
        batch.allows(&changes)?;
        planning.end();
        let commit = Stage::begin(&self.meters, "commit");
        for (flight, answer) in works().zip(&answers) {
            if let (Some(copy), Some(DeliveryResult::Done(outcome))) = (&flight.replayed, answer) {
                store::end_decided(tx, copy, *outcome, policy.now_ms).await?;
            }
        }
        store::commit(tx, &self.schema, &changes).await?;
        crash_points::point("before_commit");
        Ok(Worked { answers, more_waiting: batch.more_waiting, noted, changes, commit })
    }

    pub(crate) fn observes(&self) -> bool {
        self.mode == Mode::Observe
    }

    pub(crate) fn policy(&self, now_ms: i64) -> Policy {
        Policy { mode: self.mode, overwrite: self.overwrite, now_ms }
    }
}

/// What one transaction did.
struct Worked<'m> {
    answers: Vec<Option<DeliveryResult>>,
    more_waiting: bool,
    noted: Noted,
    changes: ChangeSet,
    commit: Stage<'m>,
}

/// Why a part of a batch was not decided.
enum Failure {
    /// The database cannot be used: nobody's fault.
    Held(StoreError),
    /// Somebody else has locked what it needs.
    InTheWay,
    /// One of the part is the culprit; if it is alone, this is its answer.
    Culprit(DeliveryResult),
}
