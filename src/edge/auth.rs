//! Authenticates the requests that post events. A credential that is sent must be valid; a request without
//! a credential is accepted only with `edge.allow_unsigned`. A credential of a kind for which nothing is
//! configured is ignored.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::problem::{self, BEARER};
use super::signature::{self, Refusal};
use super::state::Edge;
use crate::config::{EdgeConfig, Secret};
use crate::event::CompanyId;
use crate::http::problem::Problem;
use crate::http::tokens::{Scope, Terms, TokenState};

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
    Valid(Arc<Terms>),
    /// The signature over the body has to be checked.
    SignatureNeeded,
}

impl TokenCheck {
    /// Returns the name of the sender for the record of its events.
    pub(super) fn publisher(&self) -> &str {
        match self {
            Self::Valid(terms) if !terms.name.is_empty() => &terms.name,
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
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(TokenCheck::SignatureNeeded) };
    if !edge.tokens.is_configured() {
        return Ok(TokenCheck::SignatureNeeded);
    }
    let token = header.to_str().ok().and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
    });
    let Some(token) = token else {
        return Err(problem::unauthorized(BEARER, "send the header Authorization: Bearer <token>"));
    };
    match edge.tokens.check(token).await {
        Ok(TokenState::Valid(terms)) if terms.allows(scope) => Ok(TokenCheck::Valid(terms)),
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

/// Checks that events posted with a token for certain companies belong to these companies. An event without
/// a company is refused too, since it could belong to any company.
///
/// # Errors
/// Fails with 403 if the token does not cover this company.
pub(super) fn check_company(token: &TokenCheck, company: Option<CompanyId>) -> Result<(), Problem> {
    match token {
        TokenCheck::Valid(terms) if !terms.covers(company.map(|id| id.0)) => Err(problem::forbidden(
            "this token is limited to certain companies: set company_id to one of them; nothing was queued",
        )),
        _ => Ok(()),
    }
}

/// Checks the gateway's signature over the body.
///
/// # Errors
/// Fails with 401 if the signature is wrong, or is missing while `edge.allow_unsigned` is off.
pub(super) fn check_gateway(edge: &Edge, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let keys = &edge.config.gateway_secrets;
    match headers.get(GATEWAY_SIGNATURE).filter(|_| any_is_set(keys)) {
        Some(_) => signature::gateway(header_str(headers, GATEWAY_SIGNATURE), body, keys)
            .map_err(|_| problem::unauthorized(BEARER, "x-hostmatch-signature does not match this body")),
        None if edge.config.allow_unsigned => Ok(()),
        None => {
            let detail = "send a known bearer token, or x-hostmatch-signature: \
                          the HMAC-SHA256 of the body, in hex";
            Err(problem::unauthorized(BEARER, detail))
        }
    }
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

/// Checks Retell's signature over the body.
///
/// # Errors
/// Fails with 401 if the signature is wrong or its timestamp is too far from now, or if no key is configured and
/// `edge.allow_unsigned` is off.
pub(super) fn check_retell(
    edge: &Edge,
    headers: &HeaderMap,
    body: &[u8],
    now_ms: i64,
) -> Result<(), Problem> {
    let (keys, tolerance) = (&edge.config.retell_api_keys, edge.config.retell_tolerance);
    let refuse = |detail: &str| Err(problem::unauthorized(RETELL_CHALLENGE, detail));
    if !any_is_set(keys) {
        let detail = "no edge.retell_api_keys are configured, so no webhook from Retell can be verified";
        return if edge.config.allow_unsigned { Ok(()) } else { refuse(detail) };
    }
    match signature::retell(header_str(headers, RETELL_SIGNATURE), body, keys, tolerance, now_ms) {
        Ok(()) => Ok(()),
        Err(Refusal::Wrong) => refuse("x-retell-signature does not match this body"),
        Err(Refusal::Stale) => refuse(
            "the timestamp in x-retell-signature is too far from the current time; check the clocks of both machines",
        ),
    }
}

/// Checks Cal.com's signature over the body.
///
/// # Errors
/// Fails with 401 if the signature is wrong, missing or `no-secret-provided`, or if no secret is configured
/// and `edge.allow_unsigned` is off.
pub(super) fn check_calcom(edge: &Edge, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let keys = &edge.config.calcom_secrets;
    let refuse = |detail: &str| Err(problem::unauthorized(CALCOM_CHALLENGE, detail));
    let header = header_str(headers, CALCOM_SIGNATURE);
    if header == NO_SECRET {
        return refuse(
            "this webhook has no secret; set one in Cal.com, and the same one in edge.calcom_secrets",
        );
    }
    if !any_is_set(keys) {
        let detail = "no edge.calcom_secrets are configured, so no webhook from Cal.com can be verified";
        return if edge.config.allow_unsigned { Ok(()) } else { refuse(detail) };
    }
    signature::verify(header, &[body], keys)
        .or_else(|_| refuse("x-cal-signature-256 is missing or does not match this body"))
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

fn header_str<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn any_is_set(keys: &[Secret]) -> bool {
    keys.iter().any(|key| !key.expose().is_empty())
}
