//! Who may post. A credential that is given must be right; without one, only
//! `edge.allow_unsigned` lets a request in. A credential of a kind for which nothing is configured
//! proves nothing, and counts as none.

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

/// What is known before the body has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// A bearer token has proven who it is, and may do this.
    Proven(Arc<Terms>),
    /// The body has to be looked at.
    Unproven,
}

impl Before {
    /// What the sender is called in the record of its events.
    pub(super) fn publisher(&self) -> &str {
        match self {
            Self::Proven(terms) if !terms.name.is_empty() => &terms.name,
            _ => "gateway",
        }
    }
}

/// Checks the gateway's bearer token, if there is one, before its body is taken in.
///
/// # Errors
/// 401 for a token that is not known or whose time is over, 403 for one that is not for this route,
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
        return Err(problem::unauthorized(BEARER, "write Authorization: Bearer, a blank, and the token"));
    };
    match edge.tokens.check(token).await {
        Ok(Checked::Good(terms)) if terms.allows(scope) => Ok(Before::Proven(terms)),
        Ok(Checked::Good(_)) => Err(problem::forbidden(
            "this token is not for this route: `hostmatch token list` shows for which ones it is",
        )),
        Ok(Checked::Unknown) => {
            Err(problem::unauthorized(BEARER, "this token is not known, or has been revoked"))
        }
        Ok(Checked::Expired) => Err(problem::unauthorized(
            BEARER,
            "this token has expired: `hostmatch token create` makes another",
        )),
        Ok(Checked::TooFast(wait)) => Err(problem::too_fast(wait)),
        Err(error) => {
            tracing::error!(%error, "edge.tokens_file cannot be read; no token is accepted until it can");
            Err(problem::unavailable("the tokens cannot be read at the moment; send it again"))
        }
    }
}

/// Checks that a token which is for some companies only posts an event of theirs. One that names no
/// company could be anybody's.
///
/// # Errors
/// 403
pub(super) fn company(before: &Before, company: Option<CompanyId>) -> Result<(), Problem> {
    match before {
        Before::Proven(terms) if !terms.covers(company.map(|id| id.0)) => Err(problem::forbidden(
            "this token is for events of certain companies: name one of them as company_id; nothing was queued",
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
            .map_err(|_| problem::unauthorized(BEARER, "x-hostmatch-signature does not belong to this body")),
        None if edge.config.allow_unsigned => Ok(()),
        None => {
            let detail = "send a bearer token that is known here, or x-hostmatch-signature: \
                          the HMAC-SHA256 of the body, in hex";
            Err(problem::unauthorized(BEARER, detail))
        }
    }
}

/// Checks whether a request without a token may say something in its headers: a signature covers the
/// body only.
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

/// Whether the request says that Retell sends it.
pub(super) fn is_from_retell(headers: &HeaderMap) -> bool {
    headers.contains_key(RETELL_SIGNATURE)
}

/// Checks Retell's signature over the body.
///
/// # Errors
/// 401 when it is wrong or its time is off; also without a key, unless `edge.allow_unsigned` is on.
pub(super) fn retell(edge: &Edge, headers: &HeaderMap, body: &[u8], now_ms: i64) -> Result<(), Problem> {
    let (keys, tolerance) = (&edge.config.retell_api_keys, edge.config.retell_tolerance);
    let refuse = |detail: &str| Err(problem::unauthorized(RETELL_CHALLENGE, detail));
    if !any(keys) {
        let detail = "no edge.retell_api_keys are configured, so that no webhook of Retell's can be checked";
        return if edge.config.allow_unsigned { Ok(()) } else { refuse(detail) };
    }
    match signature::retell(text(headers, RETELL_SIGNATURE), body, keys, tolerance, now_ms) {
        Ok(()) => Ok(()),
        Err(Refusal::Wrong) => refuse("x-retell-signature does not belong to this body"),
        Err(Refusal::Stale) => {
            refuse("the time in x-retell-signature is too far from now; compare the clocks")
        }
    }
}

/// Checks Cal.com's signature over the body.
///
/// # Errors
/// 401 when it is wrong, missing or `no-secret-provided`; also without a secret of ours, unless
/// `edge.allow_unsigned` is on.
pub(super) fn calcom(edge: &Edge, headers: &HeaderMap, body: &[u8]) -> Result<(), Problem> {
    let keys = &edge.config.calcom_secrets;
    let refuse = |detail: &str| Err(problem::unauthorized(CALCOM_CHALLENGE, detail));
    let header = text(headers, CALCOM_SIGNATURE);
    if header == NO_SECRET {
        return refuse(
            "this webhook has no secret; give it one in Cal.com, and the same in edge.calcom_secrets",
        );
    }
    if !any(keys) {
        let detail = "no edge.calcom_secrets are configured, so that no webhook of Cal.com's can be checked";
        return if edge.config.allow_unsigned { Ok(()) } else { refuse(detail) };
    }
    signature::verify(header, &[body], keys)
        .or_else(|_| refuse("x-cal-signature-256 is missing, or does not belong to this body"))
}

/// The senders that can prove nothing as it is configured, so that whatever they post is refused: a
/// sentence each.
pub(super) fn refused_altogether(config: &EdgeConfig) -> Vec<&'static str> {
    let has_tokens = !config.tokens_file.as_os_str().is_empty();
    let senders = [
        (
            any(&config.calcom_secrets),
            "POST /webhooks/calcom refuses everything: edge.calcom_secrets is empty",
        ),
        (
            any(&config.retell_api_keys),
            "POST /api/retell/webhook refuses everything of Retell's: edge.retell_api_keys is empty",
        ),
        (
            any(&config.gateway_secrets) || has_tokens,
            "POST /v1/events, and the gateway at POST /api/retell/webhook, are refused everything: \
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
