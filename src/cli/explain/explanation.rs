//! An explanation, as data: what each strategy said, what was decided, what would follow.

use sea_orm::DatabaseTransaction;
use serde::Serialize;

use super::effect::{Effect, Rehearsal};
use super::subject::Subject;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::config::Config;
use crate::event::{BookingEvent, BookingRef, CompanyId, Host, StaffId};
use crate::matching::{Evidence, HostKey, Policy, Resolution, Resolver, Review, Step, Suggestion, Target};
use crate::runtime::clock::now_ms;
use crate::store::{self, Database, GatewaySchema, StoreError};

/// What is said about one host or booking. `docs/commands.md` describes it: its JSON is a contract.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    /// The event's type; none for a host alone, and for what is remembered.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking: Option<BookingRef>,
    /// The tenant in which was looked; none when nothing says it.
    pub company: Option<CompanyId>,
    /// The host; none when there is no usable one.
    pub host: Option<Host>,
    /// Where in the event it was found.
    pub host_source: Option<&'static str>,
    /// What each strategy said, highest priority first.
    pub steps: Vec<StepTold>,
    /// What the chain decided.
    pub decision: Option<Decision>,
    /// What would become of the appointment and of the delivery; none for a host alone.
    pub effect: Option<Effect>,
    /// What a person can do.
    pub next: String,
}

/// What one strategy said.
#[derive(Debug, Serialize)]
pub(super) struct StepTold {
    pub priority: u16,
    pub strategy: &'static str,
    /// None: the host gave it nothing to look for.
    pub looked_for: Option<String>,
    pub found: Vec<Found>,
    pub result: String,
}

/// Whom a strategy found.
#[derive(Debug, Serialize)]
pub(super) struct Found {
    pub staff: StaffId,
    /// None for one that was refused.
    pub confidence: Option<u8>,
    pub evidence: Option<Evidence>,
}

/// What the chain decided.
#[derive(Debug, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Decision {
    Matched { staff: StaffId, strategy: &'static str, confidence: u8 },
    NeedsReview { review: Review, suggestions: Vec<Suggestion> },
    Unmatched,
}

impl Explanation {
    /// Of a message that says nothing about a booking.
    fn without_booking(event_type: Option<String>, effect: Effect, next: &str) -> Self {
        Self {
            event_type,
            booking: None,
            company: None,
            host: None,
            host_source: None,
            steps: Vec::new(),
            decision: None,
            effect: Some(effect),
            next: next.to_owned(),
        }
    }

    /// Nothing could be said: there is neither an appointment nor a company to look in.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.effect.is_none()
    }
}

/// Explains in one transaction, which is never committed.
pub(super) struct Explainer<'a> {
    database: &'a Database,
    tx: &'a DatabaseTransaction,
    schema: &'a GatewaySchema,
    config: &'a Config,
    resolver: Resolver,
}

impl<'a> Explainer<'a> {
    pub(super) fn new(
        database: &'a Database,
        tx: &'a DatabaseTransaction,
        schema: &'a GatewaySchema,
        config: &'a Config,
    ) -> Self {
        Self { database, tx, schema, config, resolver: Resolver::new(config.matching.auto_accept) }
    }

    /// Explains one after the other, each by itself: none learns from the one before.
    pub(super) async fn explain(&self, subjects: Vec<Subject>) -> Result<Vec<Explanation>, Failure> {
        let mut explanations = Vec::new();
        for subject in subjects {
            match subject {
                Subject::Host(host, company) => {
                    let (steps, decision) = self.steps(&host, company).await?;
                    let next = decision.next(None, host.id.map(|id| HostKey::new(company, id)));
                    explanations.push(Explanation {
                        event_type: None,
                        booking: None,
                        company: Some(company),
                        host: Some(*host),
                        host_source: None,
                        steps,
                        decision: Some(decision),
                        effect: None,
                        next,
                    });
                }
                Subject::Event(event, company) => explanations.extend(self.event(&event, company).await?),
                Subject::Ignored(event_type) => explanations.push(Explanation::without_booking(
                    Some(event_type),
                    Effect::ignored(),
                    "nothing: an event of this type is acknowledged and counted",
                )),
                Subject::Unreadable(reason, why) => {
                    let effect = Effect::unreadable(reason, why);
                    explanations.push(Explanation::without_booking(None, effect, reason.remedy()));
                }
                Subject::Reference(reference) => {
                    if let Subject::Event(event, company) = self.remembered(&reference).await? {
                        explanations.extend(self.event(&event, company).await?);
                    }
                }
            }
        }
        Ok(explanations)
    }

    async fn remembered(&self, reference: &BookingRef) -> Result<Subject, Failure> {
        let missing = |text: String| Failure::new(Exit::NotFound, text);
        let found = self.database.in_time(store::remembered(self.tx, self.schema, reference)).await?;
        let remembered = found.map_err(|target| match target {
            Target::Several => missing(format!("several appointments have the booking {reference}")),
            Target::NoCompany => {
                missing(format!("the appointment with the booking {reference} belongs to no company"))
            }
            Target::Missing | Target::Found(_) => missing(format!(
                "no appointment has the booking {reference}; to explain a booking without one, give it \
                 with --booking FILE --company N"
            )),
        })?;
        Subject::again(&remembered).ok_or_else(|| {
            missing(format!(
                "no event with a host has been decided for appointment {}; give the booking with --booking FILE",
                remembered.appointment
            ))
        })
    }

    async fn event(
        &self,
        event: &BookingEvent,
        assumed: Option<CompanyId>,
    ) -> Result<Vec<Explanation>, StoreError> {
        let limit = self.config.worker.redecide_limit;
        // As the worker would see it in the end: after the first attempt it also looks for what was replaced.
        let lookup = store::Lookup { event, tried_before: true };
        let lookups = [lookup];
        let read = store::load_read_only(self.tx, self.schema, &self.resolver, &lookups, limit);
        let mut batch = self.database.in_time(read).await?;
        let targets = batch.targets.pop().unwrap_or_default();
        let companies: Vec<Option<CompanyId>> = targets
            .iter()
            .map(|target| match target {
                Target::Found(id) => batch.loaded.appointments.get(id).map(|found| found.company),
                _ => None,
            })
            .collect();
        let policy = Policy {
            mode: self.config.worker.mode,
            overwrite: self.config.appointments.overwrite,
            now_ms: now_ms(),
        };
        let effects = Rehearsal::new(batch.loaded, &self.resolver, policy).of(event, &targets);

        let mut explanations = Vec::new();
        for ((booking, effect), company) in event.bookings.iter().zip(effects).zip(companies) {
            let company = company.or(event.company).or(assumed);
            let host = booking.host.as_ref();
            let (steps, decision) = match (host, company) {
                (Some((host, _)), Some(company)) => {
                    let (steps, decision) = self.steps(host, company).await?;
                    (steps, Some(decision))
                }
                _ => (Vec::new(), None),
            };
            let next = match &decision {
                Some(decision) => {
                    let id = host.and_then(|(host, _)| host.id);
                    let key = company.zip(id).map(|(company, host)| HostKey::new(company, host));
                    decision.next(Some(&effect), key)
                }
                None if host.is_some() => {
                    "nothing says which company to look in: give it with --company N".to_owned()
                }
                None => effect.next().unwrap_or("nothing").to_owned(),
            };
            explanations.push(Explanation {
                event_type: Some(event.event_type.clone()).filter(|name| !name.is_empty()),
                booking: booking.reference().cloned(),
                company,
                host: host.map(|(host, _)| host.clone()),
                host_source: host.map(|(_, source)| source.as_str()),
                // Without a company there is no appointment either, and nothing to be said.
                effect: (company.is_some() || host.is_none()).then_some(effect),
                steps,
                decision,
                next,
            });
        }
        Ok(explanations)
    }

    async fn steps(&self, host: &Host, company: CompanyId) -> Result<(Vec<StepTold>, Decision), StoreError> {
        let directory = store::directory_for(self.tx, self.schema, company, host.id);
        let directory = self.database.in_time(directory).await?;
        let (steps, resolution) = self.resolver.explain(host, company, &directory);
        Ok((steps.into_iter().map(StepTold::from).collect(), Decision::from(resolution)))
    }
}

impl From<Step> for StepTold {
    fn from(step: Step) -> Self {
        let candidates = step.proposal.candidates.into_iter().map(|candidate| Found {
            staff: candidate.staff,
            confidence: Some(candidate.confidence.0),
            evidence: Some(candidate.evidence),
        });
        let rejected = step.proposal.rejected.into_iter();
        let rejected = rejected.map(|it| Found { staff: it.staff, confidence: None, evidence: None });
        Self {
            priority: step.priority,
            strategy: step.strategy,
            result: match (step.verdict, &step.looked_for) {
                (None, _) => "not asked: it was decided above".to_owned(),
                (Some(verdict), Some(_)) => verdict,
                (Some(_), None) => "the host gives it nothing to look for".to_owned(),
            },
            looked_for: step.looked_for,
            found: candidates.chain(rejected).collect(),
        }
    }
}

impl From<Resolution> for Decision {
    fn from(resolution: Resolution) -> Self {
        match resolution {
            Resolution::Matched { strategy, candidate } => {
                Self::Matched { staff: candidate.staff, strategy, confidence: candidate.confidence.0 }
            }
            Resolution::NeedsReview { review, suggestions } => Self::NeedsReview { review, suggestions },
            Resolution::Unmatched => Self::Unmatched,
        }
    }
}

impl Decision {
    /// What a person can do about it. A host without an id can have no mapping.
    fn next(&self, effect: Option<&Effect>, key: Option<HostKey>) -> String {
        if let Some(next) = effect.and_then(Effect::next) {
            return next.to_owned();
        }
        let set = |staff: &str| {
            key.map(|HostKey { company, host }| {
                // Where no booking has named the host yet, that has to be said.
                let unseen = if effect.is_none() { " [--unseen]" } else { "" };
                format!("hostmatch mappings set --company {company} --host {host} --staff {staff}{unseen}")
            })
        };
        let only = |suggestions: &[Suggestion]| match suggestions {
            [one] => one.staff.to_string(),
            _ => "ID".to_owned(),
        };
        let or_address = "the right member of staff can be given the host's e-mail address in the gateway";
        let (advice, staff) = match self {
            Self::Matched { .. } => return "nothing".to_owned(),
            Self::NeedsReview { review: Review::BelowThreshold, suggestions } => (
                format!(
                    "if the suggestion is right, say so; or {or_address}; matching.auto_accept says from which \
                     confidence on such a match is taken on its own"
                ),
                only(suggestions),
            ),
            Self::NeedsReview { review: Review::Ambiguous, .. } => {
                ("say who it is, or let only one of them have what they share".to_owned(), "ID".to_owned())
            }
            Self::NeedsReview { review: Review::SwitchedOff, suggestions } => {
                ("if it is that person after all, or another, say so".to_owned(), only(suggestions))
            }
            Self::Unmatched => (format!("say who it is; or {or_address}"), "ID".to_owned()),
        };
        match set(&staff) {
            Some(command) => format!("{advice}: {command}"),
            None => format!("{or_address}: a host without an id can have no mapping"),
        }
    }
}
