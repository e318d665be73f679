//! What deciding would do, without doing it: the same decoding, the same rows, the same plan, in a
//! transaction that only reads, locks nothing and is rolled back.
//!
//! Each delivery sees what those before it would have left behind, however many they are.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sea_orm::DatabaseTransaction;

use super::delivery_result::DeliveryResult;
use super::in_flight::{InFlight, transactions};
use super::processor::Processor;
use crate::event::AppointmentId;
use crate::matching::{Loaded, Outcome, Plan, Target};
use crate::queue::{Delivery, Message};
use crate::runtime::clock::now_ms;
use crate::store::{Lookup, StoreError, load_read_only};

/// What would become of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prediction {
    /// The answer in the end, when every attempt has been made: never [`DeliveryResult::Deferred`].
    pub result: DeliveryResult,
    /// The appointment that it is about, or the first of them.
    pub appointment: Option<AppointmentId>,
    /// The strategy that would find somebody.
    pub strategy: Option<String>,
}

/// Deciding without deciding. What came before is carried along in here.
#[derive(Debug)]
pub struct DryRun<'p> {
    processor: &'p Processor,
    state: Loaded,
}

impl Processor {
    /// Begins a dry run, in which nothing has happened yet.
    pub fn dry_run(&self) -> DryRun<'_> {
        DryRun { processor: self, state: Loaded::default() }
    }
}

impl DryRun<'_> {
    /// What would become of these messages, each with the moment of its first receipt, in this order
    /// and after all that were asked about before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn predict(&mut self, messages: Vec<(Message, i64)>) -> Result<Vec<Prediction>, StoreError> {
        let processor = self.processor;
        // The last attempt tells what becomes of it in the end.
        let attempt = u32::try_from(processor.schedule().len()).unwrap_or(u32::MAX);
        let deliveries = messages.into_iter().map(|(message, first_seen_ms)| Delivery {
            message,
            attempt,
            first_seen_ms,
            redelivered: false,
        });
        let flights: Vec<InFlight> = deliveries.map(|delivery| processor.decode(&delivery)).collect();
        let mut prediction: Vec<Option<Prediction>> =
            flights.iter().map(|flight| flight.answered().map(Prediction::only)).collect();
        for part in transactions(&flights) {
            let answers = match self.part(&flights, &part).await? {
                Some(answers) => answers,
                // It made the program fail: one by one, to find out which.
                None => {
                    let mut answers = Vec::new();
                    for index in &part {
                        let alone = self.part(&flights, &[*index]).await?.and_then(|mut alone| alone.pop());
                        answers.push(alone.unwrap_or_else(|| Prediction::only(DeliveryResult::poison())));
                    }
                    answers
                }
            };
            for (index, answer) in part.iter().zip(answers) {
                prediction[*index] = Some(answer);
            }
        }
        let undecided = || Prediction::only(DeliveryResult::undecided());
        Ok(prediction.into_iter().map(|one| one.unwrap_or_else(undecided)).collect())
    }

    /// None: planning it made the program fail, and what was carried along is forgotten.
    async fn part(
        &mut self,
        flights: &[InFlight],
        part: &[usize],
    ) -> Result<Option<Vec<Prediction>>, StoreError> {
        let database = self.processor.database();
        let state = std::mem::take(&mut self.state);
        let planning = async {
            let tx = database.begin_reading().await?;
            let planned = self.processor.foretell(&tx, flights, part, state).await;
            tx.rollback().await?;
            planned
        };
        let Ok(planned) = AssertUnwindSafe(Box::pin(database.in_time(planning))).catch_unwind().await else {
            return Ok(None);
        };
        let (prediction, state) = planned?;
        self.state = state;
        Ok(Some(prediction))
    }
}

impl Processor {
    async fn foretell(
        &self,
        tx: &DatabaseTransaction,
        flights: &[InFlight],
        part: &[usize],
        mut state: Loaded,
    ) -> Result<(Vec<Prediction>, Loaded), StoreError> {
        let works = || part.iter().map(|index| &flights[*index]);
        let lookups: Vec<Lookup<'_>> = works().filter_map(InFlight::lookup).collect();
        let batch = load_read_only(tx, &self.schema, &self.resolver, &lookups, self.redecide_limit).await?;
        state.absorb(batch.loaded);
        let mut plan = Plan::new(state, &self.resolver, self.policy(now_ms()));
        let mut targets = batch.targets.iter();
        let prediction = works()
            .map(|flight| {
                let targets = flight.lookup().and_then(|_| targets.next()).map_or(&[][..], Vec::as_slice);
                let answer = flight.answer_by(&mut plan, targets);
                let appointment = targets.iter().find_map(Target::found);
                let assigned =
                    matches!(answer, DeliveryResult::Done(Outcome::Assigned | Outcome::WouldAssign));
                let strategy = appointment.filter(|_| assigned).and_then(|id| plan.strategy_of(id));
                Prediction { result: answer, appointment, strategy }
            })
            .collect();
        Ok((prediction, plan.into_state()))
    }
}

impl Prediction {
    fn only(result: DeliveryResult) -> Self {
        Self { result, appointment: None, strategy: None }
    }
}
