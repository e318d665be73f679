//! Explains a match with a dry run: what each strategy finds, the decision, and the effect on the appointment
//! and the delivery. Writes nothing and locks nothing.

mod view;

use std::borrow::Cow;

use sea_orm::DatabaseTransaction;

pub use view::{Columns, Delivery, EffectView, ExplanationView, MappingChangeView};

use super::{AppContext, AppError, NextAction};
use crate::decide::{DeliveryResult, EventPrediction, Prediction, Processor};
use crate::event::{AppointmentId, BookingEvent, BookingRef, CompanyId, Host, StaffId};
use crate::matching::{
    FoundBy, HostKey, MappingWrite, Outcome, REPLACED, Reason, Resolution, Review, StaffSetBy, Step, Target,
};
use crate::store::{self, StoreError};

/// The subject of an explanation.
#[derive(Debug)]
pub enum Subject {
    /// A host in a company, without a booking.
    Host(Box<Host>, CompanyId),
    /// An event, and the company to assume if no appointment is found.
    Event(Box<BookingEvent>, Option<CompanyId>),
    /// The type of a message that is acknowledged without effect.
    Ignored(String),
    /// A message that cannot be read: the reason, and a description without the message's content.
    Unreadable(Reason, String),
    /// An appointment, by its booking's reference: explains the appointment's newest event again.
    Reference(BookingRef),
}

/// Explains each subject independently: a mapping learned for one has no effect on the next. Fails if a
/// subject's appointment does not exist.
pub async fn explain(context: &AppContext, subjects: Vec<Subject>) -> Result<Vec<ExplanationView>, AppError> {
    let tx = context.with_deadline(context.database.begin_reading()).await?;
    let explainer = Explainer { context, tx: &tx, processor: context.processor() };
    let explained = explainer.explain(subjects).await;
    let rolled_back = context.with_deadline(async { Ok(tx.rollback().await?) }).await;
    let explanations = explained?;
    rolled_back?;
    Ok(explanations)
}

/// Returns whether [`explain`] finds an appointment with an event by this reference.
pub(super) async fn is_explainable(context: &AppContext, reference: &BookingRef) -> Result<bool, AppError> {
    let tx = context.with_deadline(context.database.begin_reading()).await?;
    let explainer = Explainer { context, tx: &tx, processor: context.processor() };
    let found = explainer.newest_event(reference).await;
    context.with_deadline(async { Ok(tx.rollback().await?) }).await?;
    match found {
        Ok(_) => Ok(true),
        Err(AppError::Absent(..)) => Ok(false),
        Err(error) => Err(error),
    }
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
                    let (advice, action) = advice_for(&decision, None, key);
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
                Subject::Event(event, company) => {
                    explanations.extend(self.explain_event(&event, company).await?)
                }
                Subject::Ignored(event_type) => explanations.push(ExplanationView {
                    event_type: Some(event_type),
                    effect: Some(EffectView::of(DeliveryResult::Done(Outcome::Ignored), None, None)),
                    advice: "nothing; events of this type are acknowledged and counted, and change nothing"
                        .to_owned(),
                    ..ExplanationView::default()
                }),
                Subject::Unreadable(reason, why) => explanations.push(ExplanationView {
                    effect: Some(EffectView::of(DeliveryResult::Dead(reason, why), None, None)),
                    advice: reason.remedy().to_owned(),
                    ..ExplanationView::default()
                }),
                Subject::Reference(reference) => {
                    let (event, found_by) = self.newest_event(&reference).await?;
                    let mut explained = self.explain_event(&event, None).await?;
                    let effects = explained.iter_mut().filter_map(|one| one.effect.as_mut());
                    effects.for_each(|effect| effect.found_by = Some(found_by));
                    // The event does not arrive again.
                    explained.iter_mut().for_each(ExplanationView::advise_on_missing_staff);
                    explanations.append(&mut explained);
                }
            }
        }
        Ok(explanations)
    }

    /// Returns the newest event of the appointment with this reference, and how the reference led to it.
    async fn newest_event(&self, reference: &BookingRef) -> Result<(BookingEvent, FoundBy), AppError> {
        use AppError::Absent;
        let recorded = store::recorded_appointment(self.tx, &self.context.schema, reference);
        let recorded = self.context.with_deadline(recorded).await?.map_err(|target| match target {
            Target::Several => Absent(
                format!(
                    "several appointments have the booking reference {reference}; remove it from all but one"
                ),
                None,
            ),
            Target::NoCompany => Absent(
                format!(
                    "the appointment with the booking reference {reference} belongs to no company; set its \
                     company_id in the gateway"
                ),
                None,
            ),
            Target::Missing | Target::Found(..) => Absent(
                format!("no appointment has the booking reference {reference}"),
                Some(NextAction::PassBookingAndCompany),
            ),
        })?;
        let in_scope = |company| self.context.scope.contains(company);
        let assignment = recorded.assignment.filter(|assignment| in_scope(assignment.company));
        let event = assignment.and_then(|assignment| assignment.newest_event());
        event.map(|event| (event, recorded.found_by)).ok_or_else(|| {
            let id = recorded.appointment;
            let text = format!(
                "no event with a host has been decided for appointment {id}, or it is no longer stored"
            );
            Absent(text, Some(NextAction::PassBooking))
        })
    }

    async fn explain_event(
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
                    advice_for(decision, Some(&effect), key)
                }
                None if host.is_some() => {
                    ("the company is unknown: run the command again with --company N".to_owned(), None)
                }
                None => (effect.advice().unwrap_or("nothing").to_owned(), None),
            };
            explanations.push(ExplanationView {
                event_type: Some(event.event_type.clone()).filter(|name| !name.is_empty()),
                booking: booking.reference().cloned(),
                company,
                host: host.map(|(host, _)| host.clone()),
                host_source: host.map(|(_, source)| source.as_str()),
                notes: event.form_notes.iter().map(ToString::to_string).collect(),
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

    /// Adds the remedy for an appointment that would get a member of staff if its event arrived again, and has none.
    fn advise_on_missing_staff(&mut self) {
        let Some(effect) = &self.effect else { return };
        let has_staff = |columns: &Option<Columns>| columns.as_ref().is_some_and(|it| it.staff_id.is_some());
        if has_staff(&effect.before) || !has_staff(&effect.after) {
            return;
        }
        let key = self.company.zip(self.host.as_ref().and_then(|host| host.id));
        let is_mapped = self
            .steps
            .iter()
            .any(|step| matches!(step.strategy, "manual" | "existing") && !step.found.is_empty());
        let action = match (key, effect.appointment) {
            (Some((company, host)), _) if is_mapped => NextAction::RepairHost(HostKey::new(company, host)),
            (_, Some(appointment)) => NextAction::AssignBooking(appointment),
            _ => return,
        };
        "the appointment has no member of staff now, and its event does not arrive again: assign it"
            .clone_into(&mut self.advice);
        self.action = Some((action, None));
    }
}

impl EffectView {
    fn of(
        result: DeliveryResult,
        code: Option<Cow<'static, str>>,
        appointment: Option<AppointmentId>,
    ) -> Self {
        let (delivery, outcome, reason, why) = match result {
            DeliveryResult::Done(outcome) => (Delivery::Done, Some(outcome.as_str()), code, None),
            // The reason code describes what the delivery waits for.
            DeliveryResult::Retry(reason, _) => (Delivery::Retry, None, Some(reason.as_str().into()), None),
            DeliveryResult::Deferred => (Delivery::Retry, None, None, None),
            DeliveryResult::Dead(reason, why) => {
                (Delivery::DeadLetter, None, Some(reason.as_str().into()), Some(why))
            }
        };
        Self { appointment, delivery, outcome, reason, why, ..Self::default() }
    }

    /// Returns the effect of one booking of an event.
    fn of_booking(event: &BookingEvent, index: usize, predicted: &EventPrediction) -> Self {
        let EventPrediction { bookings, before, changes } = predicted;
        let Prediction { result, code, appointment, .. } = bookings[index].1.clone();
        let mut effect = Self::of(result, code, appointment);
        effect.found_by = bookings[index].0.found_by();
        let Some(before) = effect.appointment.and_then(|id| before.get(&id)) else { return effect };
        let ours = before.assignment.as_ref().and_then(|assignment| assignment.staff.as_ref());
        effect.held_by = Some(StaffSetBy::of(before.staff.as_ref(), ours).into());
        let present = Columns { staff_id: before.staff.clone(), calcom_host_id: before.host_id };
        let write = changes.appointments.iter().find(|write| Some(write.id) == effect.appointment);
        effect.after = Some(write.map_or_else(
            || present.clone(),
            |write| Columns { staff_id: write.staff.clone(), calcom_host_id: write.host_id },
        ));
        effect.before = Some(present);
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
        // Other appointments that would be decided because this host gets a mapping.
        let others = changes.assignments.iter().filter(|row| {
            let is_own = bookings.iter().any(|(target, _)| target.found() == Some(row.appointment));
            let names = row.newest.as_ref().is_some_and(|newest| newest.host_id == Some(host.0));
            !is_own && names && row.company == key.company
        });
        effect.also_decided = others.count();
        effect
    }

    /// Returns what a person can do, if that does not depend on the host.
    fn advice(&self) -> Option<&'static str> {
        let code = self.reason.as_deref();
        let reason = code.filter(|_| self.delivery != Delivery::Done);
        if let Some(reason) = reason.and_then(|reason| reason.parse::<Reason>().ok()) {
            return Some(reason.remedy());
        }
        if code == Some("several_appointments") {
            return Some(
                "several appointments have this booking's reference: remove it from all but one, or send the \
                 event again with appointment_id",
            );
        }
        if code == Some(REPLACED) {
            return Some("nothing; another booking has replaced this one, and its events count");
        }
        match self.outcome?.parse().ok()? {
            Outcome::WouldAssign => Some("nothing; to assign such bookings, set worker.mode to \"assign\""),
            Outcome::Assigned | Outcome::Unchanged | Outcome::Recorded | Outcome::Ignored => Some("nothing"),
            Outcome::Kept => Some(
                "nothing, if the present staff_id is right; otherwise correct it in the gateway, or set \
                 appointments.overwrite to \"always\"; do not clear it, because a cleared staff_id is also kept",
            ),
            Outcome::Stale => Some("nothing; a newer event of this appointment has already been decided"),
            Outcome::NoHost => Some(
                "find the booking's host in Cal.com, and make the gateway send that host with the booking",
            ),
            Outcome::NeedsReview | Outcome::Unmatched => None,
        }
    }
}

/// Returns what a person can do about a decision, as text and as an action. There is no action for a host
/// without an id, which cannot have a mapping.
fn advice_for(
    decision: &Resolution,
    effect: Option<&EffectView>,
    key: Option<HostKey>,
) -> (String, Option<(NextAction, Option<StaffId>)>) {
    if let Some(advice) = effect.and_then(EffectView::advice) {
        return (advice.to_owned(), None);
    }
    let set_address =
        "in the gateway, set the e-mail address of the right member of staff to the host's address";
    let (advice, suggestions) = match decision {
        Resolution::Matched { .. } => return ("nothing".to_owned(), None),
        Resolution::NeedsReview { review: Review::BelowThreshold, suggestions } => (
            format!(
                "if the suggestion is right, accept it; or {set_address}; or lower matching.auto_accept, the \
                 minimum confidence for accepting a match automatically"
            ),
            suggestions.as_slice(),
        ),
        Resolution::NeedsReview { review: Review::Ambiguous, .. } => (
            "assign the host; or make sure that only one member of staff has this address, name or mapping"
                .to_owned(),
            &[][..],
        ),
        Resolution::NeedsReview { review: Review::SwitchedOff, suggestions } => {
            let advice = "a person has switched off this mapping: assign the host again, to the same person or another";
            (advice.to_owned(), suggestions.as_slice())
        }
        Resolution::Unmatched => (format!("assign the host; or {set_address}"), &[][..]),
    };
    let only_suggestion = if let [one] = suggestions { Some(one.staff.clone()) } else { None };
    match key {
        Some(key) => (advice, Some((NextAction::AssignHost(key), only_suggestion))),
        None => (
            format!("{set_address}; this host cannot be mapped, because the event does not contain its id"),
            None,
        ),
    }
}
