//! Laravel's queue payload. Of a string job `data` is the event; an object job is serialized by PHP for
//! PHP, and refused with what to publish in its place.

use serde_json::Value;

use super::Answer;
use super::fields::{self, Object};
use super::outside::{self, Outside};

/// What to publish in place of a job that cannot be read.
const STRING_JOB: &str =
    "publish a string job: Queue::push('appointment.created', $event, 'appointment.created')";

/// Whether this document is a Laravel queue payload.
pub(super) fn is_payload(body: &Object) -> bool {
    body.get("job").is_some_and(Value::is_string) && body.contains_key("data")
}

/// Takes what the payload says, and the event out of it.
///
/// # Errors
/// For an object job, an encrypted one, and data that is no object.
pub(super) fn unwrap(outside: &mut Outside<'_>, mut body: Object) -> Answer<Object> {
    let names = ["displayName", "job"].into_iter().filter_map(|key| body.get(key)?.as_str());
    outside.types.extend(names.map(str::to_owned));
    outside.names_type_at("job");
    outside.uuid = body.get("uuid").and_then(outside::id_text);
    match body.remove("data") {
        Some(Value::Object(data)) => match data.get("command").and_then(Value::as_str) {
            Some(command) => Err(outside.fault("data/command", object_job(command))),
            None => {
                outside.enter("data");
                Ok(data)
            }
        },
        Some(Value::String(text)) if text.is_empty() => {
            let message = "data is empty: push() got no event, or Horizon's later() lost it; use push(), or \
                           pushRaw(json_encode($event))";
            Err(outside.fault("data", message))
        }
        Some(Value::String(_)) => {
            let message = "data must be the event, an object, and not a text: give push() the array itself, not \
                           json_encode($event)";
            Err(outside.fault("data", message))
        }
        other => {
            let kind = fields::kind_of(other.as_ref().unwrap_or(&Value::Null));
            Err(outside.fault("data", format!("data must be the event, an object, and not {kind}")))
        }
    }
}

/// Says what is wrong with a job that is an object, in one line that can be acted on.
fn object_job(command: &str) -> String {
    // PHP writes an object as O:<length>:"<class>" (C: where the class does it itself).
    if command.starts_with("O:") || command.starts_with("C:") {
        format!("a job object, serialized by PHP, which only PHP can read; {STRING_JOB}")
    } else {
        format!("an encrypted job, which only who has its APP_KEY can read; {STRING_JOB}")
    }
}
