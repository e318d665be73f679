//! Reads and writes the references of bookings that led to an appointment. They are compared byte for byte.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::sea_query::{InsertStatement, JoinType, OnConflict};

use super::entity::appointment;
use super::entity::booking_reference::{Column, Entity};
use super::prelude::*;
use super::row_reader::selected;
use super::statement::{insert, pad_in_list};
use crate::event::{AppointmentId, BookingRef, CompanyId};
use crate::matching::{ReferenceRow, References};

selected! {
    /// A reference that is recorded for an appointment; `None` for a string that is none.
    pub(super) struct Recorded of () {
        pub(super) reference: Option<BookingRef> = Expr::col((Entity, Column::Reference)),
        pub(super) appointment: AppointmentId = Expr::col((Entity, Column::AppointmentId)),
        pub(super) company: Option<CompanyId> = Expr::col((appointment::Entity, appointment::Column::CompanyId)),
    }
}

/// Finds the appointments for which these references are recorded.
pub(super) async fn recorded(
    tx: &impl ConnectionTrait,
    references: &BTreeSet<&BookingRef>,
) -> Result<Vec<Recorded>> {
    if references.is_empty() {
        return Ok(Vec::new());
    }
    let exists =
        Expr::col((appointment::Entity, appointment::Column::Id)).equals((Entity, Column::AppointmentId));
    let texts = references.iter().map(|reference| reference.as_str());
    let mut select = Query::select();
    Recorded::select(&mut select);
    select
        .from(Entity)
        .join(JoinType::InnerJoin, appointment::Entity, exists)
        .and_where(Expr::col((Entity, Column::Reference)).is_in(pad_in_list(texts)));
    let rows = tx.query_all(&select).await?;
    Ok(rows.iter().map(Recorded::read).collect::<Result<_, _>>()?)
}

selected! {
    /// A reference of an appointment.
    struct OfAppointment of () {
        appointment: AppointmentId = Expr::col(Column::AppointmentId),
        reference: Option<BookingRef> = Expr::col(Column::Reference),
        replaced_by: Option<BookingRef> = Expr::col(Column::ReplacedBy),
    }
}

/// Reads the recorded references of these appointments.
pub(super) async fn of_appointments(
    tx: &impl ConnectionTrait,
    ids: &BTreeSet<AppointmentId>,
) -> Result<BTreeMap<AppointmentId, References>> {
    let mut all: BTreeMap<AppointmentId, References> = BTreeMap::new();
    if ids.is_empty() {
        return Ok(all);
    }
    let mut select = Query::select();
    OfAppointment::select(&mut select);
    select.from(Entity).and_where(Expr::col(Column::AppointmentId).is_in(pad_in_list(ids.iter().copied())));
    for row in tx.query_all(&select).await? {
        let OfAppointment { appointment, reference, replaced_by } = OfAppointment::read(&row)?;
        if let Some(reference) = reference {
            all.entry(appointment).or_default().add(reference, replaced_by);
        }
    }
    Ok(all)
}

/// Builds the statement that records references.
pub(super) fn record(rows: &[ReferenceRow]) -> InsertStatement {
    let row = |row: &ReferenceRow| {
        [
            (Column::Reference, row.reference.as_str().into()),
            (Column::AppointmentId, row.appointment.into()),
            (Column::ReplacedBy, row.replaced_by.as_ref().map(BookingRef::as_str).into()),
        ]
    };
    let mut insert = insert::<Entity, 3>(rows.iter().map(row));
    let mut conflict = OnConflict::columns([Column::Reference, Column::AppointmentId]);
    insert.on_conflict(conflict.update_column(Column::ReplacedBy).to_owned());
    insert
}
