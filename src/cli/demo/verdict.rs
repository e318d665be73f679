//! Describes the outcome of each booking and compares it with the expected one.

use serde::Serialize;
use serde_json::Value;

use super::findings::{Decided, Findings};
use super::runner::PostedBooking;
use crate::matching::Outcome;

/// The outcome of one booking.
#[derive(Debug, Serialize)]
pub(super) struct BookingResult {
    pub(super) booking: String,
    pub(super) posted: String,
    route: String,
    status: u16,
    event_id: String,
    #[serde(flatten)]
    pub(super) decided: Decided,
    retries: u64,
    pub(super) why: String,
}

/// Returns the outcome of a booking. `auto_accept`: the confidence from which a match is accepted.
pub(super) fn result_of(posted: &PostedBooking, findings: &Findings, auto_accept: u8) -> BookingResult {
    let decided = findings.decided.get(&posted.event_id);
    let undecided = || Decided { outcome: "undecided".to_owned(), ..Decided::default() };
    BookingResult {
        booking: posted.posting.booking.clone(),
        posted: posted.posting.what.clone(),
        route: posted.posting.route.clone(),
        status: posted.status,
        event_id: posted.event_id.clone(),
        decided: decided.cloned().unwrap_or_else(undecided),
        retries: posted.retries,
        why: decided.map(|decided| why(posted, decided, findings, auto_accept)).unwrap_or_default(),
    }
}

fn why(posted: &PostedBooking, decided: &Decided, findings: &Findings, auto_accept: u8) -> String {
    let people = decided.suggestions.clone().unwrap_or_default();
    let names = findings.names(&people);
    let best = strategy_label(people[0]["strategy"].as_str(), people[0]["confidence"].as_i64());
    let Ok(outcome) = decided.outcome.parse() else {
        return decided.error.clone().unwrap_or_else(|| "not recorded".to_owned());
    };
    match (outcome, decided.reason.as_deref()) {
        (Outcome::Assigned | Outcome::Unchanged, _) => assigned(posted, decided),
        (Outcome::NeedsReview, Some("ambiguous")) => {
            format!("{best} matches {} people: {names}", people.as_array().map_or(0, Vec::len))
        }
        (Outcome::NeedsReview, _) => format!("{best} is below {auto_accept}, so it only suggests {names}"),
        (Outcome::Unmatched, _) => "nobody in this company has the host's address or name".to_owned(),
        (Outcome::NoHost, _) => "the booking names no host".to_owned(),
        (Outcome::Stale, _) => "a newer event was decided first, and stays in force".to_owned(),
        (_, reason) => reason.unwrap_or_default().to_owned(),
    }
}

fn assigned(posted: &PostedBooking, decided: &Decided) -> String {
    let evidence = decided.evidence.clone().unwrap_or_default();
    let value = evidence["value"].as_str().unwrap_or_default();
    let evidence = match &evidence["field"] {
        Value::String(field) if field == "mapping" => format!("mapped before ({value})"),
        Value::String(_) => format!("both have {value}"),
        _ => "no evidence recorded".to_owned(),
    };
    let attempts = match posted.retries {
        0 => String::new(),
        n => format!("; at attempt {}", n + 1),
    };
    format!("{}: {evidence}{attempts}", strategy_label(decided.strategy.as_deref(), decided.confidence))
}

fn strategy_label(strategy: Option<&str>, confidence: Option<i64>) -> String {
    let strategy = strategy.map_or("?", |strategy| if strategy == "email" { "e-mail" } else { strategy });
    format!("{strategy} ({})", confidence.unwrap_or_default())
}

/// Describes the differences from the expected results; empty if there are none.
pub(super) fn differences(
    posted: &[PostedBooking],
    results: &[BookingResult],
    findings: &Findings,
) -> Vec<String> {
    let mut found = Vec::new();
    for (posted, result) in posted.iter().zip(results) {
        let (expected, actual) = (&posted.posting.expected, describe(result));
        if actual != *expected {
            found.push(format!("{}: {actual} instead of {expected}", result.booking));
        }
    }
    // One mapping each for the two hosts with a known address; three hosts wait; two events are dead letters.
    for (what, count, expected) in [
        ("audit rows", findings.audits.len(), 2),
        ("hosts in the inbox", findings.inbox.len(), 3),
        ("dead letters", findings.dead_letters.len(), 2),
    ] {
        if count != expected {
            found.push(format!("{count} {what} instead of {expected}"));
        }
    }
    found
}

/// Describes the outcome of a booking in the words of `expected`.
fn describe(result: &BookingResult) -> String {
    let Decided { outcome, reason, staff, strategy, confidence, .. } = &result.decided;
    let mut text = outcome.clone();
    if let Some(reason) = reason {
        text += &format!(" ({reason})");
    }
    if let Some(staff) = staff {
        text += &format!(", {staff}");
    }
    if let Some((strategy, confidence)) = strategy.as_ref().zip(*confidence) {
        text += &format!(", by {strategy} {confidence}");
    }
    if result.retries > 0 {
        text += ", after a retry";
    }
    text
}
