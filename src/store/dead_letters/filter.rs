//! Which dead letters: every way of finding them, combined.

use sea_orm::ColumnTrait as _;
use sea_orm::sea_query::{BinOper, Cond, Expr, ExprTrait as _, Func};
use serde::{Deserialize, Serialize};

use super::LetterState;
use crate::store::entity::dead_letter::Column;

/// Which dead letters; an empty filter means all. What is given must all be true.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DeadLetterFilter {
    /// These ones; empty is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<i64>,
    /// Of this reason code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of this tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company_id: Option<i64>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<LetterState>,
    /// Of this event type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_type: Option<String>,
    /// About the booking with exactly this reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booking_ref: Option<String>,
    /// With this Cal.com user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_id: Option<i64>,
    /// Failed last at this moment or later, in ms since 1970 (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<i64>,
    /// Failed last before this moment, in ms since 1970 (UTC).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<i64>,
    /// With so many attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<(Compare, i32)>,
    /// Of the group whose fingerprint begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// With this text in the error, the event's id or the booking's reference, whatever its case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Only older rows than this: the last id of the page before.
    #[serde(skip)]
    pub before_id: Option<i64>,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Exactly so many.
    Exactly,
    /// So many or more.
    AtLeast,
    /// So many or fewer.
    AtMost,
}

impl DeadLetterFilter {
    /// Whether it names anything at all, beside a state.
    pub fn is_empty(&self) -> bool {
        Self { state: None, before_id: None, ..self.clone() } == Self::default()
    }

    pub(super) fn condition(&self) -> Cond {
        let attempts = |(compare, count): (Compare, i32)| match compare {
            Compare::Exactly => Column::Attempts.eq(count),
            Compare::AtLeast => Column::Attempts.gte(count),
            Compare::AtMost => Column::Attempts.lte(count),
        };
        // Not LIKE, for which PostgreSQL and SQLite do not use this index.
        let begins_with = |prefix: &String| {
            let behind = behind(prefix).map(|behind| Column::Fingerprint.lt(behind));
            Cond::all().add(Column::Fingerprint.gte(prefix)).add_option(behind)
        };
        Cond::all()
            .add_option(self.reason.as_ref().map(|reason| Column::Reason.eq(reason)))
            .add_option(self.company_id.map(|company| Column::CompanyId.eq(company)))
            .add_option(self.state.map(|state| Column::State.eq(state)))
            .add_option(self.event_type.as_ref().map(|event_type| Column::EventType.eq(event_type)))
            .add_option(self.booking_ref.as_ref().map(|booking| Column::BookingRef.eq(booking)))
            .add_option(self.host_id.map(|host| Column::HostId.eq(host)))
            .add_option((!self.ids.is_empty()).then(|| Column::Id.is_in(self.ids.iter().copied())))
            .add_option(self.since_ms.map(|since| Column::LastFailedMs.gte(since)))
            .add_option(self.until_ms.map(|until| Column::LastFailedMs.lt(until)))
            .add_option(self.attempts.map(attempts))
            .add_option(self.fingerprint.as_ref().map(begins_with))
            .add_option(self.text.as_deref().map(contains))
            .add_option(self.before_id.map(|before| Column::Id.lt(before)))
    }
}

/// With this text in one of the texts, whatever its case. The engine lowers both sides, in its own way:
/// SQLite only what is ASCII.
fn contains(text: &str) -> Cond {
    let pattern = Func::lower(Expr::val(format!("%{}%", escaped(text))));
    let like = |column: Column| {
        Expr::expr(Func::lower(Expr::col(column))).binary(
            BinOper::Like,
            Expr::expr(pattern.clone()).binary(BinOper::Escape, Expr::Constant('!'.into())),
        )
    };
    let columns = [Column::Error, Column::EventId, Column::BookingRef];
    columns.into_iter().fold(Cond::any(), |any, column| any.add(like(column)))
}

/// The first text behind all those that begin with this one, compared by their bytes.
fn behind(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// With what LIKE would take for a wildcard escaped.
fn escaped(text: &str) -> String {
    text.replace('!', "!!").replace('%', "!%").replace('_', "!_")
}
