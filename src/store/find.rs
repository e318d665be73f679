//! Finds the appointment of a booking. If the event has an `appointment_id`, only that is used. Otherwise the
//! booking's `uid` is tried, then its `id`, then the booking that it replaced: that one only from the second
//! attempt on, because the gateway may be about to write a new row.
//!
//! References are bound with the column's own type and compared byte for byte here: with a case-insensitive
//! collation, the database treats two uids that differ only in case as equal, and a number as equal to a
//! string that begins with it.

use std::collections::{BTreeSet, HashMap};

use super::entity::appointment::{Column, Entity};
use super::prelude::*;
use super::row_reader::selected;
use super::statement::pad_in_list;
use super::{DbId, GatewaySchema, RefColumn};
use crate::event::{AppointmentId, Booking, BookingEvent, BookingRef, CompanyId};
use crate::matching::Target;

/// An event whose appointments are to be found.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The event.
    pub event: &'a BookingEvent,
    /// Whether the event was tried before: then a missing appointment may be searched for under the replaced
    /// booking. On the first attempt the gateway may be about to write a new row.
    pub tried_before: bool,
}

selected! {
    /// An appointment that an event refers to.
    struct AppointmentRow of () {
        id: AppointmentId = Expr::col(Column::Id),
        company: Option<CompanyId> = Expr::col(Column::CompanyId),
    }
}

/// The appointments found for each reference of a batch, and the company of each appointment.
#[derive(Debug, Default)]
pub(super) struct FoundAppointments {
    by_ref: HashMap<BookingRef, BTreeSet<AppointmentId>>,
    companies: HashMap<AppointmentId, Option<CompanyId>>,
}

impl FoundAppointments {
    /// Finds the appointments for the references of these events. A booking's later references are used only
    /// if its earlier ones found nothing. This takes one statement per reference column and round, and one
    /// for the appointments given by id.
    pub(super) async fn read(
        tx: &impl ConnectionTrait,
        schema: &GatewaySchema,
        events: &[&BookingEvent],
    ) -> Result<Self> {
        let mut found = Self::default();
        let ids: BTreeSet<i64> = events.iter().filter_map(|event| event.appointment).map(|id| id.0).collect();
        if !ids.is_empty() {
            let mut select = Query::select();
            AppointmentRow::select(&mut select);
            select.from(Entity).and_where(Expr::col(Column::Id).is_in(pad_in_list(ids)));
            for row in tx.query_all(&select).await? {
                found.add(AppointmentRow::read(&row)?);
            }
        }
        let without_appointment = || events.iter().filter(|event| event.appointment.is_none());
        let bookings: Vec<&Booking> = without_appointment().flat_map(|event| &event.bookings).collect();
        // Most appointments are found by the first reference, so one round is usually enough.
        for round in 0..REFERENCES {
            let not_found = bookings.iter().filter(|booking| !found.has_any(booking));
            let refs = not_found.filter_map(|booking| references(booking)[round]).collect();
            found.read_refs(tx, schema, &refs).await?;
        }
        Ok(found)
    }

    /// Finds the appointment for this one reference.
    pub(super) async fn find_one(
        tx: &impl ConnectionTrait,
        schema: &GatewaySchema,
        reference: &BookingRef,
    ) -> Result<Target> {
        let mut found = Self::default();
        found.read_refs(tx, schema, &BTreeSet::from([reference])).await?;
        Ok(found.by_reference(std::iter::once(reference)))
    }

    async fn read_refs(
        &mut self,
        tx: &impl ConnectionTrait,
        schema: &GatewaySchema,
        refs: &BTreeSet<&BookingRef>,
    ) -> Result<()> {
        if !refs.is_empty() {
            for column in &schema.booking_refs {
                self.read_column(tx, column, refs).await?;
            }
        }
        Ok(())
    }

    async fn read_column(
        &mut self,
        tx: &impl ConnectionTrait,
        column: &RefColumn,
        refs: &BTreeSet<&BookingRef>,
    ) -> Result<()> {
        let is_bpchar = column.is_padded && tx.get_database_backend() == DbBackend::Postgres;
        let text = |reference: &&BookingRef| {
            let value = Expr::val(reference.as_str());
            // A parameter is text, and comparing a CHAR column with text would not use its index.
            if is_bpchar { value.cast_as("bpchar") } else { value }
        };
        let values: Vec<Expr> = if column.numeric {
            refs.iter().filter_map(|reference| reference.as_number()).map(Expr::val).collect()
        } else {
            refs.iter().map(text).collect()
        };
        if values.is_empty() {
            return Ok(());
        }
        let mut select = Query::select();
        AppointmentRow::select(&mut select);
        select.column(column.name).from(Entity);
        select.and_where(Expr::col(column.name).is_in(pad_in_list(values)));
        for row in tx.query_all(&select).await? {
            let id = self.add(AppointmentRow::read(&row)?);
            let text = match column.numeric {
                true => row.try_get::<DbId>("", column.name)?.0.to_string(),
                false => row.try_get::<String>("", column.name)?,
            };
            let text = if column.is_padded { text.trim_end_matches(' ') } else { &text };
            if let Some(reference) = BookingRef::new(text).filter(|reference| refs.contains(reference)) {
                self.by_ref.entry(reference).or_default().insert(id);
            }
        }
        Ok(())
    }

    fn add(&mut self, appointment: AppointmentRow) -> AppointmentId {
        self.companies.insert(appointment.id, appointment.company);
        appointment.id
    }

    /// Returns the appointment for this booking of this event.
    pub(super) fn target(&self, lookup: &Lookup<'_>, booking: &Booking) -> Target {
        if let Some(id) = lookup.event.appointment {
            return self.target_of(id);
        }
        let replaced = booking.replaces.as_ref();
        let is_allowed = |one: &&BookingRef| lookup.tried_before || Some(*one) != replaced;
        self.by_reference(references(booking).into_iter().flatten().filter(is_allowed))
    }

    /// Returns whether an appointment was found by the booking's own references.
    fn has_any(&self, booking: &Booking) -> bool {
        let own = [&booking.uid, &booking.id].into_iter().flatten();
        own.filter(|one| Some(*one) != booking.replaces.as_ref()).any(|one| self.by_ref.contains_key(one))
    }

    fn by_reference<'a>(&self, mut refs: impl Iterator<Item = &'a BookingRef>) -> Target {
        let hit = refs.find_map(|reference| self.by_ref.get(reference));
        match hit.map(|ids| (ids.first(), ids.len())) {
            Some((Some(id), 1)) => self.target_of(*id),
            Some((Some(_), _)) => Target::Several,
            _ => Target::Missing,
        }
    }

    /// Returns the company of an appointment that was found.
    pub(super) fn company(&self, id: AppointmentId) -> Option<CompanyId> {
        self.companies.get(&id).copied().flatten()
    }

    fn target_of(&self, id: AppointmentId) -> Target {
        match self.companies.get(&id) {
            Some(Some(_)) => Target::Found(id),
            Some(None) => Target::NoCompany,
            None => Target::Missing,
        }
    }
}

/// Returns a booking's references, in the order in which they are searched.
fn references(booking: &Booking) -> [Option<&BookingRef>; REFERENCES] {
    [&booking.uid, &booking.id, &booking.replaces].map(Option::as_ref)
}

/// The maximum number of references of a booking.
const REFERENCES: usize = 3;
