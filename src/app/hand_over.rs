//! A member of staff leaves: their hosts and their appointments to come go to somebody else, in one
//! transaction, and back again while nobody else has touched them.
//!
//! Only what hostmatch has assigned is handed over. What a person assigned is told, and left.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::carry_out::{Act, again, decide, predict};
use super::decision::{Command, Decision, Refusal};
use crate::event::{AppointmentId, CompanyId, HostId, StaffId};
use crate::matching::{AppointmentWrite, Assignment, ChangeSet, Confidence, Evidence, HostKey, Outcome};
use crate::runtime::clock::now_ms;
use crate::store::{
    self, Database, GatewaySchema, Given, HandOverRow, Held, MappingFilter, Prior, StoreError,
    changes_of_act, list_mappings, staff_facts,
};

/// Mappings of one member of staff, at most.
const MOST: u64 = 10_000;

/// What is to go from whom to whom.
#[derive(Clone, Debug)]
pub struct HandOver {
    /// The company of both.
    pub company: CompanyId,
    /// Who leaves.
    pub from: StaffId,
    /// Who takes over.
    pub to: StaffId,
    /// Appointments that start then or later, ms since 1970.
    pub from_ms: i64,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// What a hand-over comes to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Handed {
    /// Its number; none of one that was only looked at.
    pub id: Option<i64>,
    /// The hosts.
    pub hosts: Vec<HostId>,
    /// The appointments that are handed over.
    pub appointments: Vec<Held>,
    /// Those that somebody else gave to the one who leaves: they stay.
    pub theirs: Vec<Held>,
    /// Appointments of the one who leaves of which nobody knows when they are: they stay.
    pub undated: i64,
}

/// What came of taking one back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenBack {
    /// The hosts that are as they were.
    pub hosts: Vec<HostId>,
    /// The appointments that are.
    pub appointments: Vec<AppointmentId>,
    /// Hosts that were changed again since, and why they stay.
    pub hosts_left: Vec<(HostId, Refusal)>,
    /// Appointments that were.
    pub appointments_left: Vec<AppointmentId>,
}

/// Why nothing is handed over, or taken back.
#[derive(Debug, thiserror::Error)]
pub enum HandOverError {
    /// The database's error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Both are the same.
    #[error("staff {0} cannot take over from themselves")]
    Same(StaffId),
    /// One of the two is nobody there, or may not take over.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// There is none with this number.
    #[error("company {company} has no hand-over {id}")]
    Unknown {
        /// Its number.
        id: i64,
        /// The company.
        company: CompanyId,
    },
    /// It was taken back before.
    #[error("hand-over {0} was taken back before")]
    Undone(i64),
}

type Answer<T> = Result<T, HandOverError>;

impl HandOver {
    /// What would be handed over now. Writes nothing and locks nothing.
    ///
    /// # Errors
    /// [`HandOverError`]
    pub async fn preview(&self, db: &impl ConnectionTrait, schema: &GatewaySchema) -> Answer<Handed> {
        self.check(db, schema).await?;
        let decisions = self.decisions(db, schema).await?;
        for answer in predict(db, schema, &decisions).await? {
            answer?;
        }
        Ok(self.found(db, schema, &decisions).await?)
    }

    /// Hands over, all of it or nothing.
    ///
    /// # Errors
    /// [`HandOverError`]; nothing was done then.
    pub async fn carry_out(&self, database: &Database, schema: &GatewaySchema, act: &Act) -> Answer<Handed> {
        self.preview(database.connection(), schema).await?;
        let work = async |tx: &DatabaseTransaction| self.hand_over(tx, schema, act).await;
        Ok(again(database, work).await?)
    }

    async fn check(&self, db: &impl ConnectionTrait, schema: &GatewaySchema) -> Answer<()> {
        let both = BTreeSet::from([self.from.clone(), self.to.clone()]);
        let facts = staff_facts(db, schema, &both).await?;
        let of = |staff: &StaffId| facts.get(staff).ok_or_else(|| Refusal::NoStaff(staff.clone()));
        let (from, to) = (of(&self.from)?, of(&self.to)?);
        if from.id == to.id {
            return Err(HandOverError::Same(self.from.clone()));
        }
        for (staff, fact) in [(&self.from, from), (&self.to, to)] {
            if fact.company != Some(self.company) {
                return Err(Refusal::Foreign { staff: staff.clone(), company: self.company }.into());
            }
        }
        if to.is_deleted {
            return Err(Refusal::Deleted(self.to.clone()).into());
        }
        if !to.is_active {
            return Err(Refusal::Inactive(self.to.clone()).into());
        }
        Ok(())
    }

    /// One for each host of the one who leaves.
    async fn decisions(
        &self,
        db: &impl ConnectionTrait,
        schema: &GatewaySchema,
    ) -> Result<Vec<Decision>, StoreError> {
        let filter = MappingFilter {
            company: Some(self.company),
            staff: Some(self.from.clone()),
            is_active: Some(true),
            ..MappingFilter::default()
        };
        let mappings = list_mappings(db, schema, &filter, MOST).await?;
        let hosts: BTreeSet<HostId> = mappings.iter().map(|entry| entry.row.host).collect();
        let decision = |host| Decision {
            reason: self.reason.clone().or_else(|| Some(format!("handed over from staff {}", self.from))),
            may_be_new: true,
            ..Decision::new(self.company, host, Command::Set(self.to.clone()))
        };
        Ok(hosts.into_iter().map(decision).collect())
    }

    async fn found(
        &self,
        db: &impl ConnectionTrait,
        schema: &GatewaySchema,
        decisions: &[Decision],
    ) -> Result<Handed, StoreError> {
        let held = store::held_by(db, schema, self.company, &self.from, self.from_ms).await?;
        let (appointments, theirs) = held.into_iter().partition(|held| held.is_ours);
        Ok(Handed {
            id: None,
            hosts: decisions.iter().map(|decision| decision.key.host).collect(),
            appointments,
            theirs,
            undated: store::held_at_unknown_times(db, schema, self.company, &self.from).await?,
        })
    }

    async fn hand_over(
        &self,
        tx: &DatabaseTransaction,
        schema: &GatewaySchema,
        act: &Act,
    ) -> Result<Handed, StoreError> {
        let decisions = self.decisions(tx, schema).await?;
        store::lock_hosts(tx, schema, &decisions.iter().map(|decision| decision.key).collect()).await?;
        // What somebody has decided until the locks were there stands.
        if self.decisions(tx, schema).await? != decisions {
            return Err(StoreError::Conflict(format!("hosts of staff {} were changed meanwhile", self.from)));
        }
        let mut handed = self.found(tx, schema, &decisions).await?;
        let ids: BTreeSet<AppointmentId> = handed.appointments.iter().map(|held| held.appointment).collect();
        // Before anything that waits for nobody: then MariaDB rolls back who skips a locked row.
        let free = store::free_appointments(tx, schema, &ids).await?;
        // It was all right a moment ago: when it is not, it is looked at once more.
        let changed = |refusal: Refusal| StoreError::Conflict(refusal.to_string());
        for answer in decide(tx, schema, act, &decisions).await? {
            answer.map_err(changed)?;
        }
        let now_ms = now_ms();
        let (mut changes, mut given) = (ChangeSet::default(), Vec::new());
        for id in &ids {
            let Some(appointment) = free.get(id) else {
                return Err(StoreError::Conflict(format!("appointment {id} is locked")));
            };
            let row = appointment.assignment.as_ref().filter(|row| row.staff == appointment.staff);
            let Some(row) = row.filter(|row| row.staff.is_some()) else {
                return Err(StoreError::Conflict(format!("appointment {id} was changed meanwhile")));
            };
            given.push(Given { appointment: *id, prior: Prior::of(row) });
            let (staff, host_id) = (Some(self.to.clone()), appointment.host_id);
            changes.appointments.push(AppointmentWrite { id: *id, staff, host_id });
            changes.assignments.push(self.assigned(row, now_ms));
        }
        store::commit(tx, schema, &changes).await?;
        let row = HandOverRow {
            id: 0,
            act: act.id,
            company: self.company,
            from: self.from.clone(),
            to: self.to.clone(),
            from_ms: self.from_ms,
            given,
            made_by: act.author.as_str().to_owned(),
            why: self.reason.clone(),
            at_ms: now_ms,
            undone_ms: None,
        };
        handed.id = Some(store::insert_hand_over(tx, schema, &row).await?);
        Ok(handed)
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

/// Takes a hand-over back: each host and each appointment that nobody else has touched since.
///
/// # Errors
/// [`HandOverError`]; nothing was done then.
pub async fn take_back(
    database: &Database,
    schema: &GatewaySchema,
    act: &Act,
    (id, company): (i64, CompanyId),
    reason: Option<&str>,
) -> Answer<TakenBack> {
    let found = database.in_time(store::hand_over(database.connection(), id, company)).await?;
    let row = found.ok_or(HandOverError::Unknown { id, company })?;
    if row.undone_ms.is_some() {
        return Err(HandOverError::Undone(id));
    }
    let work = async |tx: &DatabaseTransaction| give_back(tx, schema, act, &row, reason).await;
    again(database, work).await?.ok_or(HandOverError::Undone(id))
}

/// None: it was taken back meanwhile.
async fn give_back(
    tx: &DatabaseTransaction,
    schema: &GatewaySchema,
    act: &Act,
    row: &HandOverRow,
    reason: Option<&str>,
) -> Result<Option<TakenBack>, StoreError> {
    let changes = changes_of_act(tx, schema, row.act).await?;
    let keys: BTreeSet<HostKey> = changes.iter().map(|change| change.key).collect();
    store::lock_hosts(tx, schema, &keys).await?;
    if !store::note_hand_over_undone(tx, row.id, act.author.as_str(), reason, now_ms()).await? {
        return Ok(None);
    }
    let given: BTreeMap<AppointmentId, &Given> = row.given.iter().map(|it| (it.appointment, it)).collect();
    let ids: BTreeSet<AppointmentId> = given.keys().copied().collect();
    let free = store::free_appointments(tx, schema, &ids).await?;
    let mut back = TakenBack::default();
    let decisions: Vec<Decision> = changes
        .into_iter()
        .map(|change| {
            let mut decision = Decision::new(change.key.company, change.key.host, Command::Revert(change));
            let usual = || format!("hand-over {} is taken back", row.id);
            decision.reason = Some(reason.map_or_else(usual, str::to_owned));
            decision
        })
        .collect();
    for (decision, answer) in decisions.iter().zip(decide(tx, schema, act, &decisions).await?) {
        match answer {
            Ok(_) => back.hosts.push(decision.key.host),
            Err(refusal) => back.hosts_left.push((decision.key.host, refusal)),
        }
    }
    let missing: BTreeSet<AppointmentId> = ids.iter().copied().filter(|id| !free.contains_key(id)).collect();
    if !store::still_there(tx, &missing).await?.is_empty() {
        return Err(StoreError::Conflict("appointments of the hand-over are locked".into()));
    }
    back.appointments_left.extend(missing);
    let mut changes = ChangeSet::default();
    for (id, appointment) in &free {
        let has = |staff: &Option<StaffId>| staff.as_ref() == Some(&row.to);
        let ours = appointment.assignment.as_ref();
        let ours = ours.filter(|it| has(&appointment.staff) && has(&it.staff) && it.decided_ms == row.at_ms);
        let restored = ours.and_then(|now| given.get(id)?.prior.restore(now));
        let Some(restored) = restored.filter(|_| appointment.company == row.company) else {
            back.appointments_left.push(*id);
            continue;
        };
        let (staff, host_id) = (Some(row.from.clone()), appointment.host_id);
        changes.appointments.push(AppointmentWrite { id: *id, staff: staff.clone(), host_id });
        changes.assignments.push(Assignment { staff, ..restored });
        back.appointments.push(*id);
    }
    store::commit(tx, schema, &changes).await?;
    Ok(Some(back))
}
