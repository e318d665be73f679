//! Which appointment does a booking mean? By `appointment_id` if the event has one, and then by
//! nothing else; else by the booking's `uid`, else its `id`, else (from the second attempt on, for
//! the gateway may be just about to write a new row) the booking that it replaced.
//!
//! References are bound with the column's own type and compared byte for byte here: under a
//! folding collation two uids that differ only in case are equal to the database, and a number
//! matches a text that merely begins with it.

use std::collections::{BTreeSet, HashMap};

use super::entity::appointment::{Column, Entity};
use super::prelude::*;
use super::row_reader::selected;
use super::statement::pad_in_list;
use super::{DbId, GatewaySchema, RefColumn};
use crate::event::{AppointmentId, Booking, BookingEvent, BookingRef, CompanyId};
use crate::matching::Target;

/// An event to be looked up.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The event.
    pub event: &'a BookingEvent,
    /// It was tried before: an appointment that is still missing may now be looked for under the
    /// booking that was replaced. At first sight the gateway may be just about to write a new one.
    pub tried_before: bool,
}

selected! {
    /// An appointment that an event names.
    struct Named of () {
        id: AppointmentId = Expr::col(Column::Id),
        company: Option<CompanyId> = Expr::col(Column::CompanyId),
    }
}

/// Where each reference of a batch was found, and the company of every appointment found.
#[derive(Debug, Default)]
pub(super) struct Found {
    by_ref: HashMap<BookingRef, BTreeSet<AppointmentId>>,
    companies: HashMap<AppointmentId, Option<CompanyId>>,
}

impl Found {
    /// Looks up the references of these events, those in second place only where nothing is found by the
    /// first: one statement for each column of references and each place, and one for the appointments that
    /// are named by id.
    pub(super) async fn read(
        tx: &impl ConnectionTrait,
        schema: &GatewaySchema,
        events: &[&BookingEvent],
    ) -> Result<Self> {
        let mut found = Self::default();
        let ids: BTreeSet<i64> = events.iter().filter_map(|event| event.appointment).map(|id| id.0).collect();
        if !ids.is_empty() {
            let mut select = Query::select();
            Named::select(&mut select);
            select.from(Entity).and_where(Expr::col(Column::Id).is_in(pad_in_list(ids)));
            for row in tx.query_all(&select).await? {
                found.add(Named::read(&row)?);
            }
        }
        let unnamed = || events.iter().filter(|event| event.appointment.is_none());
        let bookings: Vec<&Booking> = unnamed().flat_map(|event| &event.bookings).collect();
        // Most are found by the first; so there is usually one query for one reference of each booking.
        for choice in 0..REFERENCES {
            let open = bookings.iter().filter(|booking| !found.has_any(booking));
            let refs = open.filter_map(|booking| references(booking)[choice]).collect();
            found.read_refs(tx, schema, &refs).await?;
        }
        Ok(found)
    }

    /// The appointment that this one reference names.
    pub(super) async fn named(
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
            // A parameter is text: such a comparison would use no index of a CHAR column.
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
        Named::select(&mut select);
        select.column(column.name).from(Entity);
        select.and_where(Expr::col(column.name).is_in(pad_in_list(values)));
        for row in tx.query_all(&select).await? {
            let id = self.add(Named::read(&row)?);
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

    fn add(&mut self, appointment: Named) -> AppointmentId {
        self.companies.insert(appointment.id, appointment.company);
        appointment.id
    }

    /// The appointment that this booking of this event means.
    pub(super) fn target(&self, lookup: &Lookup<'_>, booking: &Booking) -> Target {
        if let Some(id) = lookup.event.appointment {
            return self.checked(id);
        }
        let replaced = booking.replaces.as_ref();
        let may_be = |one: &&BookingRef| lookup.tried_before || Some(*one) != replaced;
        self.by_reference(references(booking).into_iter().flatten().filter(may_be))
    }

    /// Whether it is found without looking for what it replaced.
    fn has_any(&self, booking: &Booking) -> bool {
        let own = [&booking.uid, &booking.id].into_iter().flatten();
        own.filter(|one| Some(*one) != booking.replaces.as_ref()).any(|one| self.by_ref.contains_key(one))
    }

    fn by_reference<'a>(&self, mut refs: impl Iterator<Item = &'a BookingRef>) -> Target {
        let hit = refs.find_map(|reference| self.by_ref.get(reference));
        match hit.map(|ids| (ids.first(), ids.len())) {
            Some((Some(id), 1)) => self.checked(*id),
            Some((Some(_), _)) => Target::Several,
            _ => Target::Missing,
        }
    }

    /// The company of an appointment that was found.
    pub(super) fn company(&self, id: AppointmentId) -> Option<CompanyId> {
        self.companies.get(&id).copied().flatten()
    }

    fn checked(&self, id: AppointmentId) -> Target {
        match self.companies.get(&id) {
            Some(Some(_)) => Target::Found(id),
            Some(None) => Target::NoCompany,
            None => Target::Missing,
        }
    }
}

/// What a booking is called, in the order in which to look.
fn references(booking: &Booking) -> [Option<&BookingRef>; REFERENCES] {
    [&booking.uid, &booking.id, &booking.replaces].map(Option::as_ref)
}

/// How many a booking may have.
const REFERENCES: usize = 3;
