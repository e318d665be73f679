//! Finds values of an event that count as absent although something was sent, so that this can be reported. It decides
//! nothing about how an event is read.

use serde_json::Value;

use super::fields::{self, Object};
use super::{booking, forms};
use crate::event::booking::OddForm;
use crate::event::zone::LocalZone;

/// Reports such values of an event, besides its bookings: each by its key.
pub(super) fn in_event(event: &Object, mut report: impl FnMut(&str, OddForm)) {
    for (key, value) in event.iter().filter(|(_, value)| !value.is_null()) {
        let form = match key.as_str() {
            "company_id" | "appointment_id" => blank(value),
            "occurred_at" | "createdAt" | "time" => unreadable_time(value),
            "event_id" if !value.is_string() && !value.is_number() => Some(OddForm::Unreadable),
            _ => None,
        };
        form.into_iter().for_each(|form| report(key, form));
    }
}

/// Reports such values of a booking, besides its hosts: each by its key.
pub(super) fn in_booking(booking: &Object, mut report: impl FnMut(&str, OddForm)) {
    for (key, value) in booking.iter().filter(|(_, value)| !value.is_null()) {
        let form = match key.as_str() {
            "uid" | "bookingUid" | "bookingId" | "id" | "rescheduledFromUid" | "rescheduleUid" => {
                blank(value)
            }
            "rescheduleId" | "rescheduledToUid" | "rootBookingUid" => blank(value)
                .or_else(|| fields::reference(booking, key, "").is_err().then_some(OddForm::Unreadable)),
            "updatedAt" | "start" | "startTime" => unreadable_time(value),
            "addedHostUserIds" => other_hosts(booking, value),
            _ => None,
        };
        form.into_iter().for_each(|form| report(key, form));
    }
}

/// Reports such values of a host: each by its key.
pub(super) fn in_host(host: &Object, mut report: impl FnMut(&str, OddForm)) {
    for (key, value) in host.iter().filter(|(_, value)| !booking::is_placeholder(value)) {
        let is_read = match key.as_str() {
            "id" => booking::host_id(value).is_some(),
            "email" | "displayEmail" => value.as_str().is_some_and(|text| text.contains('@')),
            "name" | "username" | "timeZone" => value.is_string(),
            _ => true,
        };
        if !is_read {
            report(key, OddForm::Unreadable);
        }
    }
}

fn blank(value: &Value) -> Option<OddForm> {
    fields::is_blank(value).then_some(OddForm::Blank)
}

/// Returns the form of a value that is no time. A time of the usual beginning is not parsed a second time.
fn unreadable_time(value: &Value) -> Option<OddForm> {
    let is_time = |text: &str| match text.as_bytes() {
        [b'1'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..] => true,
        _ => fields::text_time(text, &LocalZone::UTC).is_some(),
    };
    blank(value).or_else(|| (!value.as_str().is_some_and(is_time)).then_some(OddForm::Unreadable))
}

/// Returns the form of a list of the hosts to whom a booking was reassigned, if the organizer is not one of them.
fn other_hosts(booking: &Object, added: &Value) -> Option<OddForm> {
    let added = added.as_array().filter(|added| !added.is_empty())?;
    let organizer = forms::single_host(booking.get("organizer")?)?.get("id").and_then(booking::host_id)?;
    let has_organizer = added.iter().any(|host| booking::host_id(host) == Some(organizer));
    (!has_organizer).then_some(OddForm::OtherHosts)
}
