//! Hands over the hosts and future appointments of one member of staff to another, in one transaction.
//! Undoes a hand-over, except for hosts and appointments that have been changed since.
//!
//! Only appointments that hostmatch assigned are handed over. Those that a person assigned are listed and do
//! not change.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::prelude::TextUuid;
use sea_orm::{ConnectionTrait, DatabaseTransaction, Set};
use serde::Serialize;

use super::carry_out::{DecisionBatch, decide, predict, transact_with_retries};
use super::decision::{Command, Decision, Refusal};
use super::ruling::check_staff;
use super::{AppContext, AppError};
use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::matching::{AppointmentWrite, Assignment, ChangeSet, Confidence, Evidence, HostKey, Outcome};
use crate::runtime::clock::now_ms;
use crate::store::entity::hand_over::{ActiveModel, Model};
use crate::store::{
    self, GatewaySchema, HandedOver, MappingFilter, Prior, Scope, StaffAppointment, StoreError,
    changes_of_batch, list_mappings, staff_facts,
};

/// The maximum number of mappings to hand over.
const MAX_MAPPINGS: u64 = 10_000;

/// The request to hand over from one member of staff to another.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// The company of both members of staff.
    pub company: CompanyId,
    /// The departing member of staff.
    pub from: StaffId,
    /// The member of staff who takes over.
    pub to: StaffId,
    /// Only appointments that start at this time or later are handed over, ms since 1970.
    pub from_ms: i64,
    /// The reason, in the author's words.
    pub reason: Option<String>,
}

/// The result or preview of a hand-over. `docs/commands.md` describes its JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HandOverView {
    /// The id of the hand-over. `None` for a preview.
    pub hand_over: Option<i64>,
    /// The hosts that are handed over.
    pub hosts: Vec<HostId>,
    /// The appointments that are handed over.
    pub appointments: Vec<StaffAppointment>,
    /// The appointments of the departing member of staff that hostmatch did not assign; they are not handed
    /// over.
    #[serde(rename = "left")]
    pub not_handed_over: Vec<StaffAppointment>,
    /// The number of the departing member's appointments without a known start; they are not handed over.
    pub undated: i64,
}

/// The result of undoing a hand-over. `docs/commands.md` describes its JSON.
#[derive(Debug, Default, Serialize)]
pub struct UndoneHandOver {
    /// The id of the hand-over.
    pub hand_over: i64,
    /// The restored hosts.
    pub hosts: Vec<HostId>,
    /// The restored appointments.
    pub appointments: Vec<AppointmentId>,
    /// The hosts that were not restored, and why.
    #[serde(rename = "hosts_left")]
    pub unrestored_hosts: Vec<UnrestoredHost>,
    /// The appointments that were not restored, because they have been changed since.
    #[serde(rename = "appointments_left")]
    pub unrestored_appointments: Vec<AppointmentId>,
}

/// A host whose mapping could not be restored.
#[derive(Debug, Serialize)]
pub struct UnrestoredHost {
    pub(crate) host: HostId,
    pub(crate) why: String,
}

/// Previews a hand-over. Writes nothing and locks nothing.
pub async fn preview_hand_over(context: &AppContext, request: &HandOver) -> Result<HandOverView, AppError> {
    let (db, schema) = (context.connection(), &context.schema);
    request.check(context).await?;
    let decisions = request.decisions(db, schema).await?;
    for answer in predict(db, schema, &decisions).await? {
        answer.map_err(not_allowed)?;
    }
    Ok(request.find_view(db, schema, &decisions).await?)
}

/// Hands over everything or nothing. On failure nothing is changed.
pub async fn hand_over(context: &AppContext, request: &HandOver) -> Result<HandOverView, AppError> {
    preview_hand_over(context, request).await?;
    let batch = DecisionBatch::new(context.author.clone());
    let work = async |tx: &DatabaseTransaction| request.hand_over(tx, &context.schema, &batch).await;
    Ok(transact_with_retries(&context.database, work).await?)
}

/// Turns a refusal into an error for the whole hand-over, for example because a member of staff is unknown or
/// may not take over.
fn not_allowed(refusal: Refusal) -> AppError {
    AppError::NotAllowed(refusal.to_string())
}

impl HandOver {
    /// Checks that both members of staff exist in the company and that `to` can take over.
    async fn check(&self, context: &AppContext) -> Result<(), AppError> {
        let ids = BTreeSet::from([self.from.clone(), self.to.clone()]);
        let facts = staff_facts(context.connection(), &context.schema, &ids).await?;
        for staff in [&self.from, &self.to] {
            let fact = facts.get(staff).ok_or_else(|| not_allowed(Refusal::NoStaff(staff.clone())))?;
            if fact.company != Some(self.company) || !context.scope.contains(self.company) {
                let (staff, company) = (staff.clone(), self.company);
                return Err(not_allowed(Refusal::OtherCompany { staff, company }));
            }
        }
        let (from, to) = (&facts[&self.from], &facts[&self.to]);
        if from.id == to.id {
            return Err(AppError::NotAllowed(format!(
                "staff {} cannot take over from themselves: choose another member of staff",
                self.from
            )));
        }
        check_staff(to, self.company).map_err(not_allowed)
    }

    /// Returns one decision for each host of the departing member of staff.
    async fn decisions(
        &self,
        db: &impl ConnectionTrait,
        schema: &GatewaySchema,
    ) -> Result<Vec<Decision>, StoreError> {
        let filter = MappingFilter {
            staff: Some(self.from.clone()),
            is_active: Some(true),
            ..MappingFilter::default()
        };
        let scope = Scope::of(Some(self.company));
        let mappings = list_mappings(db, schema, &scope, &filter, MAX_MAPPINGS).await?;
        let hosts: BTreeSet<HostId> = mappings.iter().map(|row| row.host).collect();
        let decision = |host| Decision {
            reason: self.reason.clone().or_else(|| Some(format!("handed over from staff {}", self.from))),
            allow_unseen_host: true,
            ..Decision::new(self.company, host, Command::Set(self.to.clone()))
        };
        Ok(hosts.into_iter().map(decision).collect())
    }

    async fn find_view(
        &self,
        db: &impl ConnectionTrait,
        schema: &GatewaySchema,
        decisions: &[Decision],
    ) -> Result<HandOverView, StoreError> {
        let all = store::appointments_of_staff(db, schema, self.company, &self.from, self.from_ms).await?;
        let (appointments, not_handed_over) = all.into_iter().partition(|one| one.is_ours);
        Ok(HandOverView {
            hand_over: None,
            hosts: decisions.iter().map(|decision| decision.key.host).collect(),
            appointments,
            not_handed_over,
            undated: store::count_without_known_start(db, schema, self.company, &self.from).await?,
        })
    }

    async fn hand_over(
        &self,
        tx: &DatabaseTransaction,
        schema: &GatewaySchema,
        batch: &DecisionBatch,
    ) -> Result<HandOverView, StoreError> {
        let decisions = self.decisions(tx, schema).await?;
        store::lock_hosts(tx, schema, &decisions.iter().map(|decision| decision.key).collect()).await?;
        // Another decision may have been made before the hosts were locked. It must stay in force.
        if self.decisions(tx, schema).await? != decisions {
            return Err(StoreError::Conflict(format!(
                "hosts of staff {} were changed in the meantime",
                self.from
            )));
        }
        let mut view = self.find_view(tx, schema, &decisions).await?;
        let ids: BTreeSet<AppointmentId> = view.appointments.iter().map(|one| one.appointment).collect();
        // This must precede `decide`, after which the transaction does not wait for locks: MariaDB rolls back
        // such a transaction when it skips a locked row.
        let unlocked = store::lock_appointments(tx, schema, &ids).await?;
        // The preview was accepted a moment ago, so a refusal means that something changed: retry.
        let changed = |refusal: Refusal| StoreError::Conflict(refusal.to_string());
        for answer in decide(tx, schema, batch, &decisions).await? {
            answer.map_err(changed)?;
        }
        let now_ms = now_ms();
        let (mut changes, mut handed_over) = (ChangeSet::default(), Vec::new());
        for id in &ids {
            let Some(appointment) = unlocked.get(id) else {
                return Err(StoreError::Conflict(format!("appointment {id} is locked by another session")));
            };
            let row = appointment.assignment.as_ref().filter(|row| row.staff == appointment.staff);
            let Some(row) = row.filter(|row| row.staff.is_some()) else {
                return Err(StoreError::Conflict(format!("appointment {id} was changed in the meantime")));
            };
            handed_over.push(HandedOver { appointment: *id, prior: Prior::of(row) });
            let (staff, host_id) = (Some(self.to.clone()), appointment.host_id);
            changes.appointments.push(AppointmentWrite { id: *id, staff, host_id });
            changes.assignments.push(self.assigned(row, now_ms));
        }
        store::commit(tx, schema, &changes).await?;
        let row = ActiveModel {
            token: Set(TextUuid(batch.id)),
            company_id: Set(self.company),
            from_staff_id: Set(self.from.of_kind(schema.staff_key)?),
            to_staff_id: Set(self.to.of_kind(schema.staff_key)?),
            from_ms: Set(self.from_ms),
            appointments: Set(serde_json::to_string(&handed_over).unwrap_or_else(|_| "[]".to_owned())),
            made_by: Set(batch.author.as_str().to_owned()),
            why: Set(self.reason.clone()),
            at_ms: Set(now_ms),
            ..Default::default()
        };
        view.hand_over = Some(store::insert_hand_over(tx, row).await?);
        Ok(view)
    }

    fn assigned(&self, row: &Assignment, now_ms: i64) -> Assignment {
        Assignment {
            staff: Some(self.to.clone()),
            found: Some(self.to.clone()),
            observed: None,
            mapping: None,
            strategy: Some("manual".to_owned()),
            confidence: Some(Confidence(100)),
            evidence: Some(Evidence { field: "hand_over".to_owned(), value: self.from.to_string() }),
            outcome: Outcome::Assigned,
            review: None,
            decided_ms: now_ms,
            ..row.clone()
        }
    }
}

/// Undoes a hand-over for each host and each appointment that has not been changed since. On failure
/// nothing is changed.
pub async fn undo_hand_over(
    context: &AppContext,
    id: i64,
    reason: Option<&str>,
) -> Result<UndoneHandOver, AppError> {
    let row = context.with_deadline(store::hand_over(context.connection(), &context.scope, id)).await?;
    let row = row.ok_or_else(|| AppError::NotFound(format!("hand-over {id}")))?;
    let already_undone = || AppError::NotAllowed(format!("hand-over {id} has already been undone"));
    if row.undone_ms.is_some() {
        return Err(already_undone());
    }
    let batch = DecisionBatch::new(context.author.clone());
    let work = async |tx: &DatabaseTransaction| undo_in(tx, &context.schema, &batch, &row, reason).await;
    transact_with_retries(&context.database, work).await?.ok_or_else(already_undone)
}

/// Undoes a hand-over in this transaction. Returns `None` if the hand-over was undone in the meantime.
async fn undo_in(
    tx: &DatabaseTransaction,
    schema: &GatewaySchema,
    batch: &DecisionBatch,
    row: &Model,
    reason: Option<&str>,
) -> Result<Option<UndoneHandOver>, StoreError> {
    let changes = changes_of_batch(tx, schema, row.token.0).await?;
    let keys: BTreeSet<HostKey> = changes.iter().map(|change| change.key).collect();
    store::lock_hosts(tx, schema, &keys).await?;
    if !store::record_hand_over_undone(tx, row.id, batch.author.as_str(), reason, now_ms()).await? {
        return Ok(None);
    }
    let handed_over: BTreeMap<AppointmentId, HandedOver> =
        store::handed_over(row)?.into_iter().map(|it| (it.appointment, it)).collect();
    let ids: BTreeSet<AppointmentId> = handed_over.keys().copied().collect();
    let unlocked = store::lock_appointments(tx, schema, &ids).await?;
    let mut undone = UndoneHandOver { hand_over: row.id, ..UndoneHandOver::default() };
    let why = reason.map_or_else(|| format!("undo of hand-over {}", row.id), str::to_owned);
    let decisions: Vec<Decision> =
        changes.into_iter().map(|change| Decision::reverting(change, why.clone())).collect();
    for (decision, answer) in decisions.iter().zip(decide(tx, schema, batch, &decisions).await?) {
        match answer {
            Ok(_) => undone.hosts.push(decision.key.host),
            Err(refusal) => {
                undone
                    .unrestored_hosts
                    .push(UnrestoredHost { host: decision.key.host, why: refusal.to_string() });
            }
        }
    }
    let missing: BTreeSet<AppointmentId> =
        ids.iter().copied().filter(|id| !unlocked.contains_key(id)).collect();
    if !store::existing_appointments(tx, &missing).await?.is_empty() {
        return Err(StoreError::Conflict(
            "appointments of the hand-over are locked by another session".into(),
        ));
    }
    undone.unrestored_appointments.extend(missing);
    let mut changes = ChangeSet::default();
    for (id, appointment) in &unlocked {
        let is_receiver = |staff: &Option<StaffId>| staff.as_ref() == Some(&row.to_staff_id);
        let assignment = appointment.assignment.as_ref();
        let unchanged = assignment.filter(|it| {
            is_receiver(&appointment.staff) && is_receiver(&it.staff) && it.decided_ms == row.at_ms
        });
        let restored = unchanged.and_then(|now| handed_over.get(id)?.prior.restore(now));
        let Some(restored) = restored.filter(|_| appointment.company == row.company_id) else {
            undone.unrestored_appointments.push(*id);
            continue;
        };
        let (staff, host_id) = (Some(row.from_staff_id.clone()), appointment.host_id);
        changes.appointments.push(AppointmentWrite { id: *id, staff: staff.clone(), host_id });
        changes.assignments.push(Assignment { staff, ..restored });
        undone.appointments.push(*id);
    }
    store::commit(tx, schema, &changes).await?;
    Ok(Some(undone))
}
