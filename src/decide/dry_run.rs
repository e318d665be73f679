//! Predicts what deciding would do: the same decoding, the same rows and the same plan, in a transaction
//! that only reads, locks nothing and is rolled back.
//!
//! Each delivery sees the changes that all earlier deliveries would have made.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::delivery_result::DeliveryResult;
use super::in_flight::{InFlight, transactions};
use super::processor::Processor;
use crate::config::Mode;
use crate::event::{AppointmentId, BookingEvent, CompanyId, Host, StaffId};
use crate::matching::{
    Appointment, Assignment, ChangeSet, FoundBy, HostKey, Item, Loaded, Mapping, MappingSource, Outcome,
    Plan, Policy, Resolver, Target,
};
use crate::queue::{Delivery, Message};
use crate::runtime::clock::now_ms;
use crate::store::{self, Purpose, StoreError};

/// The predicted result of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The final result, after every attempt: never [`DeliveryResult::Deferred`].
    pub result: DeliveryResult,
    /// A code with more detail about the decision.
    pub code: Option<Cow<'static, str>>,
    /// The appointment of the message, or the first one of several.
    pub appointment: Option<AppointmentId>,
    /// The strategy that would find a member of staff.
    pub strategy: Option<String>,
}

/// The predicted result of each booking of one event, and the changes to its appointments.
#[derive(Debug)]
pub struct EventPrediction {
    /// The target and the predicted result of each of its bookings.
    pub(crate) bookings: Vec<(Target, Prediction)>,
    /// Its appointments as they are now.
    pub(crate) before: BTreeMap<AppointmentId, Appointment>,
    pub(crate) changes: ChangeSet,
}

/// The decision that would have been made on one recorded booking.
#[derive(Debug)]
pub struct Trial {
    /// The decision, on an appointment without staff.
    pub decided: Assignment,
    /// The member of staff to whom a person has mapped the host, if any.
    pub by_person: Option<StaffId>,
    /// If a person has mapped the host, the member of staff that the chain without mappings by people would
    /// have found.
    pub without_people: Option<StaffId>,
}

/// A dry run. It keeps the state that earlier predictions would have left.
#[derive(Debug)]
pub struct DryRun<'p> {
    pub(super) processor: &'p Processor,
    pub(super) state: Loaded,
}

impl<'p> DryRun<'p> {
    /// Predicts the results of these messages, each with the time of its first receipt, in this order
    /// and after all earlier predictions.
    pub async fn predict(&mut self, messages: Vec<(Message, i64)>) -> Result<Vec<Prediction>, StoreError> {
        // The last attempt decides the final result.
        let attempt = u32::try_from(self.processor.schedule.len()).unwrap_or(u32::MAX);
        let flight = |(message, first_seen_ms)| {
            let mut flight = InFlight::new(Delivery { message, attempt, first_seen_ms, redelivered: false });
            self.processor.decode(&mut flight);
            flight
        };
        let mut flights: Vec<InFlight> = messages.into_iter().map(flight).collect();
        for mut part in transactions(&mut flights) {
            if !self.plan_part(&mut part).await? {
                // Planning panicked, so plan the messages one by one to find the cause.
                for flight in part {
                    if !self.plan_part(&mut [&mut *flight]).await? {
                        flight.result = Some(DeliveryResult::poison());
                    }
                }
            }
        }
        Ok(flights.into_iter().map(Prediction::of).collect())
    }

    /// Predicts the result of this event if it arrived now and every attempt was made. Each booking
    /// has its own result. `tx` only reads.
    pub async fn predict_event(
        self,
        tx: &DatabaseTransaction,
        event: &BookingEvent,
    ) -> Result<EventPrediction, StoreError> {
        let one = |booking: &_| BookingEvent { bookings: vec![Clone::clone(booking)], ..event.clone() };
        let mut flights: Vec<InFlight> = event
            .bookings
            .iter()
            .map(|booking| InFlight::from_event(one(booking), booking.time.ms))
            .collect();
        let mut part: Vec<&mut InFlight> = flights.iter_mut().collect();
        let mut plan = self.load(tx, &mut part, self.state.clone()).await?;
        let before = plan.appointments().clone();
        part.iter_mut().for_each(|flight| flight.plan(&mut plan));
        let changes = plan.finish();
        let prediction = |mut flight: InFlight| {
            flight.result = flight.planned.take();
            (flight.targets.first().copied().unwrap_or(Target::Missing), Prediction::of(flight))
        };
        Ok(EventPrediction { bookings: flights.into_iter().map(prediction).collect(), before, changes })
    }

    /// Returns the member of staff of the host's mapping, if it is valid: the appointments that wait for the
    /// host would be assigned to them.
    pub async fn predict_waiting(
        self,
        db: &impl ConnectionTrait,
        key: HostKey,
    ) -> Result<Option<StaffId>, StoreError> {
        let Processor { schema, resolver, .. } = self.processor;
        let directory = store::directory_for(db, schema, key.company, Some(key.host)).await?;
        Ok(resolver.resolve_by_id(key, &directory).into_staff())
    }

    /// Predicts the results of these recorded events as if the strategies of this processor had always
    /// applied: mappings by matches are ignored and created again, mappings by people apply, and the staff
    /// are those of today. `without_people`: a chain that uses no mappings by people. An event has a trial if
    /// it has a host and names its appointment and company. Memory use grows with the number of hosts.
    pub async fn simulate(
        &mut self,
        events: &[BookingEvent],
        without_people: Option<&Resolver>,
    ) -> Result<BTreeMap<AppointmentId, Trial>, StoreError> {
        let Processor { schema, resolver, .. } = self.processor;
        let database = &self.processor.database;
        let tried = events.iter().filter_map(|event| {
            let (host, _) = event.bookings.first()?.host.as_ref()?;
            Some((event, event.appointment?, event.company?, host))
        });
        let tried: Vec<_> = tried.collect();
        let key = |company: CompanyId, host: &Host| Some(HostKey::new(company, host.id?));
        let keys = tried.iter().filter_map(|(.., company, host)| key(*company, host)).collect();
        let companies: BTreeSet<CompanyId> = tried.iter().map(|(_, _, company, _)| *company).collect();
        let is_kept = |mapping: &Mapping| mapping.is_by_person() || !mapping.is_active;
        let directory = store::directory_of(database.connection(), schema, &keys, &companies, is_kept);
        let directory = database.with_deadline(directory).await?;

        let appointments = tried.iter().map(|(_, id, company, _)| (*id, Appointment::of(*company))).collect();
        let mut state = std::mem::take(&mut self.state);
        state.add_missing(Loaded { directory, appointments, ..Loaded::default() });
        let policy = Policy { mode: Mode::Assign, ..self.processor.policy(now_ms()) };
        let mut plan = Plan::new(state, resolver, policy);
        let mut trials = BTreeMap::new();
        for (event, id, company, host) in tried {
            let targets = &[Target::Found(id, FoundBy::AppointmentId)];
            plan.decide_event(&Item {
                event,
                targets,
                publisher: None,
                received_ms: 0,
                ignore_if_missing: false,
            });
            let decided = plan.appointments().get(&id).and_then(|it| it.assignment.clone());
            let Some(mut decided) = decided else { continue };
            // A mapping learned from an earlier booking counts for the strategy that found it then.
            let source = decided.evidence.as_ref().filter(|it| it.field == "mapping");
            let source = source.and_then(|it| it.value.parse().ok());
            if let Some(learned_by) = source.and_then(MappingSource::strategy) {
                decided.strategy = Some(learned_by.as_str().to_owned());
            }
            let directory = plan.directory();
            let by_person = key(company, host).and_then(|key| directory.mapped_by_person(key)).cloned();
            let others = by_person.as_ref().and(without_people);
            let without_people = others.and_then(|all| all.resolve(host, company, directory).into_staff());
            trials.insert(id, Trial { decided, by_person, without_people });
        }
        self.state = Loaded { directory: plan.into_state().directory, ..Loaded::default() };
        Ok(trials)
    }

    /// Plans a part. Returns false if planning panicked; the state of earlier predictions is lost in that
    /// case.
    async fn plan_part(&mut self, part: &mut [&mut InFlight]) -> Result<bool, StoreError> {
        let state = std::mem::take(&mut self.state);
        let database = &self.processor.database;
        let planning = async {
            let tx = database.begin_reading().await?;
            let mut plan = self.load(&tx, part, state).await;
            if let Ok(plan) = &mut plan {
                part.iter_mut().for_each(|flight| plan_one(flight, plan));
            }
            tx.rollback().await?;
            plan
        };
        let Ok(plan) = AssertUnwindSafe(Box::pin(database.with_deadline(planning))).catch_unwind().await
        else {
            return Ok(false);
        };
        let plan = plan?;
        part.iter_mut().for_each(|flight| flight.result = flight.planned.take());
        self.state = plan.into_state();
        Ok(true)
    }

    /// Loads a plan for these deliveries, after `state`.
    async fn load(
        &self,
        tx: &DatabaseTransaction,
        part: &mut [&mut InFlight],
        state: Loaded,
    ) -> Result<Plan<'p>, StoreError> {
        let Processor { resolver, .. } = self.processor;
        let (loaded, resolved, _) = self.processor.load(tx, part, Purpose::ReadOnly, Some(state)).await?;
        Ok(Plan::new(loaded, resolver, self.processor.policy(now_ms())).with_resolutions(resolved))
    }
}

fn plan_one(flight: &mut InFlight, plan: &mut Plan<'_>) {
    flight.plan(plan);
    if let Some(DeliveryResult::Done(Outcome::Assigned | Outcome::WouldAssign)) = flight.planned {
        let id = flight.targets.iter().find_map(Target::found);
        let decided = id.and_then(|id| plan.appointments().get(&id)?.assignment.as_ref());
        flight.strategy = decided.and_then(|decided| decided.strategy.clone());
    }
}

impl Prediction {
    fn of(flight: InFlight) -> Self {
        Self {
            code: flight.code.clone(),
            appointment: flight.targets.iter().find_map(Target::found),
            strategy: flight.strategy.clone(),
            result: flight.into_result(),
        }
    }
}
