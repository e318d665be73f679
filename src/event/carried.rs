//! The trace context that an event itself carries: CloudEvents' extension for distributed tracing.
//!
//! It counts where the message has no header of that name, which is of the newest hop.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::shapes::PREFIXES;

const NAMES: [&str; 2] = ["traceparent", "tracestate"];

/// What a CloudEvent in structured mode has to have, and may have.
#[derive(Deserialize)]
struct Extension {
    #[serde(rename = "specversion")]
    _version: String,
    traceparent: String,
    #[serde(default)]
    tracestate: Option<String>,
}

/// `traceparent` and, if there is one, `tracestate`, as the event's sender wrote them; nothing for what is
/// no CloudEvent.
pub fn carried_context(headers: &BTreeMap<String, String>, body: &[u8]) -> BTreeMap<&'static str, String> {
    let is_binary = |prefix: &&&str| headers.contains_key(&format!("{prefix}specversion"));
    if let Some(prefix) = PREFIXES.iter().find(is_binary) {
        let attribute = |name| Some((name, headers.get(&format!("{prefix}{name}"))?.clone()));
        return NAMES.into_iter().filter_map(attribute).collect();
    }
    // Most events carry none: a look is cheaper than reading them a second time.
    let is_named = body.windows(NAMES[0].len()).any(|bytes| bytes == NAMES[0].as_bytes());
    let extension = is_named.then(|| serde_json::from_slice::<Extension>(body).ok()).flatten();
    let Some(Extension { traceparent, tracestate, .. }) = extension else { return BTreeMap::new() };
    let state = tracestate.map(|state| (NAMES[1], state));
    [(NAMES[0], traceparent)].into_iter().chain(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(headers: &[(&str, &str)], body: &str) -> String {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let carried = carried_context(&headers, body.as_bytes());
        carried.values().map(String::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn only_cloudevents_carry_a_context_of_their_own() {
        let event = r#"{"specversion": "1.0", "traceparent": "00-a", "tracestate": "v=1", "data": {}}"#;
        assert_eq!(carried(&[], event), "00-a v=1");
        assert_eq!(carried(&[], r#"{"event": "appointment.created", "traceparent": "00-a"}"#), "");
        assert_eq!(carried(&[], r#"{"specversion": "1.0", "traceparent": 7}"#), "");
        for prefix in PREFIXES {
            let (version, parent) = (format!("{prefix}specversion"), format!("{prefix}traceparent"));
            assert_eq!(carried(&[(&version, "1.0"), (&parent, "00-b")], event), "00-b", "{prefix}");
            assert_eq!(carried(&[(&parent, "00-b")], "{}"), "", "{prefix}");
        }
    }
}
