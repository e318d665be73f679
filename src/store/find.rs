//! Finds the appointment of a booking. If the event has an `appointment_id`, only that is used. Otherwise the
//! booking's own references are tried (`uid`, `id`), then those of the booking that it replaced, then the first
//! booking of its chain of reschedules; each in the gateway's columns, then among the references that led to an
//! appointment before ([`super::references`]). Other bookings than its own are tried only from the second
//! attempt on, because the gateway may be about to write a new row; at once if the booking has no reference.
//!
//! References are bound with the column's own type and compared byte for byte here: with a case-insensitive
//! collation, the database treats two uids that differ only in case as equal, and a number as equal to a
//! string that begins with it.

use std::collections::{BTreeSet, HashMap};

use super::entity::appointment::{Column, Entity};
use super::prelude::*;
use super::references::{self, Recorded};
use super::row_reader::selected;
use super::statement::pad_in_list;
use super::{DbId, GatewaySchema, RefColumn};
use crate::event::{AppointmentId, Booking, BookingEvent, BookingRef, CompanyId};
use crate::matching::{Appointment, FoundBy, Target};

/// An event whose appointments are to be found.
#[derive(Clone, Copy, Debug)]
pub struct Lookup<'a> {
    /// The event.
    pub event: &'a BookingEvent,
    /// Whether the event was tried before: then a missing appointment may be searched for under other
    /// bookings of its chain. On the first attempt the gateway may be about to write a new row.
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
    /// By the gateway's own columns.
    by_ref: HashMap<BookingRef, BTreeSet<AppointmentId>>,
    /// By the references that led to an appointment before.
    recorded: HashMap<BookingRef, BTreeSet<AppointmentId>>,
    companies: HashMap<AppointmentId, Option<CompanyId>>,
}

impl FoundAppointments {
    /// Finds the appointments for the references of these events. A booking's later references are used only
    /// if its earlier ones found nothing in the gateway's columns. This takes one statement per reference
    /// column and round, one for the recorded references, and one for the appointments given by id.
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
        let rounds: [fn(&Booking) -> Vec<&BookingRef>; 3] = [own_uid, own_id, other_references];
        for references in rounds {
            let refs = found.not_found(&bookings).flat_map(references).collect();
            found.read_refs(tx, schema, &refs).await?;
        }
        let refs = found
            .not_found(&bookings)
            .flat_map(|booking| rounds.into_iter().flat_map(move |of| of(booking)))
            .collect();
        found.read_recorded(tx, &refs).await?;
        Ok(found)
    }

    /// Returns the bookings whose own references found nothing in the gateway's columns.
    fn not_found<'b>(&self, bookings: &[&'b Booking]) -> impl Iterator<Item = &'b Booking> {
        bookings.iter().copied().filter(|booking| !self.has_any(booking))
    }

    /// Finds the appointment for this one reference.
    pub(super) async fn find_one(
        tx: &impl ConnectionTrait,
        schema: &GatewaySchema,
        reference: &BookingRef,
    ) -> Result<Target> {
        let mut found = Self::default();
        let refs = BTreeSet::from([reference]);
        found.read_refs(tx, schema, &refs).await?;
        found.read_recorded(tx, &refs).await?;
        Ok(found.by_references(&[(FoundBy::Uid, reference)], None).unwrap_or(Target::Missing))
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

    async fn read_recorded(&mut self, tx: &impl ConnectionTrait, refs: &BTreeSet<&BookingRef>) -> Result<()> {
        for Recorded { reference, appointment, company } in references::recorded(tx, refs).await? {
            // A folding collation may find others.
            let Some(reference) = reference.filter(|reference| refs.contains(reference)) else { continue };
            self.companies.insert(appointment, company);
            self.recorded.entry(reference).or_default().insert(appointment);
        }
        Ok(())
    }

    /// Adds what is recorded about an appointment, as far as it is not stored yet.
    pub(super) fn add_recorded(&mut self, id: AppointmentId, appointment: &Appointment) {
        self.companies.entry(id).or_insert(Some(appointment.company));
        for reference in appointment.references.iter() {
            self.recorded.entry(reference.clone()).or_default().insert(id);
        }
    }

    /// Returns the appointment of each booking of these events. An event finds the references that the events
    /// before it have led to an appointment, as if those had been decided in a batch of their own.
    pub(super) fn targets(&mut self, lookups: &[Lookup<'_>]) -> Vec<Vec<Target>> {
        let mut of_event = |lookup: &Lookup<'_>| {
            let mut of_booking = |booking| {
                let target = self.target(lookup, booking);
                self.learn(lookup.event, booking, target);
                target
            };
            lookup.event.bookings.iter().map(&mut of_booking).collect()
        };
        lookups.iter().map(&mut of_event).collect()
    }

    fn learn(&mut self, event: &BookingEvent, booking: &Booking, target: Target) {
        let Some((id, company)) = target.found().and_then(|id| Some((id, self.company(id)?))) else { return };
        // An event that names another company is refused.
        if event.company.is_some_and(|claimed| claimed != company) {
            return;
        }
        let mut appointment = Appointment::of(company);
        appointment.references.learn(booking);
        self.add_recorded(id, &appointment);
    }

    /// Returns the appointment for this booking of this event.
    fn target(&self, lookup: &Lookup<'_>, booking: &Booking) -> Target {
        if let Some(id) = lookup.event.appointment {
            return self.target_of(id, FoundBy::AppointmentId);
        }
        let mut groups = FoundBy::references(booking);
        if !lookup.tried_before {
            groups[0].retain(|(_, one)| Some(*one) != booking.replaces.as_ref());
        }
        let tries_all = lookup.tried_before || booking.own().next().is_none();
        let tried = if tries_all { &groups[..] } else { &groups[..1] };
        let mut found = tried.iter().map(|refs| self.by_references(refs, lookup.event.company));
        found.find_map(|target| target).unwrap_or(Target::Missing)
    }

    /// Returns whether an appointment was found by the booking's own references in the gateway's columns.
    fn has_any(&self, booking: &Booking) -> bool {
        booking
            .own()
            .filter(|one| Some(*one) != booking.replaces.as_ref())
            .any(|one| self.by_ref.contains_key(one))
    }

    /// Returns the appointment for the first of these references that finds one: in the gateway's columns, then
    /// among the recorded ones. `company`: the one that the event names; others that have recorded the same
    /// reference then do not count beside it.
    fn by_references(&self, refs: &[(FoundBy, &BookingRef)], company: Option<CompanyId>) -> Option<Target> {
        if let Some((by, ids)) = refs.iter().find_map(|(by, one)| Some((*by, self.by_ref.get(*one)?))) {
            return Some(self.one_of(ids.iter().copied(), by));
        }
        let (by, ids) = refs.iter().find_map(|(by, one)| Some((by.recorded(), self.recorded.get(*one)?)))?;
        let of_company = |id: &AppointmentId| company.is_some() && self.company(*id) == company;
        let own: Vec<AppointmentId> = ids.iter().copied().filter(of_company).collect();
        Some(if own.is_empty() {
            self.one_of(ids.iter().copied(), by)
        } else {
            self.one_of(own.into_iter(), by)
        })
    }

    fn one_of(&self, mut ids: impl Iterator<Item = AppointmentId>, by: FoundBy) -> Target {
        match (ids.next(), ids.next()) {
            (Some(id), None) => self.target_of(id, by),
            (Some(_), Some(_)) => Target::Several,
            (None, _) => Target::Missing,
        }
    }

    /// Returns the company of an appointment that was found.
    pub(super) fn company(&self, id: AppointmentId) -> Option<CompanyId> {
        self.companies.get(&id).copied().flatten()
    }

    fn target_of(&self, id: AppointmentId, by: FoundBy) -> Target {
        match self.companies.get(&id) {
            Some(Some(_)) => Target::Found(id, by),
            Some(None) => Target::NoCompany,
            None => Target::Missing,
        }
    }
}

fn own_uid(booking: &Booking) -> Vec<&BookingRef> {
    booking.uid.iter().collect()
}

fn own_id(booking: &Booking) -> Vec<&BookingRef> {
    booking.id.iter().collect()
}

/// Returns the references of other bookings by which a booking's appointment can be found.
fn other_references(booking: &Booking) -> Vec<&BookingRef> {
    booking.replaced().chain(booking.first_of_chain()).collect()
}
