//! Which dead letters: every way of looking, combined.

use sea_orm::sea_query::{BinOper, Cond, Expr, ExprTrait as _, Func};
use serde::{Deserialize, Serialize};

use super::LetterState;

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
        let mut all = Cond::all();
        let text = |value: &Option<String>| value.clone().map(Expr::val);
        let number = |value: Option<i64>| value.map(Expr::val);
        for (column, value) in [
            ("reason", text(&self.reason)),
            ("company_id", number(self.company_id)),
            ("state", self.state.map(|state| Expr::val(state.as_str()))),
            ("event_type", text(&self.event_type)),
            ("booking_ref", text(&self.booking_ref)),
            ("host_id", number(self.host_id)),
        ] {
            if let Some(value) = value {
                all = all.add(Expr::col(column).eq(value));
            }
        }
        if !self.ids.is_empty() {
            all = all.add(Expr::col("id").is_in(self.ids.iter().copied()));
        }
        if let Some(since) = self.since_ms {
            all = all.add(Expr::col("last_failed_ms").gte(since));
        }
        if let Some(until) = self.until_ms {
            all = all.add(Expr::col("last_failed_ms").lt(until));
        }
        if let Some((compare, count)) = self.attempts {
            all = all.add(match compare {
                Compare::Exactly => Expr::col("attempts").eq(count),
                Compare::AtLeast => Expr::col("attempts").gte(count),
                Compare::AtMost => Expr::col("attempts").lte(count),
            });
        }
        if let Some(prefix) = &self.fingerprint {
            // Not LIKE, for which PostgreSQL and SQLite do not use this index.
            all = all.add(Expr::col("fingerprint").gte(prefix));
            if let Some(behind) = behind(prefix) {
                all = all.add(Expr::col("fingerprint").lt(behind));
            }
        }
        if let Some(text) = &self.text {
            // The engine lowers both sides, in its own way: SQLite only what is ASCII.
            let pattern = Func::lower(Expr::val(format!("%{}%", escaped(text))));
            let like = |column| {
                Expr::expr(Func::lower(Expr::col(column))).binary(
                    BinOper::Like,
                    Expr::expr(pattern.clone()).binary(BinOper::Escape, Expr::Constant('!'.into())),
                )
            };
            all = all.add(
                ["error", "event_id", "booking_ref"]
                    .into_iter()
                    .fold(Cond::any(), |any, column| any.add(like(column))),
            );
        }
        if let Some(before) = self.before_id {
            all = all.add(Expr::col("id").lt(before));
        }
        all
    }
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
