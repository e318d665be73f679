//! Finds dead letters by any combination of filters: page by page, one by id, or grouped by cause.

use std::collections::BTreeMap;

use sea_orm::sea_query::{BinOper, Func};
use sea_orm::{FromQueryResult, Select};
use serde::Serialize;
use serde_json::{Value, json};

use super::{DeadLetter, DeadLetterSummary, LetterAction, LetterState};
use crate::matching::Stored;
use crate::runtime::clock::as_rfc3339;
use crate::store::entity::dead_letter::{Column, Entity};
use crate::store::entity::dead_letter_action::{Column as ActionColumn, Entity as Action};
use crate::store::entity::event;
use crate::store::prelude::*;
use crate::store::statement::{like_literal, values_of};
use crate::store::{Database, Scope};

/// A filter for dead letters; an empty one matches all. A row must meet every condition that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "most fields are columns")]
pub struct DeadLetterFilter {
    /// These ids; empty means any.
    pub ids: Vec<i64>,
    pub reason: Option<String>,
    pub state: Option<LetterState>,
    pub event_type: Option<String>,
    /// The booking's exact reference.
    pub booking_ref: Option<String>,
    pub host_id: Option<i64>,
    /// Last failed at this time or later, in ms since 1970 (UTC).
    pub since_ms: Option<i64>,
    /// Last failed before this time, in ms since 1970 (UTC).
    pub until_ms: Option<i64>,
    /// The number of attempts.
    pub attempts: Option<(Compare, i32)>,
    /// A prefix of the group's fingerprint.
    pub fingerprint: Option<String>,
    /// A string in the error, the event's id or the booking's reference, ignoring case.
    pub text: Option<String>,
    /// Only rows older than this id: the last one of the previous page.
    #[serde(skip)]
    pub before_id: Option<i64>,
}

/// How a number is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compare {
    /// Exactly this number.
    Exactly,
    /// This number or more.
    AtLeast,
    /// This number or fewer.
    AtMost,
}

impl Compare {
    pub(in crate::store) fn condition(self, number: Expr, than: i32) -> Expr {
        match self {
            Self::Exactly => number.eq(than),
            Self::AtLeast => number.gte(than),
            Self::AtMost => number.lte(than),
        }
    }
}

impl DeadLetterFilter {
    /// Returns whether the filter has no condition other than a state.
    pub fn is_empty(&self) -> bool {
        Self { state: None, before_id: None, ..self.clone() } == Self::default()
    }

    /// Returns the filter as JSON, with the companies of the scope, as it is recorded with an action.
    pub fn to_json(&self, scope: &Scope) -> String {
        let mut filter = serde_json::to_value(self).unwrap_or_default();
        if let Some(filter) = filter.as_object_mut() {
            filter.retain(|_, value: &mut Value| match value {
                Value::Null => false,
                Value::Array(all) => !all.is_empty(),
                _ => true,
            });
            match scope {
                Scope::All => None,
                Scope::Companies(companies) => match companies.as_slice() {
                    [one] => filter.insert("company_id".to_owned(), one.0.into()),
                    several => filter.insert("company_ids".to_owned(), json!(several)),
                },
            };
        }
        filter.to_string()
    }

    fn condition(&self, scope: &Scope) -> Cond {
        let attempts =
            |(compare, count): (Compare, i32)| compare.condition(Expr::col(Column::Attempts), count);
        // LIKE is not used, because PostgreSQL and SQLite would not use this index for it.
        let begins_with = |prefix: &String| {
            let end = prefix_end(prefix).map(|end| Column::Fingerprint.lt(end));
            Cond::all().add(Column::Fingerprint.gte(prefix)).add_option(end)
        };
        scope
            .condition(Column::CompanyId)
            .add_option(self.reason.as_ref().map(|reason| Column::Reason.eq(reason)))
            .add_option(self.state.map(|state| Column::State.eq(state)))
            .add_option(self.event_type.as_ref().map(|event_type| Column::EventType.eq(event_type)))
            .add_option(self.booking_ref.as_ref().map(|booking| Column::BookingRef.eq(booking)))
            .add_option(self.host_id.map(|host| Column::HostId.eq(host)))
            .add_option((!self.ids.is_empty()).then(|| Column::Id.is_in(self.ids.iter().copied())))
            .add_option(self.since_ms.map(|since| Column::LastFailedMs.gte(since)))
            .add_option(self.until_ms.map(|until| Column::LastFailedMs.lt(until)))
            .add_option(self.attempts.map(attempts))
            .add_option(self.fingerprint.as_ref().map(begins_with))
            .add_option(self.text.as_deref().map(contains_text))
            .add_option(self.before_id.map(|before| Column::Id.lt(before)))
    }
}

/// Builds a condition for rows that contain this string in one of the searched columns, ignoring case. The
/// engine converts both sides to lower case (SQLite only ASCII letters).
fn contains_text(text: &str) -> Cond {
    let pattern = Func::lower(Expr::val(format!("%{}%", like_literal(text))));
    let like = |column: Column| {
        Expr::expr(Func::lower(Expr::col(column))).binary(
            BinOper::Like,
            Expr::expr(pattern.clone()).binary(BinOper::Escape, Expr::Constant('!'.into())),
        )
    };
    let columns = [Column::Error, Column::EventId, Column::BookingRef];
    columns.into_iter().fold(Cond::any(), |any, column| any.add(like(column)))
}

/// Returns the first string after all those that begin with this prefix, in byte order.
fn prefix_end(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        if let Some(next) = (last..=char::MAX).nth(1) {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

/// Returns dead letters, newest first, at most `limit`.
pub async fn dead_letters(
    database: &Database,
    scope: &Scope,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetter>> {
    Ok(newest_first(filter.condition(scope), limit).all(database.connection()).await?)
}

/// Returns the same letters as [`dead_letters`] without the columns that may be large: for tables, and for
/// long lists.
pub async fn dead_letter_summaries(
    database: &Database,
    scope: &Scope,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetterSummary>> {
    let letters = newest_first(filter.condition(scope), limit).into_partial_model();
    Ok(letters.all(database.connection()).await?)
}

/// A dead letter as shown with its event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, DerivePartialModel)]
#[sea_orm(entity = "Entity")]
pub struct LetterOfEvent {
    pub(crate) id: i64,
    pub(crate) state: Stored<LetterState>,
    pub(crate) reason: String,
    pub(crate) error: String,
}

/// Returns the dead letters of this event, newest first, at most a hundred.
pub async fn letters_of_event(
    database: &Database,
    scope: &Scope,
    event: &event::Model,
) -> Result<Vec<LetterOfEvent>> {
    // The search also uses the booking, because its column has an index.
    let of_event = scope
        .condition(Column::CompanyId)
        .add(Column::EventId.eq(event.event_id.as_str()))
        .add_option(event.booking_ref.as_ref().map(|booking| Column::BookingRef.eq(booking)));
    Ok(newest_first(of_event, 100).into_partial_model().all(database.connection()).await?)
}

fn newest_first(condition: Cond, limit: u64) -> Select<Entity> {
    Entity::find().filter(condition).order_by_desc(Column::Id).limit(limit)
}

/// Returns the ids of all matching letters, oldest first.
pub async fn dead_letter_ids(
    database: &Database,
    scope: &Scope,
    filter: &DeadLetterFilter,
) -> Result<Vec<i64>> {
    let letters = Entity::find().filter(filter.condition(scope)).order_by_asc(Column::Id);
    values_of(database.connection(), letters, Column::Id).await
}

/// Returns those of these letters that exist, ordered by id.
pub async fn dead_letters_of(database: &Database, scope: &Scope, ids: &[i64]) -> Result<Vec<DeadLetter>> {
    let with_id = scope.condition(Column::CompanyId).add(Column::Id.is_in(ids.iter().copied()));
    Ok(Entity::find().filter(with_id).order_by_asc(Column::Id).all(database.connection()).await?)
}

/// Returns one dead letter by its id.
pub async fn dead_letter(database: &Database, scope: &Scope, id: i64) -> Result<Option<DeadLetter>> {
    Ok(dead_letters_of(database, scope, &[id]).await?.pop())
}

/// Dead letters with one fingerprint. `docs/commands.md` describes its JSON, which is a contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromQueryResult)]
pub struct Group {
    /// The fingerprint.
    #[serde(rename = "group")]
    pub fingerprint: String,
    /// Their reason code.
    pub reason: String,
    /// The number of its letters.
    #[serde(rename = "letters")]
    pub count: i64,
    /// The number of companies to which they belong.
    pub companies: i64,
    /// When the first of them was received, in ms since 1970 (UTC).
    #[serde(rename = "first_seen", serialize_with = "as_rfc3339")]
    pub first_seen_ms: i64,
    /// When the last of them failed, in ms since 1970 (UTC).
    #[serde(rename = "last_failed", serialize_with = "as_rfc3339")]
    pub last_failed_ms: i64,
    /// When the earliest of their meetings starts, in ms since 1970 (UTC).
    #[serde(rename = "earliest_start", serialize_with = "as_rfc3339")]
    pub earliest_start_ms: Option<i64>,
    /// The id of the newest of them.
    #[serde(skip)]
    pub newest: i64,
    /// The error of the newest of them.
    #[sea_orm(skip)]
    pub error: String,
    /// The newest note on the group.
    #[sea_orm(skip)]
    pub note: Option<String>,
}

/// Returns the groups of the matching letters, the largest first; at most `limit`, after the first `skip`.
pub async fn groups(
    database: &Database,
    scope: &Scope,
    filter: &DeadLetterFilter,
    skip: u64,
    limit: u64,
) -> Result<Vec<Group>> {
    let letters = Expr::col(Column::Fingerprint).count();
    let mut query = Query::select();
    query
        .columns([Column::Fingerprint, Column::Reason])
        .expr_as(letters.clone(), "count")
        .expr_as(Func::count_distinct(Expr::col(Column::CompanyId)), "companies")
        .expr_as(Expr::col(Column::FirstSeenMs).min(), "first_seen_ms")
        .expr_as(Expr::col(Column::LastFailedMs).max(), "last_failed_ms")
        .expr_as(Expr::col(Column::StartsMs).min(), "earliest_start_ms")
        .expr_as(Expr::col(Column::Id).max(), "newest")
        .group_by_columns([Column::Fingerprint, Column::Reason])
        .order_by_expr(letters, Order::Desc)
        .order_by(Column::Fingerprint, Order::Asc)
        .order_by(Column::Reason, Order::Asc)
        .limit(limit)
        .offset(skip);
    if filter.text.is_none() {
        query.from(Entity).cond_where(filter.condition(scope));
    } else {
        query.from_subquery(select_matching(scope, filter), "found");
    }
    let db = database.connection();
    let mut groups = Group::find_by_statement(database.backend().build(&query)).all(db).await?;
    let errors: Vec<(i64, String)> = Entity::find()
        .select_only()
        .columns([Column::Id, Column::Error])
        .filter(Column::Id.is_in(groups.iter().map(|group| group.newest)))
        .into_tuple()
        .all(db)
        .await?;
    let mut errors: BTreeMap<i64, String> = errors.into_iter().collect();
    let notes: Vec<(String, Option<String>)> = Action::find()
        .select_only()
        .columns([ActionColumn::Fingerprint, ActionColumn::Why])
        .filter(ActionColumn::Fingerprint.is_in(groups.iter().map(|group| group.fingerprint.as_str())))
        .filter(ActionColumn::Action.eq(LetterAction::Note))
        .order_by_asc(ActionColumn::Id)
        .into_tuple()
        .all(db)
        .await?;
    // The last of several notes is shown.
    let notes: BTreeMap<String, Option<String>> = notes.into_iter().collect();
    for group in &mut groups {
        group.error = errors.remove(&group.newest).unwrap_or_default();
        group.note = notes.get(&group.fingerprint).cloned().flatten();
    }
    Ok(groups)
}

/// Selects the matching letters, for a subquery. In a single query, MariaDB would sort the ids first and then
/// read each row a second time for the grouped columns, in random order. The limit keeps it from merging the
/// subquery.
fn select_matching(scope: &Scope, filter: &DeadLetterFilter) -> SelectStatement {
    let mut query = Query::select();
    query
        .columns([
            Column::Id,
            Column::Fingerprint,
            Column::Reason,
            Column::CompanyId,
            Column::FirstSeenMs,
            Column::LastFailedMs,
            Column::StartsMs,
        ])
        .from(Entity)
        .cond_where(filter.condition(scope))
        .limit(i64::MAX.unsigned_abs());
    query
}
