//! What each booking became, why, and whether that is what it should have become.

use serde::Serialize;

use super::bookings::Expected;
use super::findings::{Decided, Findings};
use super::play::Played;
use crate::event::StaffId;
use crate::matching::{DEAD_LETTER, Suggestion};

/// What one booking became.
#[derive(Debug, Serialize)]
pub(super) struct Became {
    pub(super) booking: &'static str,
    pub(super) posted: &'static str,
    pub(super) route: &'static str,
    pub(super) status: u16,
    pub(super) event_id: String,
    pub(super) outcome: String,
    pub(super) reason: Option<String>,
    pub(super) staff: Option<String>,
    pub(super) strategy: Option<String>,
    pub(super) confidence: Option<i64>,
    pub(super) retries: u64,
    pub(super) why: String,
}

/// What the bookings became, in their order. `auto_accept`: from which confidence on a match is
/// taken, for the texts.
pub(super) fn became(played: &[Played], findings: &Findings, auto_accept: u8) -> Vec<Became> {
    played.iter().map(|one| became_one(one, findings, auto_accept)).collect()
}

fn became_one(played: &Played, findings: &Findings, auto_accept: u8) -> Became {
    let decided = findings.decided.get(&played.event_id);
    let text = |value: fn(&Decided) -> &Option<String>| decided.and_then(|decided| value(decided).clone());
    Became {
        booking: played.posting.booking,
        posted: played.posting.what,
        route: played.posting.route.path(),
        status: played.status,
        event_id: played.event_id.clone(),
        outcome: decided.map_or("undecided", |decided| &decided.outcome).to_owned(),
        reason: text(|decided| &decided.reason),
        staff: decided.and_then(|decided| findings.staff.get(&decided.staff_id?).cloned()),
        strategy: text(|decided| &decided.strategy),
        confidence: decided.and_then(|decided| decided.confidence),
        retries: played.retries,
        why: decided.map(|decided| why(played, decided, findings, auto_accept)).unwrap_or_default(),
    }
}

fn why(played: &Played, decided: &Decided, findings: &Findings, auto_accept: u8) -> String {
    let people = decided.suggestions();
    let names = names(&people, findings);
    let best = people.first().map_or_else(String::new, |one| how(&one.strategy, one.confidence.0.into()));
    match (decided.outcome.as_str(), decided.reason.as_deref()) {
        ("assigned" | "unchanged", _) => assigned(played, decided),
        ("needs_review", Some("ambiguous")) => {
            format!("{best} fits {} people: {names}", people.len())
        }
        ("needs_review", _) => format!("{best} is below {auto_accept}, so it only suggests {names}"),
        ("unmatched", _) => "nobody in this company has the host's address or name".to_owned(),
        ("no_host", _) => "the booking does not say with whom it is".to_owned(),
        ("stale", _) => "a newer event had been decided; it stands".to_owned(),
        (DEAD_LETTER, _) => letter(&played.event_id, findings),
        (_, reason) => reason.unwrap_or_default().to_owned(),
    }
}

fn assigned(played: &Played, decided: &Decided) -> String {
    let (strategy, confidence) = (decided.strategy.as_deref().unwrap_or("?"), decided.confidence);
    let how = how(strategy, confidence.unwrap_or_default());
    let evidence = match decided.evidence() {
        Some(evidence) if evidence.field == "mapping" => format!("mapped before ({})", evidence.value),
        Some(evidence) => format!("both have {}", evidence.value),
        None => "no evidence recorded".to_owned(),
    };
    let attempts = match played.retries {
        0 => String::new(),
        n => format!("; at attempt {}", n + 1),
    };
    format!("{how}: {evidence}{attempts}")
}

fn how(strategy: &str, confidence: i64) -> String {
    let strategy = if strategy == "email" { "e-mail" } else { strategy };
    format!("{strategy} ({confidence})")
}

fn letter(event_id: &str, findings: &Findings) -> String {
    let mut letters = findings.dead_letters.iter();
    let letter = letters.find(|letter| letter.event_id.as_deref() == Some(event_id));
    letter.map_or_else(|| "not recorded".to_owned(), |letter| letter.error.clone())
}

/// Who is suggested; people of one name with their ids.
pub(super) fn names(people: &[Suggestion], findings: &Findings) -> String {
    let name = |one: &Suggestion| match &one.staff {
        StaffId::Integer(id) => findings.staff.get(id).cloned().unwrap_or_default(),
        other => other.to_string(),
    };
    let all: Vec<String> = people.iter().map(name).collect();
    let shown = people.iter().zip(&all).map(|(one, name)| {
        let namesakes = all.iter().filter(|other| *other == name).count();
        if namesakes > 1 { format!("{name} (#{})", one.staff) } else { name.clone() }
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// Where the demo went another way than it should, in words; nothing when all is well.
pub(super) fn differences(played: &[Played], became: &[Became], findings: &Findings) -> Vec<String> {
    let mut found: Vec<String> = played
        .iter()
        .zip(became)
        .filter_map(|(played, became)| {
            let (expected, actual) = (played.posting.expected, actual(became));
            (actual != expected)
                .then(|| format!("{}: {} instead of {}", became.booking, shown(&actual), shown(&expected)))
        })
        .collect();
    // One mapping each for the two whose address was known; three hosts wait; two letters are dead.
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

/// What became of a booking, in the terms of what was expected.
fn actual(became: &Became) -> Expected<'_> {
    let found_by = became.strategy.as_deref().zip(became.confidence);
    Expected {
        outcome: &became.outcome,
        reason: became.reason.as_deref(),
        staff: became.staff.as_deref(),
        found_by,
        retried: became.retries > 0,
    }
}

fn shown(what: &Expected<'_>) -> String {
    let mut text = what.outcome.to_owned();
    if let Some(reason) = what.reason {
        text += &format!(" ({reason})");
    }
    if let Some(staff) = what.staff {
        text += &format!(", {staff}");
    }
    if let Some((strategy, confidence)) = what.found_by {
        text += &format!(", by {strategy} {confidence}");
    }
    if what.retried {
        text += ", after a retry";
    }
    text
}
