//! What deciding would do, without doing it: the same decoding, the same rows, the same plan, in a
//! transaction that only reads, locks nothing and is rolled back.
//!
//! Each delivery sees what those before it would have left behind, however many they are.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sea_orm::DatabaseTransaction;

use super::delivery_result::DeliveryResult;
use super::in_flight::{InFlight, transactions};
use super::matching;
use super::processor::Processor;
use crate::event::{AppointmentId, BookingEvent};
use crate::matching::{Appointment, ChangeSet, Loaded, Outcome, Plan, Target};
use crate::queue::{Delivery, Message};
use crate::runtime::clock::now_ms;
use crate::store::{Purpose, StoreError};

/// What would become of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The result in the end, when every attempt has been made: never [`DeliveryResult::Deferred`].
    pub result: DeliveryResult,
    /// A code that says more of what was decided.
    pub code: Option<&'static str>,
    /// The appointment that it is about, or the first of them.
    pub appointment: Option<AppointmentId>,
    /// The strategy that would find somebody.
    pub strategy: Option<String>,
}

/// What would become of one event, booking by booking, and of its appointments.
#[derive(Debug)]
pub struct EventPrediction {
    /// What each of its bookings means, and what would become of it.
    pub bookings: Vec<(Target, Prediction)>,
    /// Its appointments as they are.
    pub before: BTreeMap<AppointmentId, Appointment>,
    /// What would be written.
    pub changes: ChangeSet,
}

/// Deciding without deciding. What came before is carried along in here.
#[derive(Debug)]
pub struct DryRun<'p> {
    processor: &'p Processor,
    state: Loaded,
}

impl<'p> DryRun<'p> {
    /// One in which nothing has happened yet.
    pub(super) fn new(processor: &'p Processor) -> Self {
        Self { processor, state: Loaded::default() }
    }

    /// What would become of these messages, each with the moment of its first receipt, in this order
    /// and after all that were asked about before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn predict(&mut self, messages: Vec<(Message, i64)>) -> Result<Vec<Prediction>, StoreError> {
        // The last attempt tells what becomes of it in the end.
        let attempt = u32::try_from(self.processor.schedule().len()).unwrap_or(u32::MAX);
        let flight = |(message, first_seen_ms)| {
            let mut flight = InFlight::new(Delivery { message, attempt, first_seen_ms, redelivered: false });
            self.processor.decode(&mut flight);
            flight
        };
        let mut flights: Vec<InFlight> = messages.into_iter().map(flight).collect();
        for mut part in transactions(&mut flights) {
            if !self.part(&mut part).await? {
                // It made the program fail: one by one, to find out which.
                for flight in part {
                    if !self.part(&mut [&mut *flight]).await? {
                        flight.result = Some(DeliveryResult::poison());
                    }
                }
            }
        }
        Ok(flights.into_iter().map(Prediction::of).collect())
    }

    /// What would become of this event, if it came now and every attempt had been made. Each booking has a result of
    /// its own. `tx` reads only.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn predict_event(
        self,
        tx: &DatabaseTransaction,
        event: &BookingEvent,
    ) -> Result<EventPrediction, StoreError> {
        let one = |booking: &_| BookingEvent { bookings: vec![Clone::clone(booking)], ..event.clone() };
        let mut flights: Vec<InFlight> =
            event.bookings.iter().map(|booking| InFlight::again(one(booking), booking.time.ms)).collect();
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

    /// False: planning it made the program fail, and what was carried along is forgotten.
    async fn part(&mut self, part: &mut [&mut InFlight]) -> Result<bool, StoreError> {
        let state = std::mem::take(&mut self.state);
        let database = self.processor.database();
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

    /// A plan for these, after `state`.
    async fn load(
        &self,
        tx: &DatabaseTransaction,
        part: &mut [&mut InFlight],
        state: Loaded,
    ) -> Result<Plan<'p>, StoreError> {
        let Processor { resolver, .. } = self.processor;
        let (loaded, resolved, _) =
            matching::load(self.processor, tx, part, Purpose::ReadOnly, Some(state)).await?;
        Ok(Plan::new(loaded, resolver, self.processor.policy(now_ms())).knowing(resolved))
    }
}

fn plan_one(flight: &mut InFlight, plan: &mut Plan<'_>) {
    flight.plan(plan);
    if let Some(DeliveryResult::Done(Outcome::Assigned | Outcome::WouldAssign)) = flight.planned {
        flight.strategy = flight.targets.iter().find_map(Target::found).and_then(|id| plan.strategy_of(id));
    }
}

impl Prediction {
    fn of(flight: InFlight) -> Self {
        Self {
            code: flight.code,
            appointment: flight.targets.iter().find_map(Target::found),
            strategy: flight.strategy.clone(),
            result: flight.into_result(),
        }
    }
}
