//! Reads the rows that a decision reads, but without locks, so that no worker has to wait for a person's
//! query.

use std::collections::{BTreeMap, BTreeSet};

use super::entity::assignment;
use super::find::FoundAppointments;
use super::prelude::*;
use super::statement::values_of;
use super::{GatewaySchema, load, mappings, rows, staff};
use crate::event::{AppointmentId, BookingRef, CompanyId, HostId};
use crate::matching::{Appointment, Assignment, Directory, FoundBy, HostKey, Mapping, Target};

/// Reads everything that the strategies use for one host: all of its mappings, valid or not, and the
/// company's staff. Without a host id, reads only the staff.
pub async fn directory_for(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    company: CompanyId,
    host: Option<HostId>,
) -> Result<Directory> {
    let keys = host.map(|host| HostKey::new(company, host)).into_iter().collect();
    directory_of(tx, schema, &keys, &BTreeSet::from([company]), |_| true).await
}

/// Does the same as [`directory_for`] for several hosts, with the staff of these companies and those mappings
/// that are `wanted`.
pub async fn directory_of(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    keys: &BTreeSet<HostKey>,
    companies: &BTreeSet<CompanyId>,
    wanted: impl Fn(&Mapping) -> bool,
) -> Result<Directory> {
    let mut directory = Directory::default();
    if !keys.is_empty() {
        for mapping in mappings::all(tx, schema, keys).await?.into_iter().filter(wanted) {
            directory.add_mapping(mapping);
        }
    }
    for (company, members) in staff::active(tx, schema, companies).await? {
        directory.add_roster(company, members);
    }
    Ok(directory)
}

/// Reads these appointments with our own rows, as far as they exist and belong to a company.
pub(crate) async fn read_appointments(
    db: &impl ConnectionTrait,
    schema: &GatewaySchema,
    ids: &BTreeSet<AppointmentId>,
) -> Result<BTreeMap<AppointmentId, Appointment>> {
    load::appointments(db, schema, ids, load::Purpose::ReadOnly).await
}

/// The appointment that a reference identifies, with our record of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedAppointment {
    /// The appointment.
    pub appointment: AppointmentId,
    /// Whether the reference is in the gateway's columns, or was recorded.
    pub found_by: FoundBy,
    /// Our record of it, with the booking's payload as long as that is kept. `None`: no event about it has
    /// been decided.
    pub assignment: Option<Assignment>,
}

/// Returns the appointment that this reference identifies, with its record; if there is none, the target that
/// explains why.
pub async fn recorded_appointment(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    reference: &BookingRef,
) -> Result<Result<RecordedAppointment, Target>> {
    let (appointment, found_by) = match FoundAppointments::find_one(tx, schema, reference).await? {
        Target::Found(id, by) => (id, by),
        other => return Ok(Err(other)),
    };
    let assignment = rows::assignments_with_payload(tx, &[appointment]).await?.pop();
    Ok(Ok(RecordedAppointment { appointment, found_by, assignment }))
}

/// Returns up to `limit` decisions that were only observed and are still to be written, for appointments
/// after `after`, ordered by appointment, with their bookings as long as these are kept.
pub async fn observed(
    db: &impl ConnectionTrait,
    after: AppointmentId,
    limit: u64,
) -> Result<Vec<Assignment>> {
    use assignment::Column;
    let observed = assignment::Entity::find()
        .filter(Column::Observed.is_not_null())
        .filter(Column::AppointmentId.gt(after))
        .order_by_asc(Column::AppointmentId)
        .limit(limit);
    let ids: Vec<AppointmentId> = values_of(db, observed, Column::AppointmentId).await?;
    let mut found = rows::assignments_with_payload(db, &ids).await?;
    found.sort_unstable_by_key(|assignment| assignment.appointment);
    Ok(found)
}
