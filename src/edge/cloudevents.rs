//! CloudEvents over HTTP in binary mode: the attributes are headers (`ce-…`), the body is the event.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::problem;
use crate::http::problem::Problem;

/// The header that marks a request in binary mode.
const SPECVERSION: &str = "ce-specversion";

/// The attributes that are passed on with the message; extensions are dropped.
const ATTRIBUTES: [&str; 7] =
    [SPECVERSION, "ce-type", "ce-id", "ce-time", "ce-source", "ce-subject", "ce-dataschema"];

/// The maximum size of one attribute, in bytes: all attributes together fit into an AMQP frame.
const MAX_BYTES: usize = 2048;

/// Returns the attributes of a request in binary mode as the headers of its message; `None` for any
/// other request.
///
/// # Errors
/// Fails with 400 if an attribute is too long or not UTF-8.
pub(super) fn attributes(headers: &HeaderMap) -> Result<Option<BTreeMap<String, String>>, Problem> {
    if !headers.contains_key(SPECVERSION) {
        return Ok(None);
    }
    let mut attributes = BTreeMap::new();
    for name in ATTRIBUTES {
        let Some(value) = headers.get(name) else { continue };
        let value = value.to_str().ok().and_then(decode).filter(|value| value.len() <= MAX_BYTES);
        let Some(value) = value else {
            let detail = format!("the header {name} must be valid UTF-8 of at most {MAX_BYTES} bytes");
            return Err(problem::malformed("", detail));
        };
        attributes.insert(name.to_owned(), value);
    }
    Ok(Some(attributes))
}

/// Decodes the value of a header into that of an attribute: removes the optional quotes, then decodes the
/// percent-encoding.
fn decode(value: &str) -> Option<String> {
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let unescaped = quoted.map(unescape);
    let text = unescaped.as_deref().unwrap_or(value);
    percent_decode_str(text).decode_utf8().ok().map(|text| text.into_owned())
}

/// Unescapes the inside of a quoted string: removes each backslash, and keeps the character after it.
fn unescape(quoted: &str) -> String {
    let mut characters = quoted.chars();
    let mut text = String::new();
    while let Some(character) = characters.next() {
        text.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_unquoted_and_decoded_once() {
        for (value, text) in [
            ("appointment.created", Some("appointment.created")),
            ("Z%C3%BCrich%20%25", Some("Zürich %")),
            (r#""a \"b\" c""#, Some(r#"a "b" c"#)),
            ("%2525", Some("%25")),
            ("100%", Some("100%")),
            ("%ff", None),
            ("\"", Some("\"")),
            ("", Some("")),
        ] {
            assert_eq!(decode(value).as_deref(), text, "{value}");
        }
    }
}
