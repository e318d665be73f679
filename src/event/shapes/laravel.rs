//! Decodes Laravel's queue payload. The `data` of a string job is the event. An object job contains a
//! serialized PHP object, which only PHP can read; it is refused with advice on what to publish instead.

use serde_json::Value;

use super::UnwrapResult;
use super::context::{self, EventContext};
use super::fields::{self, Object};

/// What to publish instead of a job that cannot be decoded.
const STRING_JOB: &str =
    "publish a string job: Queue::push('appointment.created', $event, 'appointment.created')";

/// Returns whether this document is a Laravel queue payload.
pub(super) fn is_payload(body: &Object) -> bool {
    body.get("job").is_some_and(Value::is_string) && body.contains_key("data")
}

/// Reads the attributes of the payload, and extracts the event.
///
/// # Errors
/// Fails for an object job, an encrypted job, and data that is not an object.
pub(super) fn unwrap(context: &mut EventContext<'_>, mut body: Object) -> UnwrapResult<Object> {
    let names = ["displayName", "job"].into_iter().filter_map(|key| body.get(key)?.as_str());
    context.types.extend(names.map(str::to_owned));
    context.set_type_pointer("job");
    context.uuid = body.get("uuid").and_then(context::id_text);
    match body.remove("data") {
        Some(Value::Object(data)) => match data.get("command").and_then(Value::as_str) {
            Some(command) => Err(context.fault("data/command", object_job(command))),
            None => {
                context.enter("data");
                Ok(data)
            }
        },
        Some(Value::String(text)) if text.is_empty() => {
            let message = "data is empty: push() got no event, or Horizon's later() lost it; use push(), or \
                           pushRaw(json_encode($event))";
            Err(context.fault("data", message))
        }
        Some(Value::String(_)) => {
            let message = "data must be the event, an object, not a string: pass the array itself to push(), \
                           not json_encode($event)";
            Err(context.fault("data", message))
        }
        other => {
            let kind = fields::json_type(other.as_ref().unwrap_or(&Value::Null));
            Err(context.fault("data", format!("data must be the event, an object, not {kind}")))
        }
    }
}

/// Explains what is wrong with an object job, in one line with advice.
fn object_job(command: &str) -> String {
    // PHP serializes an object as `O:<length>:"<class>"` (`C:` if the class implements `Serializable`).
    if command.starts_with("O:") || command.starts_with("C:") {
        format!("a job object, serialized by PHP, which only PHP can read; {STRING_JOB}")
    } else {
        format!("an encrypted job, which can be read only with its APP_KEY; {STRING_JOB}")
    }
}
