//! Explains a match by a dry run: what each strategy found, the decision, and the effect on the appointment
//! and the delivery. Writes nothing and locks nothing.

mod view;

use sea_orm::DatabaseTransaction;

pub use view::{Columns, Delivery, EffectView, ExplanationView, MappingChangeView};

use super::{AppContext, AppError, NextAction};
use crate::decide::{DeliveryResult, EventPrediction, Prediction, Processor};
use crate::event::{AppointmentId, BookingEvent, BookingRef, CompanyId, Host, StaffId};
use crate::matching::{Holder, HostKey, MappingWrite, Outcome, Reason, Resolution, Review, Step, Target};
use crate::store::{self, StoreError};

/// The subject of an explanation.
#[derive(Debug)]
pub enum Subject {
    /// A host in a company, without a booking.
    Host(Box<Host>, CompanyId),
    /// An event, and the company to assume if no appointment is found.
    Event(Box<BookingEvent>, Option<CompanyId>),
    /// The type of a message that contains nothing to act on.
    Ignored(String),
    /// A message that cannot be read: the reason, and a text without the message's content.
    Unreadable(Reason, String),
    /// An appointment, by one of its references: explains its newest event again.
    Reference(BookingRef),
}

/// Explains each subject independently: a mapping learned for one has no effect on the next. Fails if a
/// subject's appointment does not exist.
pub async fn explain(context: &AppContext, subjects: Vec<Subject>) -> Result<Vec<ExplanationView>, AppError> {
    let tx = context.with_deadline(context.database.begin_reading()).await?;
    let explainer = Explainer { context, tx: &tx, processor: context.processor() };
    let explained = explainer.explain(subjects).await;
    let ended = context.with_deadline(async { Ok(tx.rollback().await?) }).await;
    let explanations = explained?;
    ended?;
    Ok(explanations)
}

/// Explains subjects in one transaction, which is never committed.
struct Explainer<'a> {
    context: &'a AppContext,
    tx: &'a DatabaseTransaction,
    processor: Processor,
}

impl Explainer<'_> {
    async fn explain(&self, subjects: Vec<Subject>) -> Result<Vec<ExplanationView>, AppError> {
        let mut explanations = Vec::new();
        for subject in subjects {
            match subject {
                Subject::Host(host, company) => {
                    let (steps, decision) = self.steps(&host, company).await?;
                    let key = host.id.map(|id| HostKey::new(company, id));
                    let (advice, action) = next(&decision, None, key);
                    explanations.push(ExplanationView {
                        company: Some(company),
                        host: Some(*host),
                        steps,
                        decision: Some(decision),
                        advice,
                        action,
                        ..ExplanationView::default()
                    });
                }
                Subject::Event(event, company) => explanations.extend(self.event(&event, company).await?),
                Subject::Ignored(event_type) => explanations.push(ExplanationView {
                    event_type: Some(event_type),
                    effect: Some(EffectView::of(DeliveryResult::Done(Outcome::Ignored), None, None)),
                    advice: "nothing: an event of this type is acknowledged and counted".to_owned(),
                    ..ExplanationView::default()
                }),
                Subject::Unreadable(reason, why) => explanations.push(ExplanationView {
                    effect: Some(EffectView::of(DeliveryResult::Dead(reason, why), None, None)),
                    advice: reason.remedy().to_owned(),
                    ..ExplanationView::default()
                }),
                Subject::Reference(reference) => {
                    let event = self.newest_event(&reference).await?;
                    explanations.extend(self.event(&event, None).await?);
                }
            }
        }
        Ok(explanations)
    }

    async fn newest_event(&self, reference: &BookingRef) -> Result<BookingEvent, AppError> {
        use AppError::Absent;
        let found = store::recorded_appointment(self.tx, &self.context.schema, reference);
        let remembered = self.context.with_deadline(found).await?.map_err(|target| match target {
            Target::Several => Absent(format!("several appointments have the booking {reference}"), None),
            Target::NoCompany => {
                Absent(format!("the appointment with the booking {reference} belongs to no company"), None)
            }
            Target::Missing | Target::Found(_) => Absent(
                format!("no appointment has the booking {reference}"),
                Some(NextAction::GiveBookingOfCompany),
            ),
        })?;
        let in_scope = |company| self.context.scope.contains(company);
        let assignment = remembered.assignment.filter(|assignment| in_scope(assignment.company));
        assignment.and_then(|assignment| assignment.newest_event()).ok_or_else(|| {
            let id = remembered.appointment;
            let text = format!("no event with a host has been decided for appointment {id}");
            Absent(text, Some(NextAction::GiveBooking))
        })
    }

    async fn event(
        &self,
        event: &BookingEvent,
        assumed: Option<CompanyId>,
    ) -> Result<Vec<ExplanationView>, StoreError> {
        let predicted = self.processor.dry_run().predict_event(self.tx, event);
        let predicted = self.context.with_deadline(predicted).await?;
        let mut explanations = Vec::new();
        for (index, booking) in event.bookings.iter().enumerate() {
            let effect = EffectView::of_booking(event, index, &predicted);
            let appointment = effect.appointment.and_then(|id| predicted.before.get(&id));
            let company = appointment.map(|found| found.company).or(event.company).or(assumed);
            let host = booking.host.as_ref();
            let (steps, decision) = match (host, company) {
                (Some((host, _)), Some(company)) => {
                    let (steps, decision) = self.steps(host, company).await?;
                    (steps, Some(decision))
                }
                _ => (Vec::new(), None),
            };
            let (advice, action) = match &decision {
                Some(decision) => {
                    let id = host.and_then(|(host, _)| host.id);
                    let key = company.zip(id).map(|(company, host)| HostKey::new(company, host));
                    next(decision, Some(&effect), key)
                }
                None if host.is_some() => {
                    ("the company is not known: give it with --company N".to_owned(), None)
                }
                None => (effect.next().unwrap_or("nothing").to_owned(), None),
            };
            explanations.push(ExplanationView {
                event_type: Some(event.event_type.clone()).filter(|name| !name.is_empty()),
                booking: booking.reference().cloned(),
                company,
                host: host.map(|(host, _)| host.clone()),
                host_source: host.map(|(_, source)| source.as_str()),
                // Without a company there is no appointment either, so there is no effect to show.
                effect: (company.is_some() || host.is_none()).then_some(effect),
                steps,
                decision,
                advice,
                action,
            });
        }
        Ok(explanations)
    }

    async fn steps(&self, host: &Host, company: CompanyId) -> Result<(Vec<Step>, Resolution), StoreError> {
        let directory = store::directory_for(self.tx, &self.context.schema, company, host.id);
        let directory = self.context.with_deadline(directory).await?;
        Ok(self.processor.resolver.explain(host, company, &directory))
    }
}

impl ExplanationView {
    /// Returns whether there is nothing to explain: there is neither an appointment nor a company.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.effect.is_none()
    }
}

impl EffectView {
    fn of(result: DeliveryResult, code: Option<&'static str>, appointment: Option<AppointmentId>) -> Self {
        let (delivery, outcome, reason, why) = match result {
            DeliveryResult::Done(outcome) => (Delivery::Done, Some(outcome.as_str()), code, None),
            // The reason code describes what the delivery waits for.
            DeliveryResult::Retry(reason, _) => (Delivery::Retry, None, Some(reason.as_str()), None),
            DeliveryResult::Deferred => (Delivery::Retry, None, None, None),
            DeliveryResult::Dead(reason, why) => {
                (Delivery::DeadLetter, None, Some(reason.as_str()), Some(why))
            }
        };
        Self { appointment, delivery, outcome, reason, why, ..Self::default() }
    }

    /// Returns the effect of one booking of an event.
    fn of_booking(event: &BookingEvent, index: usize, predicted: &EventPrediction) -> Self {
        let EventPrediction { bookings, before, changes } = predicted;
        let Prediction { result, code, appointment, .. } = bookings[index].1.clone();
        let mut effect = Self::of(result, code, appointment);
        let Some(before) = effect.appointment.and_then(|id| before.get(&id)) else { return effect };
        let ours = before.assignment.as_ref().and_then(|assignment| assignment.staff.as_ref());
        effect.held_by = Some(match Holder::of(before.staff.as_ref(), ours) {
            Holder::Nobody => "nobody",
            Holder::Us => "hostmatch",
            Holder::Them => "somebody_else",
        });
        let now = Columns { staff_id: before.staff.clone(), calcom_host_id: before.host_id };
        let write = changes.appointments.iter().find(|write| Some(write.id) == effect.appointment);
        effect.after = Some(write.map_or_else(
            || now.clone(),
            |write| Columns { staff_id: write.staff.clone(), calcom_host_id: write.host_id },
        ));
        effect.before = Some(now);
        let Some(host) = event.bookings[index].host.as_ref().and_then(|(host, _)| host.id) else {
            return effect;
        };
        let key = HostKey::new(before.company, host);
        let of_this_host = changes.mappings.iter().filter(|change| change.audit.key == key);
        effect.mappings = of_this_host
            .map(|change| MappingChangeView {
                change: match change.write {
                    MappingWrite::Supersede => "switched_off",
                    MappingWrite::Insert { .. } => "made",
                    MappingWrite::Reactivate { .. } => "switched_on",
                },
                staff: change.audit.staff.clone(),
            })
            .collect();
        // Other appointments that would be decided because this host becomes known.
        let others = changes.assignments.iter().filter(|row| {
            let is_own = bookings.iter().any(|(target, _)| *target == Target::Found(row.appointment));
            let names = row.newest.as_ref().is_some_and(|newest| newest.host_id == Some(host.0));
            !is_own && names && row.company == key.company
        });
        effect.also_decided = others.count();
        effect
    }

    /// Returns the advice for a person, if it does not depend on the host.
    fn next(&self) -> Option<&'static str> {
        let reason = self.reason.filter(|_| self.delivery != Delivery::Done);
        if let Some(reason) = reason.and_then(|reason| reason.parse::<Reason>().ok()) {
            return Some(reason.remedy());
        }
        if self.reason == Some("several_appointments") {
            return Some("give this booking's reference to one appointment only, or send appointment_id");
        }
        match self.outcome?.parse().ok()? {
            Outcome::WouldAssign => Some("nothing: it is assigned once worker.mode is assign"),
            Outcome::Assigned | Outcome::Unchanged | Outcome::Recorded | Outcome::Ignored => Some("nothing"),
            Outcome::Kept => Some(
                "nothing, if that is right; appointments.overwrite = \"always\" would overwrite it, clearing \
                 staff_id would not help",
            ),
            Outcome::Stale => Some("nothing: a newer event of this appointment was decided"),
            Outcome::NoHost => {
                Some("check in Cal.com whom the booking is with, and make the gateway send its host")
            }
            Outcome::NeedsReview | Outcome::Unmatched => None,
        }
    }
}

/// Returns the advice about a decision, as text and as an action. A host without an id cannot have a mapping.
fn next(
    decision: &Resolution,
    effect: Option<&EffectView>,
    key: Option<HostKey>,
) -> (String, Option<(NextAction, Option<StaffId>)>) {
    if let Some(next) = effect.and_then(EffectView::next) {
        return (next.to_owned(), None);
    }
    let or_address = "give the right member of staff the host's e-mail address in the gateway";
    let (advice, suggestions) = match decision {
        Resolution::Matched { .. } => return ("nothing".to_owned(), None),
        Resolution::NeedsReview { review: Review::BelowThreshold, suggestions } => (
            format!(
                "if the suggestion is right, accept it; or {or_address}; or lower matching.auto_accept, the \
                 confidence from which such a match is accepted automatically"
            ),
            suggestions.as_slice(),
        ),
        Resolution::NeedsReview { review: Review::Ambiguous, .. } => (
            "assign the host, or remove the shared address, name or mapping from all but one member of staff"
                .to_owned(),
            &[][..],
        ),
        Resolution::NeedsReview { review: Review::SwitchedOff, suggestions } => {
            ("assign the host to that person again, or to another".to_owned(), suggestions.as_slice())
        }
        Resolution::Unmatched => (format!("assign the host; or {or_address}"), &[][..]),
    };
    let only = if let [one] = suggestions { Some(one.staff.clone()) } else { None };
    match key {
        Some(key) => (advice, Some((NextAction::AssignHost(key), only))),
        None => (format!("{or_address}: a host without an id cannot have a mapping"), None),
    }
}
