//! What deciding would do, without doing it: the same decoding, the same rows, the same plan, in a
//! transaction that only reads, locks nothing and is rolled back.
//!
//! Each delivery sees what those before it would have left behind, however many they are.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use sea_orm::DatabaseTransaction;

use super::answer::Answer;
use super::processor::Processor;
use super::slot::{Slot, transactions};
use crate::event::AppointmentId;
use crate::matching::{Loaded, Outcome, Plan, Target};
use crate::queue::{Delivery, Message};
use crate::runtime::clock::now_ms;
use crate::store::{Lookup, StoreError, load_read_only};

/// What would become of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foretold {
    /// The answer in the end, when every attempt has been made: never [`Answer::PutOff`].
    pub answer: Answer,
    /// The appointment that it is about, or the first of them.
    pub appointment: Option<AppointmentId>,
    /// The strategy that would find somebody.
    pub strategy: Option<String>,
}

/// Deciding without deciding. What came before is carried along in here.
#[derive(Debug)]
pub struct Rehearsal<'p> {
    processor: &'p Processor,
    state: Loaded,
}

impl Processor {
    /// Begins a rehearsal, in which nothing has happened yet.
    pub fn rehearsal(&self) -> Rehearsal<'_> {
        Rehearsal { processor: self, state: Loaded::default() }
    }
}

impl Rehearsal<'_> {
    /// What would become of these messages, each with the moment of its first receipt, in this order
    /// and after all that were asked about before.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn of(&mut self, messages: Vec<(Message, i64)>) -> Result<Vec<Foretold>, StoreError> {
        let processor = self.processor;
        // The last attempt tells what becomes of it in the end.
        let attempt = u32::try_from(processor.schedule().len()).unwrap_or(u32::MAX);
        let deliveries = messages.into_iter().map(|(message, first_seen_ms)| Delivery {
            message,
            attempt,
            first_seen_ms,
            redelivered: false,
        });
        let slots: Vec<Slot> = deliveries.map(|delivery| processor.decode(&delivery)).collect();
        let mut foretold: Vec<Option<Foretold>> =
            slots.iter().map(|slot| slot.answered().map(Foretold::only)).collect();
        for part in transactions(&slots) {
            let answers = match self.part(&slots, &part).await? {
                Some(answers) => answers,
                // It made the program fail: one by one, to find out which.
                None => {
                    let mut answers = Vec::new();
                    for index in &part {
                        let alone = self.part(&slots, &[*index]).await?.and_then(|mut alone| alone.pop());
                        answers.push(alone.unwrap_or_else(|| Foretold::only(Answer::poison())));
                    }
                    answers
                }
            };
            for (index, answer) in part.iter().zip(answers) {
                foretold[*index] = Some(answer);
            }
        }
        let undecided = || Foretold::only(Answer::undecided());
        Ok(foretold.into_iter().map(|one| one.unwrap_or_else(undecided)).collect())
    }

    /// None: planning it made the program fail, and what was carried along is forgotten.
    async fn part(&mut self, slots: &[Slot], part: &[usize]) -> Result<Option<Vec<Foretold>>, StoreError> {
        let database = self.processor.database();
        let state = std::mem::take(&mut self.state);
        let planning = async {
            let tx = database.begin_reading().await?;
            let planned = self.processor.foretell(&tx, slots, part, state).await;
            tx.rollback().await?;
            planned
        };
        let Ok(planned) = AssertUnwindSafe(Box::pin(database.in_time(planning))).catch_unwind().await else {
            return Ok(None);
        };
        let (foretold, state) = planned?;
        self.state = state;
        Ok(Some(foretold))
    }
}

impl Processor {
    async fn foretell(
        &self,
        tx: &DatabaseTransaction,
        slots: &[Slot],
        part: &[usize],
        mut state: Loaded,
    ) -> Result<(Vec<Foretold>, Loaded), StoreError> {
        let works = || part.iter().map(|index| &slots[*index]);
        let lookups: Vec<Lookup<'_>> = works().filter_map(Slot::lookup).collect();
        let batch = load_read_only(tx, &self.schema, &self.resolver, &lookups, self.redecide_limit).await?;
        state.absorb(batch.loaded);
        let mut plan = Plan::new(state, &self.resolver, self.policy(now_ms()));
        let mut targets = batch.targets.iter();
        let foretold = works()
            .map(|slot| {
                let targets = slot.lookup().and_then(|_| targets.next()).map_or(&[][..], Vec::as_slice);
                let answer = slot.answer_by(&mut plan, targets);
                let appointment = targets.iter().find_map(Target::found);
                let assigned = matches!(answer, Answer::Done(Outcome::Assigned | Outcome::WouldAssign));
                let strategy = appointment.filter(|_| assigned).and_then(|id| plan.strategy_of(id));
                Foretold { answer, appointment, strategy }
            })
            .collect();
        Ok((foretold, plan.into_state()))
    }
}

impl Foretold {
    fn only(answer: Answer) -> Self {
        Self { answer, appointment: None, strategy: None }
    }
}
