//! The bookings of one appointment: every reference that an event named for it, and which booking replaced which.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Booking, BookingRef};

/// The maximum number of references that are recorded for one appointment: a bound for a sender that invents
/// bookings, far above what people reschedule.
const MAX_REFERENCES: usize = 200;

/// The references of an appointment, each with the booking that replaced it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct References(BTreeMap<BookingRef, Option<BookingRef>>);

impl References {
    /// Adds a reference that is recorded.
    pub(crate) fn add(&mut self, reference: BookingRef, replaced_by: Option<BookingRef>) {
        self.0.insert(reference, replaced_by);
    }

    /// Returns all references.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &BookingRef> {
        self.0.keys()
    }

    /// Returns the booking that replaced this one.
    pub(super) fn replaced_by(&self, reference: &BookingRef) -> Option<&BookingRef> {
        self.0.get(reference)?.as_ref()
    }

    /// Adds the references that a booking of the appointment names. Returns those that are new or have
    /// changed.
    pub(crate) fn learn(&mut self, booking: &Booking) -> Vec<BookingRef> {
        let mut changed = Vec::new();
        let is_over = booking.links.replaced_by.as_ref().filter(|_| !booking.links.names_seat);
        for own in booking.own() {
            self.set(own, is_over.filter(|by| booking.own().all(|own| own != *by)), &mut changed);
        }
        if booking.links.names_seat {
            return changed;
        }
        let by = booking.own().next();
        for replaced in booking.replaced() {
            self.set(replaced, by, &mut changed);
        }
        // The booking that followed the first one is not known here: what names it directly wins.
        if let Some(root) = booking.first_of_chain() {
            let known = self.replaced_by(root).cloned();
            self.set(root, known.as_ref().or(by), &mut changed);
        }
        if let Some(next) = is_over {
            self.set(next, None, &mut changed);
        }
        changed
    }

    fn set(&mut self, reference: &BookingRef, by: Option<&BookingRef>, changed: &mut Vec<BookingRef>) {
        let known = self.0.get(reference);
        let is_full = known.is_none() && self.0.len() >= MAX_REFERENCES;
        if is_full || known.is_some_and(|known| by.is_none() || known.as_ref() == by) {
            return;
        }
        self.0.insert(reference.clone(), by.cloned());
        changed.push(reference.clone());
    }

    /// Compares a booking with another one of the same appointment, whatever the times of their events: a
    /// booking is less than those that replaced it. Equal: their times decide.
    pub(super) fn compare(&self, booking: &Booking, other: &BookingRef) -> Ordering {
        if booking.own().any(|own| own == other) {
            return Ordering::Equal;
        }
        let followers = |start: &BookingRef| {
            let mut found = BTreeSet::new();
            let mut next = self.replaced_by(start);
            while let Some(one) = next.filter(|one| found.insert(*one)) {
                next = self.replaced_by(one);
            }
            found
        };
        let comes_before = booking.own().any(|own| followers(own).contains(other));
        let followers_of_other = followers(other);
        let comes_after = booking.own().any(|own| followers_of_other.contains(own));
        match (comes_before, comes_after) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            _ => {
                let is_over = booking.own().any(|own| self.replaced_by(own).is_some());
                self.replaced_by(other).is_some().cmp(&is_over)
            }
        }
    }
}
