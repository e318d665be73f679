//! Decides a batch: decode, load, plan, commit, in one transaction.
//!
//! A malformed message gets its answer while it is decoded and costs its neighbours nothing. When
//! the transaction fails, a database that is away holds the whole batch; one that met somebody
//! else's lock has given way, and is tried again; anything else is somebody's fault, and the batch
//! is halved down to the one culprit, which alone is answered for.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use sea_orm::DatabaseTransaction;

use super::answer::Answer;
use super::letters::replayed;
use super::metrics::{Meters, Named};
use super::parts::Parts;
use super::reading;
use crate::clock::now_ms;
use crate::config::{Config, Mode, Overwrite, UnknownBooking};
use crate::crash;
use crate::event::{BookingEvent, Decoded, EventId, Ignored, Malformed, Shape};
use crate::matching::{ChangeSet, Item, Noted, Outcome, Plan, Policy, Reason, Resolver, Target, Verdict};
use crate::queue::{Delivery, header};
use crate::store::{self, Database, GatewaySchema, Hosts, Lookup, Replayed, StoreError, StoreErrorKind};

/// Bookings decided in one transaction: bounds what is locked, and every list of values.
const BOOKINGS: usize = 500;

/// Everything that deciding needs. Shared by the pipelines of a worker.
#[derive(Debug)]
pub struct Processor {
    database: Database,
    pub(super) schema: GatewaySchema,
    pub(super) resolver: Resolver,
    mode: Mode,
    overwrite: Overwrite,
    unknown_booking: UnknownBooking,
    pub(super) redecide_limit: u32,
    schedule: Vec<Duration>,
    pub(super) more_waiting: AtomicBool,
    pub(super) meters: Arc<Meters>,
}

/// A delivery after decoding: something to decide, or an answer already.
enum Work {
    Event(Box<BookingEvent>),
    Ignored(Ignored),
    Answered(Answer),
}

/// One delivery on its way through.
pub(super) struct Slot {
    work: Work,
    /// As it is counted.
    pub(super) named: Named,
    /// It is the copy of a dead letter.
    replayed: Option<Replayed>,
    publisher: Option<String>,
    received_ms: i64,
    /// It is not the first attempt.
    tried_before: bool,
    /// Its appointment will not be waited for any longer, and that is fine (`calcom.unknown_booking`).
    may_be_unknown: bool,
    answer: Option<Answer>,
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
            meters: Arc::new(Meters::new()),
        }
    }

    /// The database that it works on.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Whether deciding is possible at all now: asked by doing it, and leaving nothing behind.
    ///
    /// # Errors
    /// What stands in the way.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.database.in_time(store::probe(&self.database, &self.schema, self.mode)).await
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
    ) -> Result<Vec<(Option<String>, Answer)>, StoreError> {
        let mut slots = self.read(deliveries);
        self.decide_all(&mut slots).await?;
        Ok(slots.into_iter().map(Slot::finish).collect())
    }

    /// Reads a batch.
    pub(super) fn read(&self, deliveries: &[Delivery]) -> Vec<Slot> {
        let begun = Instant::now();
        let slots: Vec<Slot> = deliveries.iter().map(|delivery| self.decode(delivery)).collect();
        crash::point("decoded");
        self.meters.stage("decode", begun.elapsed());
        self.meters.received(slots.iter().map(|slot| slot.named));
        slots
    }

    /// Answers all of these that have no answer yet, in as many transactions as it takes. When it fails,
    /// those that were decided before keep their answers.
    pub(super) async fn decide_all(&self, slots: &mut [Slot]) -> Result<(), StoreError> {
        let mut parts = Parts::new(transactions(slots));
        while let Some(mut part) = parts.next().await {
            match self.decide(slots, &part.items).await {
                Ok(answers) => {
                    parts.went_well();
                    for (index, answer) in part.items.iter().zip(answers) {
                        slots[*index].answer = answer;
                    }
                    part.items.retain(|index| slots[*index].answer.is_none());
                    parts.left_over(part);
                }
                Err(Failure::Held(error)) => return Err(error),
                Err(Failure::InTheWay) => parts.collided(part),
                Err(Failure::Culprit(_)) if part.items.len() > 1 => parts.halve(part),
                Err(Failure::Culprit(answer)) => slots[part.items[0]].answer = Some(answer),
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
            slots[index].answer = Some(Answer::PutOff);
        }
        Ok(())
    }

    pub(super) fn decode(&self, delivery: &Delivery) -> Slot {
        let read = reading::read(delivery);
        let named = Named::of(delivery, read.as_ref());
        let work = match read {
            Some(Ok(Decoded::Event(event))) => Work::Event(event),
            Some(Ok(Decoded::Ignored(ignored))) => Work::Ignored(ignored),
            Some(Err(malformed)) => Work::Answered(unreadable(&malformed)),
            None => Work::Answered(Answer::Dead(Reason::Poison, "reading it made the program fail".into())),
        };
        let last = delivery.attempt as usize >= self.schedule.len();
        let calcom = matches!(&work, Work::Event(event) if event.content == Shape::Calcom);
        Slot {
            work,
            named,
            replayed: replayed(delivery),
            publisher: delivery.message.headers.get(header::PUBLISHER).cloned(),
            received_ms: delivery.first_seen_ms,
            tried_before: delivery.attempt > 0,
            may_be_unknown: calcom && last && self.unknown_booking == UnknownBooking::Ignore,
            answer: None,
        }
    }

    /// Decides these slots in one transaction. None: a row that it is about is locked.
    async fn decide(&self, slots: &[Slot], part: &[usize]) -> Result<Vec<Option<Answer>>, Failure> {
        let attempt =
            AssertUnwindSafe(Box::pin(self.database.in_time(self.transact(slots, part)))).catch_unwind();
        let error = match attempt.await {
            Ok(Ok(answers)) => return Ok(answers),
            Ok(Err(error)) => error,
            Err(_) => {
                self.meters.failed();
                return Err(Failure::Culprit(Answer::poison()));
            }
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
                self.meters.failed();
                Err(Failure::Culprit(Answer::Again(Reason::Refused, error.to_string())))
            }
        }
    }

    async fn transact(&self, slots: &[Slot], part: &[usize]) -> Result<Vec<Option<Answer>>, StoreError> {
        let work = |hosts| self.database.transact(async move |tx| self.work(tx, slots, part, hosts).await);
        let Worked { answers, more_waiting, noted, changes, planned } = match work(Hosts::Shared).await {
            Err(StoreError::SharedHost) => work(Hosts::Alone).await?,
            done => done?,
        };
        crash::point("after_commit");
        self.meters.stage("commit", planned.elapsed());
        self.meters.committed(&noted, &changes);
        if more_waiting {
            self.look_for_waiting();
        }
        Ok(answers)
    }

    async fn work(
        &self,
        tx: &DatabaseTransaction,
        slots: &[Slot],
        part: &[usize],
        hosts: Hosts,
    ) -> Result<Worked, StoreError> {
        let begun = Instant::now();
        let works = || part.iter().map(|index| &slots[*index]);
        let events: Vec<Lookup<'_>> = works().filter_map(Slot::lookup).collect();
        let others: Vec<&EventId> = works()
            .filter_map(|slot| if let Work::Ignored(it) = &slot.work { Some(&it.id) } else { None })
            .collect();

        let (schema, resolver, limit) = (&self.schema, &self.resolver, self.redecide_limit);
        let mut batch = match self.mode {
            Mode::Assign => store::load(tx, schema, resolver, &events, &others, limit, hosts).await?,
            Mode::Observe => store::observe(tx, schema, resolver, &events, &others, limit).await?,
        };
        crash::point("loaded");
        let loaded = Instant::now();
        self.meters.stage("load", loaded - begun);
        let complete: Vec<bool> = batch.targets.iter().map(|targets| batch.is_complete(targets)).collect();
        let policy = self.policy(now_ms());
        let mut plan = Plan::new(std::mem::take(&mut batch.loaded), &self.resolver, policy);
        let mut targets = batch.targets.iter().zip(complete);
        let answers = works().map(|slot| {
            let targets = match slot.lookup() {
                Some(_) => targets.next().filter(|(_, is_complete)| *is_complete)?.0.as_slice(),
                None => &[],
            };
            Some(slot.answer_by(&mut plan, targets))
        });
        let answers: Vec<Option<Answer>> = answers.collect();
        let noted = plan.noted();
        let changes = plan.finish();
        batch.allows(&changes)?;
        let planned = Instant::now();
        self.meters.stage("plan", planned - loaded);
        for (slot, answer) in works().zip(&answers) {
            if let (Some(copy), Some(Answer::Done(outcome))) = (&slot.replayed, answer) {
                store::end_decided(tx, copy, *outcome, policy.now_ms).await?;
            }
        }
        store::commit(tx, &self.schema, &changes).await?;
        crash::point("before_commit");
        Ok(Worked { answers, more_waiting: batch.more_waiting, noted, changes, planned })
    }

    pub(super) fn observes(&self) -> bool {
        self.mode == Mode::Observe
    }

    pub(super) fn policy(&self, now_ms: i64) -> Policy {
        Policy { mode: self.mode, overwrite: self.overwrite, now_ms }
    }
}

/// What is to be decided, in parts of at most [`BOOKINGS`] bookings.
pub(super) fn transactions(slots: &[Slot]) -> Vec<Vec<usize>> {
    let (mut parts, mut part, mut bookings) = (Vec::new(), Vec::new(), 0);
    for (index, slot) in slots.iter().enumerate().filter(|(_, slot)| slot.answer.is_none()) {
        let size = match &slot.work {
            Work::Event(event) => event.bookings.len(),
            Work::Ignored(_) => 1,
            Work::Answered(_) => continue,
        };
        if bookings + size > BOOKINGS && !part.is_empty() {
            parts.push(std::mem::take(&mut part));
            bookings = 0;
        }
        part.push(index);
        bookings += size;
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// What one transaction did.
struct Worked {
    answers: Vec<Option<Answer>>,
    more_waiting: bool,
    noted: Noted,
    changes: ChangeSet,
    planned: Instant,
}

/// Why a part of a batch was not decided.
enum Failure {
    /// The database cannot be used: nobody's fault.
    Held(StoreError),
    /// Somebody else has locked what it needs.
    InTheWay,
    /// One of the part is the culprit; if it is alone, this is its answer.
    Culprit(Answer),
}

fn answer(verdict: Verdict) -> Answer {
    match verdict {
        Verdict::Decided(outcome, _) => Answer::Done(outcome),
        Verdict::NotYet => {
            let why = "no appointment has this booking (yet)";
            Answer::Again(Reason::AppointmentNotFound, why.into())
        }
        Verdict::Refused(reason, why) => Answer::Dead(reason, why),
    }
}

fn unreadable(malformed: &Malformed) -> Answer {
    Answer::Dead(malformed.kind.into(), malformed.to_string())
}

impl Slot {
    /// An event that was decided before.
    pub(super) fn again(event: BookingEvent, decided_ms: i64) -> Self {
        Self {
            work: Work::Event(Box::new(event)),
            named: Named::default(),
            replayed: None,
            publisher: None,
            received_ms: decided_ms,
            tried_before: true,
            may_be_unknown: false,
            answer: None,
        }
    }

    /// What the plan says about it.
    pub(super) fn answer_by(&self, plan: &mut Plan<'_>, targets: &[Target]) -> Answer {
        let publisher = self.publisher.as_deref();
        match &self.work {
            Work::Event(event) => {
                let Self { received_ms, may_be_unknown, .. } = *self;
                answer(plan.event(&Item { event, targets, publisher, received_ms, may_be_unknown }))
            }
            Work::Ignored(ignored) => {
                plan.ignored(ignored, publisher, self.received_ms);
                Answer::Done(Outcome::Ignored)
            }
            Work::Answered(answer) => answer.clone(),
        }
    }

    /// The answer that it had as soon as it was read.
    pub(super) fn answered(&self) -> Option<Answer> {
        if let Work::Answered(answer) = &self.work { Some(answer.clone()) } else { None }
    }

    pub(super) fn lookup(&self) -> Option<Lookup<'_>> {
        match &self.work {
            Work::Event(event) => Some(Lookup { event, tried_before: self.tried_before }),
            Work::Ignored(_) | Work::Answered(_) => None,
        }
    }

    pub(super) fn finish(self) -> (Option<String>, Answer) {
        match (self.work, self.answer) {
            (Work::Answered(answer), _) => (None, answer),
            (Work::Event(event), Some(answer)) => (Some(event.event_type), answer),
            (Work::Ignored(ignored), Some(answer)) => (Some(ignored.event_type), answer),
            (_, None) => (None, Answer::undecided()),
        }
    }
}
