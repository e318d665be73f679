//! Authenticates the requests that post events. A credential that is sent must be valid; a request without
//! a credential is accepted only with `edge.allow_unsigned`. A credential of a kind for which nothing is
//! configured is ignored.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use super::problem::{self, BEARER};
use super::signature::{self, Refusal};
use super::state::Edge;
use crate::config::{EdgeConfig, Secret};
use crate::event::CompanyId;
use crate::http::problem::Problem;
use crate::http::tokens::{Grant, Scope, TokenState};

const GATEWAY_SIGNATURE: &str = "x-hostmatch-signature";
const CALCOM_SIGNATURE: &str = "x-cal-signature-256";
const RETELL_SIGNATURE: &str = "x-retell-signature";

const CALCOM_CHALLENGE: &str = "HMAC-SHA256 realm=\"hostmatch\", header=\"x-cal-signature-256\"";
const RETELL_CHALLENGE: &str = "HMAC-SHA256 realm=\"hostmatch\", header=\"x-retell-signature\"";

/// What Cal.com sends in place of a signature when the webhook has no secret.
const NO_SECRET: &str = "no-secret-provided";

/// The result of the checks that do not need the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenCheck {
    /// The request has a valid bearer token that allows this route.
    Valid(Grant),
    /// The signature over the body has to be checked.
    SignatureNeeded,
}

impl TokenCheck {
    /// Returns the name of the sender for the record of its events.
    pub(super) fn publisher(&self) -> &str {
        match self {
            Self::Valid(grant) if !grant.terms.name.is_empty() => &grant.terms.name,
            _ => "gateway",
        }
    }
}

/// Checks the gateway's bearer token, if there is one, before the body is read.
///
/// # Errors
/// Fails with 401 if the token is unknown or has expired, 403 if it does not allow this route, 429 if it is
/// used too often, and 503 if the tokens cannot be read.
pub(super) async fn check_token(
    edge: &Edge,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<TokenCheck, Problem> {
    if !headers.contains_key(AUTHORIZATION) || !edge.tokens.is_configured() {
        return Ok(TokenCheck::SignatureNeeded);
    }
    let header = header_value(headers, AUTHORIZATION.as_str());
    let token = header.split_once(' ').and_then(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
    });
    let Some(token) = token else {
        return Err(problem::unauthorized(BEARER, "send the header Authorization: Bearer <token>"));
    };
    match edge.tokens.check(token).await {
        Ok(TokenState::Valid(grant)) if grant.terms.allows(scope) => Ok(TokenCheck::Valid(grant)),
        Ok(TokenState::Valid(_)) => Err(problem::forbidden(
            "this token does not allow this route; `hostmatch token list` shows the routes it allows",
        )),
        Ok(TokenState::Unknown) => {
            Err(problem::unauthorized(BEARER, "this token is not known, or has been revoked"))
        }
        Ok(TokenState::Expired) => Err(problem::unauthorized(
            BEARER,
            "this token has expired; `hostmatch token create` creates a new one",
        )),
        Ok(TokenState::TooFast(wait)) => Err(problem::too_fast(wait)),
        Err(error) => {
            tracing::error!(%error, "edge.tokens_file cannot be read; no token is accepted until then");
            Err(problem::unavailable("the edge cannot read its tokens at the moment; send the request again"))
        }
    }
}

/// Counts the events of a request with a token after the first one, which [`check_token`] has counted.
///
/// # Errors
/// Fails with 429 if other requests with this token have used up what `edge.token_rate` allows.
pub(super) fn count_rest(edge: &Edge, token: &TokenCheck, rest: usize) -> Result<(), Problem> {
    match token {
        TokenCheck::Valid(grant) => edge.tokens.count_rest(grant, rest).map_err(problem::too_fast),
        TokenCheck::SignatureNeeded => Ok(()),
    }
}

/// Checks that events posted with a token for certain companies belong to these companies. An event without
/// a company is refused too, since it could belong to any company.
///
/// # Errors
/// Fails with 403 if the token does not cover this company.
pub(super) fn check_company(token: &TokenCheck, company: Option<CompanyId>) -> Result<(), Problem> {
    match token {
        TokenCheck::Valid(grant) if !grant.terms.covers(company.map(|id| id.0)) => Err(problem::forbidden(
            "this token is limited to certain companies: set company_id to one of them; nothing was queued",
        )),
        _ => Ok(()),
    }
}

/// Returns the gateway's signature, before the body is read; `None` if none is needed.
///
/// # Errors
/// Fails with 401 if the signature is missing while `edge.allow_unsigned` is off.
pub(super) fn gateway_signature(edge: &Edge, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if headers.contains_key(GATEWAY_SIGNATURE) && any_is_set(&edge.config.gateway_secrets) {
        return Ok(Some(header_value(headers, GATEWAY_SIGNATURE)));
    }
    let detail = "send a known bearer token, or x-hostmatch-signature: the HMAC-SHA256 of the body, in hex";
    unsigned(edge, || problem::unauthorized(BEARER, detail))
}

/// Checks the gateway's signature over the body.
///
/// # Errors
/// Fails with 401 if the signature is wrong.
pub(super) fn check_gateway(edge: &Edge, signature: Option<&str>, body: &[u8]) -> Result<(), Problem> {
    let Some(header) = signature else { return Ok(()) };
    signature::gateway(header, body, &edge.config.gateway_secrets)
        .map_err(|_| problem::unauthorized(BEARER, "x-hostmatch-signature does not match this body"))
}

/// Checks whether a request without a token may carry CloudEvents attributes in its headers: a signature
/// covers only the body.
///
/// # Errors
/// Fails with 401, unless `edge.allow_unsigned` is on.
pub(super) fn check_unsigned_headers(edge: &Edge) -> Result<(), Problem> {
    if edge.config.allow_unsigned {
        return Ok(());
    }
    let detail = "x-hostmatch-signature does not cover the ce- headers; send a bearer token, or the event in \
                  structured mode";
    Err(problem::unauthorized(BEARER, detail))
}

/// Returns whether the request claims to come from Retell.
pub(super) fn is_from_retell(headers: &HeaderMap) -> bool {
    headers.contains_key(RETELL_SIGNATURE)
}

/// Returns Retell's signature, before the body is read; `None` if none is needed.
///
/// # Errors
/// Fails with 401 if no key is configured and `edge.allow_unsigned` is off.
pub(super) fn retell_signature(edge: &Edge, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    if any_is_set(&edge.config.retell_api_keys) {
        return Ok(Some(header_value(headers, RETELL_SIGNATURE)));
    }
    let detail = "no edge.retell_api_keys are configured, so no webhook from Retell can be verified";
    unsigned(edge, || problem::unauthorized(RETELL_CHALLENGE, detail))
}

/// Checks Retell's signature over the body.
///
/// # Errors
/// Fails with 401 if the signature is wrong or its timestamp is too far from now.
pub(super) fn check_retell(
    edge: &Edge,
    signature: Option<&str>,
    body: &[u8],
    now_ms: i64,
) -> Result<(), Problem> {
    let Some(header) = signature else { return Ok(()) };
    let (keys, tolerance) = (&edge.config.retell_api_keys, edge.config.retell_tolerance);
    let refuse = |detail: &str| Err(problem::unauthorized(RETELL_CHALLENGE, detail));
    match signature::retell(header, body, keys, tolerance, now_ms) {
        Ok(()) => Ok(()),
        Err(Refusal::Wrong) => refuse("x-retell-signature does not match this body"),
        Err(Refusal::Stale) => refuse(
            "the timestamp in x-retell-signature is too far from the current time; check the clocks of both machines",
        ),
    }
}

/// Returns Cal.com's signature, before the body is read; `None` if none is needed.
///
/// # Errors
/// Fails with 401 if the signature is missing or `no-secret-provided`, or if no secret is configured and
/// `edge.allow_unsigned` is off.
pub(super) fn calcom_signature(edge: &Edge, headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let refuse = |detail: &str| problem::unauthorized(CALCOM_CHALLENGE, detail);
    let header = header_value(headers, CALCOM_SIGNATURE);
    if header == NO_SECRET {
        return Err(refuse(
            "this webhook has no secret; set one in Cal.com, and the same one in edge.calcom_secrets",
        ));
    }
    if !any_is_set(&edge.config.calcom_secrets) {
        let detail = "no edge.calcom_secrets are configured, so no webhook from Cal.com can be verified";
        return unsigned(edge, || refuse(detail));
    }
    if header.is_empty() { Err(refuse("x-cal-signature-256 is missing")) } else { Ok(Some(header)) }
}

/// Checks Cal.com's signature over the body.
///
/// # Errors
/// Fails with 401 if the signature is wrong.
pub(super) fn check_calcom(edge: &Edge, signature: Option<&str>, body: &[u8]) -> Result<(), Problem> {
    let Some(header) = signature else { return Ok(()) };
    signature::verify(header, &[body], &edge.config.calcom_secrets)
        .map_err(|_| problem::unauthorized(CALCOM_CHALLENGE, "x-cal-signature-256 does not match this body"))
}

/// Accepts a request that nobody has signed only with `edge.allow_unsigned`.
fn unsigned(edge: &Edge, refusal: impl FnOnce() -> Problem) -> Result<Option<String>, Problem> {
    if edge.config.allow_unsigned { Ok(None) } else { Err(refusal()) }
}

/// Returns a message for each sender whose requests are all refused, because no credential is configured for
/// it.
pub(super) fn senders_without_credentials(config: &EdgeConfig) -> Vec<&'static str> {
    let has_tokens = !config.tokens_file.as_os_str().is_empty();
    let senders = [
        (
            any_is_set(&config.calcom_secrets),
            "POST /webhooks/calcom refuses everything: edge.calcom_secrets is empty",
        ),
        (
            any_is_set(&config.retell_api_keys),
            "POST /api/retell/webhook refuses everything from Retell: edge.retell_api_keys is empty",
        ),
        (
            any_is_set(&config.gateway_secrets) || has_tokens,
            "POST /v1/events, and POST /api/retell/webhook from the gateway, refuse everything: \
             edge.tokens_file and edge.gateway_secrets are empty",
        ),
    ];
    senders
        .into_iter()
        .filter(|(can_authenticate, _)| !can_authenticate && !config.allow_unsigned)
        .map(|(_, message)| message)
        .collect()
}

/// The maximum number of parts of a credential that are compared with each other.
const MAX_PARTS: usize = 16;

/// Returns the value of a header. A proxy may send it twice, in two lines or joined by a comma: equal values
/// count once, and different ones stay joined, which no credential matches.
fn header_value(headers: &HeaderMap, name: &str) -> String {
    let lines: Result<Vec<&str>, _> = headers.get_all(name).iter().map(HeaderValue::to_str).collect();
    let joined = lines.map(|lines| lines.join(",")).unwrap_or_default();
    let parts: Vec<&str> = joined.split(',').map(str::trim).take(MAX_PARTS + 1).collect();
    if parts.len() > MAX_PARTS {
        return joined;
    }
    // Retell's signature contains a comma itself, so a value may have several parts.
    let once = (1..=parts.len() / 2)
        .filter(|size| parts.len().is_multiple_of(*size))
        .find(|size| parts.chunks(*size).all(|value| value == &parts[..*size]));
    once.map(|size| parts[..size].join(",")).unwrap_or(joined)
}

fn any_is_set(keys: &[Secret]) -> bool {
    keys.iter().any(|key| !key.expose().is_empty())
}
