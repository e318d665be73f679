//! Problem documents (RFC 9457): the format in which our servers refuse requests.

use std::time::Duration;

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Serialize, Serializer};

/// One kind of refusal. Each server has a closed list of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProblemKind {
    /// The last part of its `type`, after `urn:hostmatch:problem:`.
    #[serde(rename = "type", serialize_with = "as_urn")]
    pub name: &'static str,
    /// Its `title`.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The condition under which it is returned; used in the documentation.
    #[serde(skip)]
    pub when: &'static str,
}

impl ProblemKind {
    /// Returns its `type`.
    pub fn urn(&self) -> String {
        urn(self.name)
    }
}

fn urn(name: &str) -> String {
    format!("urn:hostmatch:problem:{name}")
}

fn as_urn<S: Serializer>(name: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&urn(name))
}

/// A refusal: its kind, and in `detail` what failed and what to do. It contains nothing from the request.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(flatten)]
    kind: &'static ProblemKind,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ErrorItem>,
    #[serde(skip)]
    retry_after: Option<u64>,
    #[serde(skip)]
    challenge: Option<&'static str>,
}

/// One of several things that are wrong with a request.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorItem {
    /// A JSON pointer into the body.
    pub pointer: String,
    /// What is wrong there.
    pub detail: String,
}

/// Stored in a response's extensions, so that the log and the metrics can name the kind of problem.
#[derive(Clone, Copy, Debug)]
pub struct Refused(pub &'static str);

impl Problem {
    /// Creates a refusal of this kind.
    pub fn new(kind: &'static ProblemKind, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { kind, detail, pointer: None, errors: Vec::new(), retry_after: None, challenge: None }
    }

    /// Adds the JSON pointer to the value at fault.
    pub fn at(self, pointer: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..self }
    }

    /// Adds the list of errors.
    pub fn with_errors(self, errors: Vec<ErrorItem>) -> Self {
        Self { errors, ..self }
    }

    /// Adds the time after which the client may try again, rounded up to whole seconds (at least 1).
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { retry_after: Some(seconds.max(1)), ..self }
    }

    /// Adds the challenge (`WWW-Authenticate`) that names the expected credential.
    pub fn with_challenge(self, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        response.extensions_mut().insert(Refused(self.kind.name));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
