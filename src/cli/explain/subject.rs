//! What is to be explained: from the command line, or from a file.

use serde_json::{Value, json};

use super::Question;
use crate::app::explain::Subject;
use crate::cli::{Exit, Failure, items};
use crate::event::{BookingRef, CompanyId, Decoded, Envelope, Host, HostId, decode};
use crate::runtime::clock::now_ms;

/// An object with one of these keys is an event of some shape, every other one a bare booking.
const MARKS_OF_EVENTS: [&str; 6] =
    ["event", "calcom_booking", "triggerEvent", "specversion", "job", "event_id"];

/// What the command line asks about. Fails when the file cannot be read, or its form cannot be told.
pub(super) fn given(question: &Question) -> Result<Vec<Subject>, Failure> {
    let company = question.company.map(CompanyId);
    if let Some(file) = &question.booking {
        let input = items::read(file)?;
        let items = items::split_file(file, &input)?.into_iter();
        return Ok(items.map(|(_, bytes)| from_bytes(bytes, company)).collect());
    }
    if let Some(reference) = &question.uid {
        let reference = BookingRef::new(reference)
            .ok_or_else(|| Failure::new(Exit::Usage, "--uid wants a reference of 1 to 255 bytes"))?;
        return Ok(vec![Subject::Reference(reference)]);
    }
    match (question.host.and_then(HostId::new), company) {
        (Some(id), Some(company)) => {
            let given = |text: &Option<String>| {
                text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
            };
            let (name, email) = (given(&question.name), given(&question.email));
            let host = Host { id: Some(id), name, email, ..Host::default() };
            Ok(vec![Subject::Host(Box::new(host), company)])
        }
        _ => Err(Failure::new(Exit::Usage, "give --booking FILE, --uid REF, or --host ID --company N")),
    }
}

fn from_bytes(bytes: &[u8], company: Option<CompanyId>) -> Subject {
    let bare = serde_json::from_slice::<Value>(bytes).ok().filter(|value| {
        value.as_object().is_some_and(|object| !MARKS_OF_EVENTS.iter().any(|key| object.contains_key(*key)))
    });
    let decoded = match &bare {
        Some(booking) => decode(&Envelope::new(wrapped(booking).to_string().as_bytes(), now_ms())),
        None => decode(&Envelope::new(bytes, now_ms())),
    };
    match decoded {
        Ok(Decoded::Event(mut event)) => {
            // Checked against the appointment's own company, as if the event had said it.
            event.company = event.company.or(company);
            Subject::Event(event, company)
        }
        Ok(Decoded::Ignored(ignored)) => Subject::Ignored(ignored.event_type),
        Err(malformed) => Subject::Unreadable(malformed.kind.into(), malformed.to_string()),
    }
}

/// A bare booking as the gateway would publish it.
fn wrapped(booking: &Value) -> Value {
    json!({ "event": "appointment.created", "calcom_booking": booking })
}
