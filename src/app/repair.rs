//! Putting the past right: the appointments that waited for a host get their member of staff now that a
//! person has said who it is; and are given back, while nobody else has touched them.
//!
//! They are decided by the very plan by which a worker decides appointments again, so that its guards
//! hold here too: only who still waits is touched, never what a person assigned. Each part is one
//! transaction: the host's lock first, then those appointments that nobody else has locked, waiting for
//! none. What was done is noted with it; so a repair can be gone on with by anybody at any time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::carry_out::{again, fitting};
use super::decision::Author;
use super::offer::{Offer, RepairError, Tally};
use crate::config::{Mode, Overwrite};
use crate::event::{AppointmentId, Host, StaffId};
use crate::matching::{
    Appointment, AppointmentWrite, ChangeSet, Directory, HostKey, Loaded, Plan, Policy, Resolution, Resolver,
};
use crate::runtime::backoff::Delays;
use crate::runtime::clock::now_ms;
use crate::runtime::crash_points;
use crate::store::{
    self, Database, GatewaySchema, ItemState, Mark, NewRepair, Prior, RepairItem, RepairRow, RepairScope,
    RepairState, StoreError,
};

/// Appointments in one transaction.
const PART: u64 = 250;

/// How often what is locked is tried again before it is left for another time.
const ROUNDS: u32 = 6;

/// Makes repairs in one database.
#[derive(Debug)]
pub struct Repairer<'a> {
    database: &'a Database,
    schema: &'a GatewaySchema,
    resolver: Resolver,
}

/// What became of one part.
struct Part {
    /// The last appointment that was looked at; none when there were none.
    last: Option<i64>,
    /// Somebody else has locked some of them.
    is_locked: bool,
    size: usize,
}

/// Appointments that could not be read.
struct Missing {
    is_locked: bool,
    gone: Vec<RepairItem>,
}

impl<'a> Repairer<'a> {
    /// For this database.
    pub fn new(database: &'a Database, schema: &'a GatewaySchema) -> Self {
        // Mappings alone are looked at: the threshold for new matches is of no consequence.
        Self { database, schema, resolver: Resolver::new(100) }
    }

    /// What could be put right for this host now.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn offer(&self, key: HostKey) -> Result<Offer, StoreError> {
        self.offer_in(self.database.connection(), key).await
    }

    async fn offer_in(&self, db: &impl ConnectionTrait, key: HostKey) -> Result<Offer, StoreError> {
        let directory = store::directory_for(db, self.schema, key.company, Some(key.host)).await?;
        let mut offer = Offer { staff: self.mapped(key, &directory), ..Offer::default() };
        let now_ms = now_ms();
        for one in store::waiting_of(db, key).await? {
            match one.starts_ms {
                Some(ms) if ms >= now_ms => offer.future.push(one),
                Some(_) => offer.past.push(one),
                None => offer.unknown.push(one),
            }
        }
        Ok(offer)
    }

    /// The member of staff that the host's mapping names, if it counts.
    fn mapped(&self, key: HostKey, directory: &Directory) -> Option<StaffId> {
        let mut mappings = Directory::default();
        directory.mappings(key).iter().for_each(|mapping| mappings.add_mapping(mapping.clone()));
        let host = Host { id: Some(key.host), ..Host::default() };
        match self.resolver.resolve(&host, key.company, &mappings) {
            Resolution::Matched { candidate, .. } => Some(candidate.staff),
            _ => None,
        }
    }

    /// Freezes a repair of the appointments that wait now. `None`: there are none.
    ///
    /// # Errors
    /// [`RepairError`]
    pub async fn begin(
        &self,
        key: HostKey,
        scope: RepairScope,
        author: &Author,
        why: Option<&str>,
    ) -> Result<Option<i64>, RepairError> {
        let begun = again(self.database, async |tx: &DatabaseTransaction| {
            store::lock_host(tx, self.schema, key).await?;
            let offer = self.offer_in(tx, key).await?;
            let Some(staff) = offer.staff.clone() else { return Ok(None) };
            let waiting = offer.chosen(scope);
            if waiting.is_empty() {
                return Ok(Some(None));
            }
            let (made_by, why) = (author.as_str().to_owned(), why.map(fitting));
            let repair = NewRepair { key, staff, scope, made_by, why, created_ms: now_ms() };
            Ok(Some(Some(store::begin_repair(tx, self.schema, &repair, &waiting).await?)))
        });
        begun.await?.ok_or(RepairError::NotMapped(key.host))
    }

    /// Assigns the appointments of a repair that are still to be assigned, in parts. `watch` is told how
    /// many were looked at. What is locked is tried again for a while, and then stays pending.
    ///
    /// # Errors
    /// [`RepairError`]; what was done before is done, and noted.
    pub async fn apply(&self, id: i64, watch: impl FnMut(usize)) -> Result<RepairRow, RepairError> {
        let repair = self.find(id).await?;
        if repair.state != RepairState::Running {
            return Err(RepairError::Ended { id, state: repair.state });
        }
        self.in_parts(watch, async |tx: &DatabaseTransaction, after| self.assign(tx, &repair, after).await)
            .await?;
        self.find(id).await
    }

    /// Gives the appointments of a repair back that nobody else has touched since, in parts.
    ///
    /// # Errors
    /// [`RepairError`]; what was done before is done, and noted.
    pub async fn undo(
        &self,
        id: i64,
        author: &Author,
        why: Option<&str>,
        watch: impl FnMut(usize),
    ) -> Result<RepairRow, RepairError> {
        let repair = self.find(id).await?;
        let why = why.map(fitting);
        let begun = again(self.database, async |tx: &DatabaseTransaction| {
            // Behind whoever assigns a part of it at the moment.
            store::lock_host(tx, self.schema, repair.key).await?;
            store::start_undoing(tx, id, author.as_str(), why.as_deref()).await
        });
        if !begun.await? && self.find(id).await?.state != RepairState::Undoing {
            return Err(RepairError::Ended { id, state: repair.state });
        }
        let part = async |tx: &DatabaseTransaction, after| self.give_back(tx, &repair, after).await;
        self.in_parts(watch, part).await?;
        self.find(id).await
    }

    /// How many appointments of a repair stand where.
    ///
    /// # Errors
    /// [`StoreError`]
    pub async fn tally(&self, id: i64) -> Result<Tally, StoreError> {
        let mut tally = Tally::default();
        for (state, count) in store::repair_item_counts(self.database.connection(), id).await? {
            *match state {
                ItemState::Pending => &mut tally.pending,
                ItemState::Done => &mut tally.done,
                ItemState::Left => &mut tally.left,
                ItemState::Undone => &mut tally.undone,
                ItemState::Kept => &mut tally.kept,
            } += count;
        }
        Ok(tally)
    }

    async fn find(&self, id: i64) -> Result<RepairRow, RepairError> {
        let found = self.database.in_time(store::repair(self.database.connection(), id, None)).await?;
        found.ok_or(RepairError::Unknown(id))
    }

    /// Does part after part; those that had locked rows again, from the beginning, for some rounds.
    async fn in_parts(
        &self,
        mut watch: impl FnMut(usize),
        mut part: impl AsyncFnMut(&DatabaseTransaction, i64) -> Result<Part, StoreError>,
    ) -> Result<(), StoreError> {
        let mut delays = Delays::new(Duration::from_millis(50), Duration::from_millis(500));
        let mut seen = 0;
        for round in 0..ROUNDS {
            let (mut after, mut is_locked) = (0, false);
            loop {
                let done =
                    again(self.database, async |tx: &DatabaseTransaction| part(tx, after).await).await?;
                crash_points::point("repair_part");
                let Some(last) = done.last else { break };
                (after, is_locked) = (last, is_locked || done.is_locked);
                if round == 0 {
                    seen += done.size;
                    watch(seen);
                }
            }
            if !is_locked {
                return Ok(());
            }
            tokio::time::sleep(delays.next()).await;
        }
        Ok(())
    }

    async fn assign(
        &self,
        tx: &DatabaseTransaction,
        repair: &RepairRow,
        after: i64,
    ) -> Result<Part, StoreError> {
        store::lock_host(tx, self.schema, repair.key).await?;
        let pending = Some(ItemState::Pending);
        let items = store::repair_items(tx, repair.id, pending, after, PART).await?;
        let Some(last) = items.last() else {
            if store::repair_items(tx, repair.id, pending, 0, 1).await?.is_empty() {
                let from = [RepairState::Running];
                store::set_repair_state(tx, repair.id, &from, RepairState::Done, now_ms()).await?;
            }
            return Ok(Part { last: None, is_locked: false, size: 0 });
        };
        let waiting: Vec<(AppointmentId, HostKey)> =
            items.iter().map(|item| (item.appointment, repair.key)).collect();
        let mut loaded = store::load_waiting(tx, self.schema, &waiting).await?;
        if self.mapped(repair.key, &loaded.directory).as_ref() != Some(&repair.staff) {
            let from = [RepairState::Running];
            store::set_repair_state(tx, repair.id, &from, RepairState::Stopped, now_ms()).await?;
            return Ok(Part { last: None, is_locked: false, size: 0 });
        }
        let missing = Self::missing(tx, &items, |id| loaded.appointments.contains_key(id)).await?;
        let part = Part { last: Some(last.appointment.0), is_locked: missing.is_locked, size: items.len() };
        let mut marks = leave(&mut loaded, repair.key);
        marks.extend(missing.gone.iter().map(|item| mark(item, ItemState::Left, Some("gone"))));
        let prior: BTreeMap<AppointmentId, Prior> = loaded
            .appointments
            .iter()
            .filter_map(|(id, appointment)| Some((*id, Prior::of(appointment.assignment.as_ref()?))))
            .collect();
        let policy = Policy { mode: Mode::Assign, overwrite: Overwrite::Ours, now_ms: now_ms() };
        let mut plan = Plan::new(loaded, &self.resolver, policy);
        plan.redecide_waiting();
        let changes = plan.finish();
        marks.extend(changes.assignments.iter().map(|row| Mark {
            appointment: row.appointment,
            state: ItemState::Done,
            reason: None,
            prior: prior.get(&row.appointment).cloned(),
            decided_ms: Some(row.decided_ms),
        }));
        store::mark_items(tx, repair.id, &marks).await?;
        store::commit(tx, self.schema, &changes).await?;
        Ok(part)
    }

    /// Those of these items that were not read: because somebody else has locked them, or because they
    /// are not there any more.
    async fn missing(
        tx: &DatabaseTransaction,
        items: &[RepairItem],
        was_read: impl Fn(&AppointmentId) -> bool,
    ) -> Result<Missing, StoreError> {
        let missing: BTreeSet<AppointmentId> =
            items.iter().map(|item| item.appointment).filter(|id| !was_read(id)).collect();
        let there = store::still_there(tx, &missing).await?;
        let is_gone =
            |item: &&RepairItem| missing.contains(&item.appointment) && !there.contains(&item.appointment);
        Ok(Missing { is_locked: !there.is_empty(), gone: items.iter().filter(is_gone).cloned().collect() })
    }

    async fn give_back(
        &self,
        tx: &DatabaseTransaction,
        repair: &RepairRow,
        after: i64,
    ) -> Result<Part, StoreError> {
        store::lock_host(tx, self.schema, repair.key).await?;
        let done = Some(ItemState::Done);
        let items = store::repair_items(tx, repair.id, done, after, PART).await?;
        let Some(last) = items.last() else {
            if store::repair_items(tx, repair.id, done, 0, 1).await?.is_empty() {
                let from = [RepairState::Undoing];
                store::set_repair_state(tx, repair.id, &from, RepairState::Undone, now_ms()).await?;
            }
            return Ok(Part { last: None, is_locked: false, size: 0 });
        };
        let ids: BTreeSet<AppointmentId> = items.iter().map(|item| item.appointment).collect();
        let appointments = store::free_appointments(tx, self.schema, &ids).await?;
        let missing = Self::missing(tx, &items, |id| appointments.contains_key(id)).await?;
        let part = Part { last: Some(last.appointment.0), is_locked: missing.is_locked, size: items.len() };
        let mut changes = ChangeSet::default();
        let mut marks: Vec<Mark> =
            missing.gone.iter().map(|item| mark(item, ItemState::Kept, Some("gone"))).collect();
        for item in &items {
            let Some(appointment) = appointments.get(&item.appointment) else { continue };
            let (state, reason) = match untouched(appointment, repair, item.decided_ms) {
                Err(reason) => (ItemState::Kept, Some(reason)),
                Ok(row) => match item.prior.as_ref().and_then(|prior| prior.restore(row)) {
                    None => (ItemState::Kept, Some("newer_event")),
                    Some(row) => {
                        let (id, host_id) = (item.appointment, appointment.host_id);
                        changes.appointments.push(AppointmentWrite { id, staff: None, host_id });
                        changes.assignments.push(row);
                        (ItemState::Undone, None)
                    }
                },
            };
            marks.push(mark(item, state, reason));
        }
        store::mark_items(tx, repair.id, &marks).await?;
        store::commit(tx, self.schema, &changes).await?;
        Ok(part)
    }
}

/// What an item is from now on.
fn mark(item: &RepairItem, state: ItemState, reason: Option<&'static str>) -> Mark {
    let (prior, decided_ms) = (item.prior.clone(), item.decided_ms);
    Mark { appointment: item.appointment, state, reason, prior, decided_ms }
}

/// Takes out of what was loaded whatever does not wait for this host any more.
fn leave(loaded: &mut Loaded, key: HostKey) -> Vec<Mark> {
    let why = |appointment: &Appointment| match &appointment.assignment {
        _ if appointment.company != key.company => Some("other_company"),
        _ if appointment.staff.is_some() => Some("assigned_meanwhile"),
        Some(row) if row.waits_for() == Some(key) => None,
        _ => Some("waits_no_more"),
    };
    let mut marks = Vec::new();
    loaded.appointments.retain(|id, appointment| {
        let reason = why(appointment);
        if reason.is_some() {
            let (state, prior, decided_ms) = (ItemState::Left, None, None);
            marks.push(Mark { appointment: *id, state, reason, prior, decided_ms });
        }
        reason.is_none()
    });
    marks
}

/// Our row of an appointment that is as the repair left it; or why it is not.
fn untouched<'a>(
    appointment: &'a Appointment,
    repair: &RepairRow,
    decided_ms: Option<i64>,
) -> Result<&'a crate::matching::Assignment, &'static str> {
    let staff = Some(&repair.staff);
    let Some(row) = appointment.assignment.as_ref().filter(|_| appointment.staff.as_ref() == staff) else {
        return Err("assigned_meanwhile");
    };
    let is_ours = row.staff.as_ref() == staff && Some(row.decided_ms) == decided_ms;
    if is_ours { Ok(row) } else { Err("decided_meanwhile") }
}
