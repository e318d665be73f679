//! Compressed bodies. They are not decompressed, because a small one can become huge.

use std::collections::BTreeMap;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_ENCODING;

/// The maximum length of the name of an encoding that is passed on.
const MAX_NAME: usize = 20;

/// Returns the encoding of the body, if the headers name one.
pub(super) fn of(headers: &HeaderMap) -> Option<&str> {
    let lines = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("unknown"));
    let mut encodings = lines.flat_map(|line| line.split(',')).map(str::trim);
    encodings.rfind(|one| !one.is_empty() && !one.eq_ignore_ascii_case("identity"))
}

/// Returns the encoding as a header of the message, so that the error of its dead letter can name it.
pub(super) fn attributes(headers: &HeaderMap) -> BTreeMap<String, String> {
    let is_name = |name: &&str| name.len() <= MAX_NAME && name.bytes().all(|b| b.is_ascii_alphanumeric());
    let encoding = of(headers).filter(is_name);
    encoding.map(|name| (CONTENT_ENCODING.to_string(), name.to_owned())).into_iter().collect()
}
