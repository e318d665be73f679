//! Authentication of posts. A credential that is sent must be valid; a request without one is accepted
//! only with `edge.allow_unsigned`. A credential of a kind for which nothing is configured counts as none.

use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::problem::{self, BEARER};
use super::signature::{self, Refusal};
use super::state::Edge;
use crate::config::{EdgeConfig, Secret};
use crate::event::CompanyId;
use crate::http::problem::Problem;
use crate::http::tokens::{Checked, Scope, Terms};

const GATEWAY_SIGNATURE: &str = "x-hostmatch-signature";
const CALCOM_SIGNATURE: &str = "x-cal-signature-256";
const RETELL_SIGNATURE: &str = "x-retell-signature";

const CALCOM_CHALLENGE: &str = "HMAC-SHA256 realm=\"hostmatch\", header=\"x-cal-signature-256\"";
const RETELL_CHALLENGE: &str = "HMAC-SHA256 realm=\"hostmatch\", header=\"x-retell-signature\"";

/// What Cal.com sends in place of a signature when the webhook has no secret.
const NO_SECRET: &str = "no-secret-provided";

/// The result of the checks that do not need the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// The request has a valid bearer token that allows this route.
    Proven(Arc<Terms>),
    /// The signature over the body has to be checked.
    Unproven,
}

impl Before {
    /// Returns the name of the sender for the record of its events.
    pub(super) fn publisher(&self) -> &str {
        match self {
            Self::Proven(terms) if !terms.name.is_empty() => &terms.name,
            _ => "gateway",
        }
    }
}

/// Checks the gateway's bearer token, if there is one, before the body is read.
///
/// # Errors
/// 401 for a token that is unknown or has expired, 403 for one that does not allow this route,
/// 429 for one that is used too often, 503 when the tokens cannot be read.
pub(super) async fn bearer(edge: &Edge, headers: &HeaderMap, scope: Scope) -> Result<Before, Problem> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(Before::Unproven) };
    if !edge.tokens.is_configured() {
        return Ok(Before::Unproven);
    }
    let token = header.to_str().ok().and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim()).filter(|token| !token.is_empty())
    });
    let Some(token) = token else {
        return Err(problem::unauthorized(BEARER, "send Authorization: Bearer, a space, and the token"));
    };
    match edge.tokens.check(token).await {
        Ok(Checked::Good(terms)) if terms.allows(scope) => Ok(Before::Proven(terms)),
        Ok(Checked::Good(_)) => Err(problem::forbidden(
            "this token does not allow this route; `hostmatch token list` shows the routes it allows",
        )),
        Ok(Checked::Unknown) => {
            Err(problem::unauthorized(BEARER, "this token is not known, or has been revoked"))
        }
        Ok(Checked::Expired) => Err(problem::unauthorized(
            BEARER,
            "this token has expired; `hostmatch token create` creates a new one",
        )),
        Ok(Checked::TooFast(wait)) => Err(problem::too_fast(wait)),
        Err(error) => {
            tracing::error!(%error, "edge.tokens_file cannot be read; no token is accepted until it can");
            Err(problem::unavailable("the tokens cannot be read at the moment; send it again"))
        }
    }
}

/// Checks that a token that is limited to certain companies posts only their events. An event that
/// names no company could belong to any of them.
///
/// # Errors
/// 403
pub(super) fn company(before: &Before, company: Option<CompanyId>) -> Result<(), Problem> {
    match before {
        Before::Proven(terms) if !terms.covers(company.map(|id| id.0)) => Err(problem::forbidden(
            "this token is limited to certain companies: name one of them as company_id; nothing was queued",
        )),
        _ => Ok(()),
    }
}

/// Checks the gateway's signature over the body.
///
/// # Errors
/// 401 when it is wrong, or missing while `edge.allow_unsigned` is off.
pub(super) fn gateway(edge: &Edge, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let keys = &edge.config.gateway_secrets;
    match headers.get(GATEWAY_SIGNATURE).filter(|_| any(keys)) {
        Some(_) => signature::gateway(text(headers, GATEWAY_SIGNATURE), body, keys)
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
/// 401, unless `edge.allow_unsigned` is on.
pub(super) fn signed_headers(edge: &Edge) -> Result<(), Problem> {
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
/// 401 when it is wrong or its time is too far off; also when no key is configured, unless
/// `edge.allow_unsigned` is on.
pub(super) fn retell(edge: &Edge, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Result<(), Problem> {
    let (keys, tolerance) = (&edge.config.retell_api_keys, edge.config.retell_tolerance);
    let refuse = |detail: &str| Err(problem::unauthorized(RETELL_CHALLENGE, detail));
    if !any(keys) {
        let detail = "no edge.retell_api_keys are configured, so no webhook from Retell can be verified";
        return if edge.config.allow_unsigned { Ok(()) } else { refuse(detail) };
    }
    match signature::retell(text(headers, RETELL_SIGNATURE), body, keys, tolerance, now_ms) {
        Ok(()) => Ok(()),
        Err(Refusal::Wrong) => refuse("x-retell-signature does not match this body"),
        Err(Refusal::Stale) => {
            refuse("the time in x-retell-signature is too far from now; compare the clocks")
        }
    }
}

/// Checks Cal.com's signature over the body.
///
/// # Errors
/// 401 when it is wrong, missing or `no-secret-provided`; also when no secret is configured, unless
/// `edge.allow_unsigned` is on.
pub(super) fn calcom(edge: &Edge, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let keys = &edge.config.calcom_secrets;
    let refuse = |detail: &str| Err(problem::unauthorized(CALCOM_CHALLENGE, detail));
    let header = text(headers, CALCOM_SIGNATURE);
    if header == NO_SECRET {
        return refuse(
            "this webhook has no secret; set one in Cal.com, and the same one in edge.calcom_secrets",
        );
    }
    if !any(keys) {
        let detail = "no edge.calcom_secrets are configured, so no webhook from Cal.com can be verified";
        return if edge.config.allow_unsigned { Ok(()) } else { refuse(detail) };
    }
    signature::verify(header, &[body], keys)
        .or_else(|_| refuse("x-cal-signature-256 is missing or does not match this body"))
}

/// Returns a sentence for each sender that cannot authenticate with this configuration, so that
/// everything it posts is refused.
pub(super) fn refused_altogether(config: &EdgeConfig) -> Vec<&'static str> {
    let has_tokens = !config.tokens_file.as_os_str().is_empty();
    let senders = [
        (
            any(&config.calcom_secrets),
            "POST /webhooks/calcom refuses everything: edge.calcom_secrets is empty",
        ),
        (
            any(&config.retell_api_keys),
            "POST /api/retell/webhook refuses everything from Retell: edge.retell_api_keys is empty",
        ),
        (
            any(&config.gateway_secrets) || has_tokens,
            "POST /v1/events, and POST /api/retell/webhook from the gateway, refuse everything: \
             edge.tokens_file and edge.gateway_secrets are empty",
        ),
    ];
    senders
        .into_iter()
        .filter(|(provable, _)| !provable && !config.allow_unsigned)
        .map(|(_, why)| why)
        .collect()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn any(keys: &[Secret]) -> bool {
    keys.iter().any(|key| !key.expose().is_empty())
}
