//! Counts the gateway's rows that affect matching. Only the numbers are reported, never a row.

use figment::providers::{Format as _, Toml};
use migration::by_engine;
use migration::gateway::{Column, Columns, KeyKind};
use serde::{Deserialize, Serialize};

use super::query_first;
use crate::store::{Database, DbId, StoreError, is_no_time};

/// A query and its description; `data.toml` explains the fields.
#[derive(Deserialize)]
struct Question {
    name: String,
    needs: Vec<String>,
    #[serde(default)]
    needs_text: bool,
    sql: String,
    meaning: String,
    remedy: Option<String>,
}

#[derive(Deserialize)]
struct Questions {
    question: Vec<Question>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Count {
    /// The name, by which scripts read the count.
    pub(crate) name: String,
    /// The number of rows; `None` if they could not be counted.
    pub(crate) count: Option<i64>,
    /// Why they could not be counted.
    pub(crate) not_counted: Option<&'static str>,
    pub(crate) meaning: String,
    /// The consequence if there are such rows, and what to do; `None` if nothing has to be done.
    pub(crate) remedy: Option<String>,
}

/// The result of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Number(i64),
    TooSlow,
    NotAllowed,
}

/// Returns the number in the first row, or 0 if there is no row or it is NULL.
pub(super) async fn count(database: &Database, sql: &str) -> Result<Counted, StoreError> {
    match query_first(database, sql).await {
        Ok(row) => {
            let n = row.map(|row| row.try_get_by_index::<Option<DbId>>(0)).transpose()?.flatten();
            Ok(Counted::Number(n.map_or(0, |n| n.0)))
        }
        Err(StoreError::Conflict(_)) => Ok(Counted::TooSlow),
        Err(StoreError::Denied(_)) => Ok(Counted::NotAllowed),
        Err(error) => Err(error),
    }
}

pub(super) async fn inspect(database: &Database, columns: &Columns) -> Result<Vec<Count>, StoreError> {
    let mut counts = Vec::new();
    for Question { name, sql, meaning, remedy, .. } in questions(columns)? {
        let (count, not_counted) = match count(database, &sql).await? {
            Counted::Number(n) => (Some(n), None),
            Counted::TooSlow => (None, Some("counting took longer than database.statement_timeout")),
            Counted::NotAllowed => (None, Some("this user may not read the table")),
        };
        counts.push(Count { name, count, not_counted, meaning, remedy });
    }
    Ok(counts)
}

/// Returns the queries that these tables allow, in the dialect of this engine.
fn questions(columns: &Columns) -> Result<Vec<Question>, StoreError> {
    let backend = columns.backend();
    let column = |needed: &str| needed.split_once('.').and_then(|(table, name)| columns.get(table, name));
    let is_text = |column: &Column| column.key_kind(backend) == Some(KeyKind::Text);
    // A case-insensitive collation would group values that hostmatch distinguishes.
    let (bytes, end) = by_engine(backend, [("CAST(", " AS BINARY)"), ("", ""), ("", "")]);
    let reference = "calcom_v2_booking_id";
    let is_text_column = columns.get("appointments", reference).is_some_and(is_text);
    let exact = if is_text_column { format!("{bytes}{reference}{end}") } else { reference.to_owned() };
    let number = [
        format!("{reference} REGEXP '^[0-9]+$'"),
        format!("{reference} ~ '^[0-9]+$'"),
        format!("{reference} <> '' AND {reference} NOT GLOB '*[^0-9]*'"),
    ];
    let placeholders = [
        ("{active}", active_staff_condition(columns)),
        ("{bytes}", bytes.to_owned()),
        ("{end}", end.to_owned()),
        ("{exact}", exact),
        ("{number}", by_engine(backend, number)),
    ];
    let all: Questions = Toml::from_str(include_str!("data.toml"))
        .map_err(|error| StoreError::Rejected(format!("data.toml: {error}")))?;
    let applicable = all.question.into_iter().filter(|one| {
        let needed: Option<Vec<_>> = one.needs.iter().map(|needed| column(needed)).collect();
        needed.is_some_and(|needed| !one.needs_text || is_text(needed[0]))
    });
    Ok(applicable.map(|one| Question { sql: fill_placeholders(one.sql, &placeholders), ..one }).collect())
}

fn fill_placeholders(sql: String, placeholders: &[(&str, String)]) -> String {
    placeholders.iter().fold(sql, |sql, (placeholder, text)| sql.replace(placeholder, text))
}

/// Returns the condition for active staff, to be appended to another condition.
fn active_staff_condition(columns: &Columns) -> String {
    let mut condition = String::new();
    if let Some(flag) = ["is_active", "active"].into_iter().find(|flag| columns.has("staff", flag)) {
        let is_boolean = columns.get("staff", flag).is_some_and(|flag| flag.data_type == "bool");
        let yes = if is_boolean { "TRUE" } else { "1" };
        condition.push_str(&format!(" AND {flag} = {yes}"));
    }
    if columns.has("staff", "deleted_at") {
        condition.push_str(&format!(" AND {}", is_no_time(columns.backend(), "deleted_at")));
    }
    condition
}
