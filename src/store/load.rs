//! Reads everything that a batch needs: a fixed number of set-based statements, in the transaction that will
//! write, locking the rows that its checks rely on.
//!
//! 1. Hosts without a valid mapping are locked, in key order ([`super::hosts`]). The lock rows are our own, so
//!    the transaction waits for them. Mapped hosts are not locked, so that workers do not wait for each other
//!    on them. Under the lock the mappings are read again; no appointment can start or stop waiting for the
//!    host.
//! 2. The caller runs the strategies, and so determines which hosts are about to be mapped: only their waiting
//!    appointments are loaded.
//! 3. The appointments are locked. They are the gateway's rows: those that another session has locked are left
//!    for a later try, and once the others are locked the transaction no longer waits for locks
//!    ([`set_nowait`]).

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::JoinType;

use super::entity::{appointment, assignment, mapping};
use super::find::{FoundAppointments, Lookup};
use super::hosts::{self, HostLockMode};
use super::mappings::M;
use super::prelude::*;
use super::row_reader::selected;
use super::statement::{any_host, for_update_skip_locked, pad_in_list, set_nowait, values_of};
use super::{GatewaySchema, StoreError, mappings, references, rows, staff};
use crate::event::{
    AppointmentId, Booking, BookingEvent, CompanyId, EventId, EventKind, Host, HostId, StaffId,
};
use crate::matching::{Appointment, ChangeSet, HostKey, Loaded, MappingSource, Outcome, Target};

/// The data that was read for a batch.
#[derive(Debug)]
pub struct Batch {
    /// The input of the plan.
    pub loaded: Loaded,
    /// For each event, the appointment of each of its bookings.
    pub targets: Vec<Vec<Target>>,
    /// The locks that were taken.
    pub locked: Locked,
    purpose: Purpose,
    found: FoundAppointments,
    /// The hosts without a valid mapping.
    unmapped: BTreeSet<HostKey>,
    appointments: BTreeSet<AppointmentId>,
}

/// The locks that a transaction has taken.
#[derive(Clone, Copy, Debug)]
pub struct Locked {
    /// Whether more appointments wait for one of the hosts than were read; the rest has to be read later.
    pub more_waiting: bool,
    /// The mode in which the hosts without a valid mapping were locked.
    hosts: HostLockMode,
}

impl Locked {
    /// Checks whether these changes may be committed under the locks that were taken.
    ///
    /// # Errors
    /// [`StoreError::SharedHost`]: load and plan the batch again with [`HostLockMode::Exclusive`].
    pub fn allow(&self, changes: &ChangeSet) -> Result<()> {
        match self.hosts {
            HostLockMode::Shared if !changes.mappings.is_empty() || !changes.inbox.is_empty() => {
                Err(StoreError::SharedHost)
            }
            HostLockMode::Shared | HostLockMode::Exclusive => Ok(()),
        }
    }
}

/// The purpose for which rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To write the result: locks the hosts, and those appointments that no other session has locked.
    Write(HostLockMode),
    /// To write the result to our own tables only: our own rows are locked in place of the appointments, no
    /// row of the gateway is locked, and and no privilege to write there is needed.
    Observe,
    /// Only to read: nothing is locked, so that no session has to wait.
    ReadOnly,
}

/// Reads the rows that are needed to match the hosts of these events: appointments, mappings, staff and the
/// inbox. [`Batch::load_appointments`] reads the rest. `before`: the state that a dry run keeps from earlier
/// events.
pub async fn load_hosts(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    lookups: &[Lookup<'_>],
    purpose: Purpose,
    before: Option<&Loaded>,
) -> Result<Batch> {
    let events: Vec<&BookingEvent> = lookups.iter().map(|lookup| lookup.event).collect();
    let events = events.as_slice();
    let mut found = FoundAppointments::read(tx, schema, events).await?;
    for (id, appointment) in before.into_iter().flat_map(|before| &before.appointments) {
        found.add_recorded(*id, appointment);
    }
    let targets = found.targets(lookups);
    let references = References::of(events, &targets, &found);

    let mut loaded = Loaded::default();
    for mapping in mappings::active(tx, schema, &references.hosts).await? {
        loaded.directory.add_mapping(mapping);
    }
    let unmapped: BTreeSet<HostKey> =
        references.hosts.iter().copied().filter(|key| !loaded.directory.is_mapped(*key)).collect();

    let mut locked = Locked { more_waiting: false, hosts: HostLockMode::Exclusive };
    if !unmapped.is_empty() {
        let mode = match purpose {
            Purpose::Write(mode) => Some(mode),
            Purpose::Observe => Some(HostLockMode::Exclusive),
            Purpose::ReadOnly => None,
        };
        if let Some(mode) = mode {
            locked.hosts = hosts::lock(tx, schema.backend, &unmapped, mode).await?;
        }
        for key in &unmapped {
            loaded.directory.forget_mappings(*key);
        }
        for mapping in mappings::all(tx, schema, &unmapped).await? {
            loaded.directory.add_mapping(mapping);
        }
        for (key, id) in mappings::last_audits_of(tx, &unmapped).await? {
            loaded.directory.set_last_audit(key, id);
        }
        loaded.inbox = rows::inbox(tx, &unmapped).await?;
    }
    let companies: BTreeSet<CompanyId> =
        unmapped.iter().map(|key| key.company).chain(references.companies_without_host_id).collect();
    for (company, members) in staff::active(tx, schema, &companies).await? {
        loaded.directory.add_roster(company, members);
    }
    let appointments = references.appointments;
    Ok(Batch { loaded, targets, locked, purpose, found, unmapped, appointments })
}

impl Batch {
    /// Returns the host of this booking, if it has no valid mapping. The caller decides whether its waiting
    /// appointments are locked, too.
    pub fn unmapped_host<'b>(&self, booking: &'b Booking, target: &Target) -> Option<(HostKey, &'b Host)> {
        let (host, _) = booking.host.as_ref()?;
        let key = HostKey::new(self.found.company(target.found()?)?, host.id?);
        self.unmapped.contains(&key).then_some((key, host))
    }

    /// Reads the appointments, and what is recorded about these events. `learned`: the hosts that get a
    /// mapping in this batch; of the appointments that wait for one of them at most `limit` are read.
    ///
    /// # Errors
    /// Returns [`StoreError::SharedHost`] in the same cases as [`Locked::allow`], besides other errors.
    pub async fn load_appointments(
        &mut self,
        tx: &impl ConnectionTrait,
        schema: &GatewaySchema,
        learned: &BTreeSet<HostKey>,
        events: &BTreeSet<&EventId>,
        limit: u32,
    ) -> Result<()> {
        if self.locked.hosts == HostLockMode::Shared && !learned.is_empty() {
            return Err(StoreError::SharedHost);
        }
        let waiting = if learned.is_empty() { Vec::new() } else { waiting_for(tx, learned, limit).await? };
        let of_events = self.appointments.clone();
        self.appointments.extend(&waiting);
        let loaded = &mut self.loaded;
        loaded.appointments = appointments(tx, schema, &self.appointments, self.purpose).await?;
        // They decide which of two events counts, so they are read under the appointments' locks.
        for (id, references) in references::of_appointments(tx, &of_events).await? {
            loaded.appointments.entry(id).and_modify(|appointment| appointment.references = references);
        }
        self.locked.more_waiting = waiting.len() as u64 >= u64::from(limit)
            || waiting.iter().any(|id| !loaded.appointments.contains_key(id));
        // If an appointment moved to another company between the two queries, the loaded rows belong to the
        // old company, so the event is retried.
        let found = &self.found;
        loaded.appointments.retain(|id, now| found.company(*id).is_none_or(|then| then == now.company));
        loaded.events = rows::outcomes(tx, events).await?;
        Ok(())
    }

    /// Returns whether each appointment of these targets was read. An appointment was not read if another
    /// session has locked it, or if it has just been deleted or moved to another company.
    pub fn is_complete(&self, targets: &[Target]) -> bool {
        let was_read = |target: &Target| match target {
            Target::Found(id, _) => self.loaded.appointments.contains_key(id),
            Target::Missing | Target::Several | Target::NoCompany => true,
        };
        targets.iter().all(was_read)
    }
}

/// The alias of an assignment in statements with several tables.
const A: &str = "a";

/// Returns up to `limit` waiting appointments whose host has since been mapped by a match, each with its
/// host. (If a person mapped the host, the appointments are offered to that person instead.)
pub async fn waiting_appointments(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    limit: u32,
) -> Result<Vec<(AppointmentId, HostKey)>> {
    use assignment::Column;
    let (a, ap) = (A, "ap");
    let named = [(a, Column::AppointmentId), (a, Column::CompanyId), (a, Column::HostId)];
    let maps_the_host = Expr::col((M, mapping::Column::CalcomHostId))
        .equals((a, Column::HostId))
        .and(Expr::col((M, mapping::Column::IsActive)).eq(true));
    // An appointment that has moved to another company no longer waits.
    let exists_in_company = Expr::col((ap, appointment::Column::Id))
        .equals((a, Column::AppointmentId))
        .and(Expr::col((ap, appointment::Column::CompanyId)).equals((a, Column::CompanyId)));
    let mut select = Query::select();
    WaitingFor::select(&mut select);
    select
        .from_as(assignment::Entity, a)
        .join_as(JoinType::InnerJoin, mapping::Entity, M, maps_the_host)
        .join_as(JoinType::InnerJoin, appointment::Entity, ap, exists_in_company);
    mappings::join_staff(&mut select);
    let source = || Expr::col((M, mapping::Column::MappingSource));
    select
        .and_where(mappings::company().eq(Expr::col((a, Column::CompanyId))))
        .and_where(mappings::has_valid_staff(schema))
        .and_where(Expr::col((a, Column::Outcome)).is_in(Outcome::waiting().map(Outcome::as_str)))
        .and_where(Expr::col((a, Column::StaffId)).is_null())
        .group_by_columns(named)
        // Hosts with two mappings that disagree are left out: their appointments would be decided again and
        // again.
        .and_having(source().count().eq(1))
        .and_having(source().min().like(format!("{}%", MappingSource::MATCH_PREFIX)))
        .order_by((a, Column::AppointmentId), Order::Asc)
        .limit(u64::from(limit));
    let rows = db.query_all(&select).await?;
    let read = |row| {
        let row = WaitingFor::read(row)?;
        Ok((row.appointment, HostKey::new(row.company, row.host)))
    };
    rows.iter().map(read).collect()
}

selected! {
    /// A waiting appointment and its host.
    struct WaitingFor of () {
        appointment: AppointmentId = Expr::col((A, assignment::Column::AppointmentId)),
        company: CompanyId = Expr::col((A, assignment::Column::CompanyId)),
        host: HostId = Expr::col((A, assignment::Column::HostId)),
    }
}

/// Reads these [`waiting_appointments`] appointments for a plan that decides them again, except those that
/// another session has locked.
pub async fn load_waiting(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    waiting: &[(AppointmentId, HostKey)],
) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    let keys = waiting.iter().map(|(_, key)| *key).collect();
    for mapping in mappings::active(tx, schema, &keys).await? {
        loaded.directory.add_mapping(mapping);
    }
    let ids = waiting.iter().map(|(id, _)| *id).collect();
    loaded.appointments = appointments(tx, schema, &ids, Purpose::Write(HostLockMode::Exclusive)).await?;
    Ok(loaded)
}

/// The appointments and hosts that the events of a batch refer to.
#[derive(Default)]
struct References {
    appointments: BTreeSet<AppointmentId>,
    hosts: BTreeSet<HostKey>,
    /// The companies of hosts without an id. Such a host can still be matched by e-mail, so their staff is
    /// needed.
    companies_without_host_id: Vec<CompanyId>,
}

impl References {
    fn of(events: &[&BookingEvent], targets: &[Vec<Target>], found: &FoundAppointments) -> Self {
        let mut references = Self::default();
        for (event, targets) in events.iter().zip(targets) {
            for (booking, target) in event.bookings.iter().zip(targets) {
                let Target::Found(id, _) = target else { continue };
                let Some(company) = found.company(*id) else { continue };
                references.appointments.insert(*id);
                let foreign = event.company.is_some_and(|claimed| claimed != company);
                let assigns = event.kind == EventKind::Assigns && !booking.is_cancelled && !foreign;
                match booking.host.as_ref().filter(|_| assigns).map(|(host, _)| host.id) {
                    Some(Some(host)) => _ = references.hosts.insert(HostKey::new(company, host)),
                    Some(None) => references.companies_without_host_id.push(company),
                    None => {}
                }
            }
        }
        references
    }
}

/// Returns the host lock that is taken in place of an appointment, which is a row of the gateway: one of a
/// host and a company that do not exist (host 0, companies below 0). These rows are never deleted, so their
/// number is bounded: appointments may share one, and then wait for each other.
fn substitute_lock(id: &AppointmentId) -> HostKey {
    HostKey::new(CompanyId(-1 - id.0.rem_euclid(1 << 16)), HostId(0))
}

async fn waiting_for(
    tx: &impl ConnectionTrait,
    keys: &BTreeSet<HostKey>,
    limit: u32,
) -> Result<Vec<AppointmentId>> {
    use assignment::Column;
    let hosts = any_host(Column::CompanyId, Column::HostId, keys.iter().copied());
    let waiting = assignment::Entity::find()
        .filter(hosts)
        .filter(Column::Outcome.is_in(Outcome::waiting().map(Outcome::as_str)))
        .filter(Column::StaffId.is_null())
        .order_by_asc(Column::AppointmentId)
        .limit(u64::from(limit));
    values_of(tx, waiting, Column::AppointmentId).await
}

selected! {
    /// An appointment to decide.
    struct Row of () {
        id: AppointmentId = Expr::col(appointment::Column::Id),
        company: Option<CompanyId> = Expr::col(appointment::Column::CompanyId),
        staff: Option<StaffId> = Expr::col(appointment::Column::StaffId),
        host_id: Option<HostId> = Expr::col(appointment::Column::CalcomHostId),
    }
}

/// Reads these appointments with our own rows; for writing, it reads and locks only those that no other
/// session has locked.
pub(super) async fn appointments(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    ids: &BTreeSet<AppointmentId>,
    purpose: Purpose,
) -> Result<BTreeMap<AppointmentId, Appointment>> {
    let mut appointments = BTreeMap::new();
    if ids.is_empty() {
        return Ok(appointments);
    }
    if purpose == Purpose::Observe {
        hosts::lock(tx, schema.backend, &ids.iter().map(substitute_lock).collect(), HostLockMode::Exclusive)
            .await?;
    }
    let ids = pad_in_list(ids.iter().copied());
    let mut select = Query::select();
    Row::select(&mut select);
    select
        .from(appointment::Entity)
        .and_where(Expr::col(appointment::Column::Id).is_in(ids.iter().copied()))
        .order_by(appointment::Column::Id, Order::Asc);
    if let Purpose::Write(_) = purpose {
        for_update_skip_locked(&mut select, schema.backend);
    }
    let rows = tx.query_all(&select).await?;
    if purpose != Purpose::ReadOnly {
        // This must come after the locking read: without lock waits, MariaDB rolls back a transaction that
        // skips a locked row.
        set_nowait(tx, schema.backend).await?;
    }
    for row in rows {
        let Row { id, company, staff, host_id } = Row::read(&row)?;
        let Some(company) = company else { continue };
        let host_id = host_id.map(|host| host.0);
        appointments.insert(id, Appointment { company, staff, host_id, ..Appointment::of(company) });
    }
    for assignment in rows::assignments(tx, &ids).await? {
        if let Some(appointment) = appointments.get_mut(&assignment.appointment) {
            appointment.assignment = Some(assignment);
        }
    }
    Ok(appointments)
}
