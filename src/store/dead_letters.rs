//! Dead letters: the table in which they are kept, listed and looked at.

use sea_orm::sea_query::{
    Alias, Expr, ExprTrait as _, InsertStatement, OnConflict, Order, Query, SelectStatement, UpdateStatement,
};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, QueryResult};

use super::{Database, StoreError};
use crate::crash;

/// A dead letter to be recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDeadLetter {
    /// Its own id, by which recording it twice makes one row.
    pub dead_id: String,
    /// The event's id, where it could be read.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The shape that it came in, as far as it could be told.
    pub shape: Option<String>,
    /// The booking's reference.
    pub booking_ref: Option<String>,
    /// The tenant.
    pub company_id: Option<i64>,
    /// The reason code.
    pub reason: String,
    /// What went wrong, in words without personal data.
    pub error: String,
    /// What groups dead letters of one cause.
    pub fingerprint: String,
    /// Attempts, the last one included.
    pub attempts: i32,
    /// What went wrong on earlier attempts: a JSON array of {at_ms, reason, error}.
    pub history: String,
    /// The routing key under which it was published.
    pub routing_key: String,
    /// All text headers and AMQP properties: a JSON object.
    pub headers: String,
    /// The original bytes.
    pub body: Vec<u8>,
    /// When it was first received, in ms since 1970 (UTC).
    pub first_seen_ms: i64,
    /// When it failed last, in ms since 1970 (UTC).
    pub last_failed_ms: i64,
    /// When it is recorded, in ms since 1970 (UTC).
    pub recorded_ms: i64,
}

/// A dead letter as it stands in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// The row's id, growing.
    pub id: i64,
    /// `open` until it is resolved or discarded.
    pub state: String,
    /// What was recorded. (`shape` is not kept.)
    pub letter: NewDeadLetter,
}

/// A dead letter in a list: without its body, headers and history, which may be large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSummary {
    /// The row's id, growing.
    pub id: i64,
    /// `open` until it is resolved or discarded.
    pub state: String,
    /// The event's id, where it could be read.
    pub event_id: Option<String>,
    /// The event's type.
    pub event_type: Option<String>,
    /// The booking's reference.
    pub booking_ref: Option<String>,
    /// The tenant.
    pub company_id: Option<i64>,
    /// The reason code.
    pub reason: String,
    /// What went wrong, in words without personal data.
    pub error: String,
    /// Attempts, the last one included.
    pub attempts: i32,
    /// When it was first received, in ms since 1970 (UTC).
    pub first_seen_ms: i64,
    /// When it failed last, in ms since 1970 (UTC).
    pub last_failed_ms: i64,
}

/// Which dead letters to list; an empty filter lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this reason code.
    pub reason: Option<String>,
    /// Of this tenant.
    pub company_id: Option<i64>,
    /// In this state (`open`, …).
    pub state: Option<String>,
    /// Only older rows than this: the last id of the page before.
    pub before_id: Option<i64>,
}

/// Records dead letters, in one transaction; one that is recorded already shows its newest attempt,
/// and is open again. Gives the number of new rows.
///
/// # Errors
/// [`StoreError`]; nothing is recorded then.
pub async fn insert_dead_letters(
    database: &Database,
    letters: &[NewDeadLetter],
) -> Result<usize, StoreError> {
    // In key order, so that two recorders do not wait for each other in a circle.
    let mut letters: Vec<&NewDeadLetter> = letters.iter().collect();
    letters.sort_by(|a, b| a.dead_id.cmp(&b.dead_id));
    letters.dedup_by(|a, b| a.dead_id == b.dead_id);

    let transaction = database.begin().await?;
    let mut new = 0;
    // One by one: each may be as large as a message can be, and a statement has a limit too.
    for letter in &letters {
        if is_recorded(&transaction, &letter.dead_id).await? {
            transaction.execute(&newest_attempt(letter)).await?;
        } else {
            transaction.execute(&insertion(letter)?).await?;
            new += 1;
        }
    }
    letters.sort_by(|a, b| a.event_id.cmp(&b.event_id));
    for letter in letters {
        if let Some(event_id) = &letter.event_id {
            record_event(&transaction, event_id, letter).await?;
        }
    }
    crash::point("recorder_before_commit");
    transaction.commit().await?;
    crash::point("recorder_after_commit");
    Ok(new)
}

async fn is_recorded(transaction: &DatabaseTransaction, dead_id: &str) -> Result<bool, DbErr> {
    let mut query = Query::select();
    query.column("id").from(TABLE).and_where(Expr::col("dead_id").eq(fit(dead_id, 64)));
    Ok(transaction.query_one(&query).await?.is_some())
}

/// The same message has died again: sent once more, or copied twice in a crash.
fn newest_attempt(letter: &NewDeadLetter) -> UpdateStatement {
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("state", "open")
        .value("reason", fit(&letter.reason, 64))
        .value("error", fit(&letter.error, MAX_ERROR))
        .value("fingerprint", fit(&letter.fingerprint, 64))
        .value("attempts", letter.attempts)
        .value("history", letter.history.replace('\0', "\u{fffd}"))
        .value("last_failed_ms", letter.last_failed_ms)
        .and_where(Expr::col("dead_id").eq(fit(&letter.dead_id, 64)))
        .and_where(Expr::col("last_failed_ms").lt(letter.last_failed_ms));
    update
}

fn insertion(letter: &NewDeadLetter) -> Result<InsertStatement, StoreError> {
    let text = |value: &Option<String>, length| value.as_deref().map(|value| fit(value, length));
    let values: [Expr; 16] = [
        fit(&letter.dead_id, 64).into(),
        text(&letter.event_id, 255).into(),
        text(&letter.event_type, 64).into(),
        text(&letter.booking_ref, 255).into(),
        letter.company_id.into(),
        fit(&letter.reason, 64).into(),
        fit(&letter.error, MAX_ERROR).into(),
        fit(&letter.fingerprint, 64).into(),
        letter.attempts.into(),
        letter.history.replace('\0', "\u{fffd}").into(),
        fit(&letter.routing_key, 255).into(),
        letter.headers.replace('\0', "\u{fffd}").into(),
        letter.body.clone().into(),
        letter.first_seen_ms.into(),
        letter.last_failed_ms.into(),
        letter.recorded_ms.into(),
    ];
    // A recorder that came first with the same letter is no error.
    insert(TABLE, &COLUMNS, values, "dead_id", "id")
}

/// The event's own row. What was decided on it before stays: the dead letter may be a late copy.
async fn record_event(
    transaction: &DatabaseTransaction,
    event_id: &str,
    letter: &NewDeadLetter,
) -> Result<(), StoreError> {
    let reason = fit(&letter.reason, 64);
    let values: [Expr; 9] = [
        fit(event_id, 255).into(),
        fit(letter.event_type.as_deref().unwrap_or("unknown"), 64).into(),
        fit(letter.shape.as_deref().unwrap_or("unknown"), 16).into(),
        letter.booking_ref.as_deref().map(|text| fit(text, 255)).into(),
        letter.company_id.into(),
        DEAD.into(),
        reason.clone().into(),
        letter.first_seen_ms.into(),
        letter.last_failed_ms.into(),
    ];
    let insertion = insert("booking_events", &EVENT_COLUMNS, values, "event_id", "event_id")?;
    transaction.execute(&insertion).await?;
    let mut update = Query::update();
    update
        .table("booking_events")
        .value("reason", reason)
        .value("decided_ms", letter.last_failed_ms)
        .and_where(Expr::col("event_id").eq(fit(event_id, 255)))
        .and_where(Expr::col("outcome").eq(DEAD));
    transaction.execute(&update).await?;
    Ok(())
}

fn insert<const N: usize>(
    table: &'static str,
    columns: &[&'static str; N],
    values: [Expr; N],
    unique: &'static str,
    key: &'static str,
) -> Result<InsertStatement, StoreError> {
    let mut insertion = Query::insert();
    insertion.into_table(table).columns(columns.iter().map(|column| Alias::new(*column)));
    insertion
        .values(values)
        .map_err(|_| StoreError::Rejected("a row has another number of values than columns".into()))?
        .on_conflict(OnConflict::column(unique).do_nothing_on([key]).to_owned());
    Ok(insertion)
}

/// Cut to the column's length in characters, without NUL, which PostgreSQL does not store.
fn fit(text: &str, length: usize) -> String {
    text.chars().take(length).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect()
}

/// Lists dead letters, newest first, at most `limit`.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letters(
    database: &Database,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetterRow>, StoreError> {
    let mut query = listing(filter, limit);
    query.columns(COLUMNS);
    let rows = database.connection().query_all(&query).await?;
    rows.iter().map(read).collect()
}

/// The same list without what may be large: for tables, and for many.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter_summaries(
    database: &Database,
    filter: &DeadLetterFilter,
    limit: u64,
) -> Result<Vec<DeadLetterSummary>, StoreError> {
    let mut query = listing(filter, limit);
    query.columns(SUMMARY);
    let rows = database.connection().query_all(&query).await?;
    rows.iter().map(summary).collect()
}

/// `id` and `state` of these rows, newest first.
fn listing(filter: &DeadLetterFilter, limit: u64) -> SelectStatement {
    let mut query = Query::select();
    query.columns(["id", "state"]).from(TABLE).order_by("id", Order::Desc).limit(limit);
    if let Some(reason) = &filter.reason {
        query.and_where(Expr::col("reason").eq(reason));
    }
    if let Some(company) = filter.company_id {
        query.and_where(Expr::col("company_id").eq(company));
    }
    if let Some(state) = &filter.state {
        query.and_where(Expr::col("state").eq(state));
    }
    if let Some(before) = filter.before_id {
        query.and_where(Expr::col("id").lt(before));
    }
    query
}

/// One dead letter by its id.
///
/// # Errors
/// [`StoreError`]
pub async fn dead_letter(database: &Database, id: i64) -> Result<Option<DeadLetterRow>, StoreError> {
    let mut query = Query::select();
    query.columns(["id", "state"]).columns(COLUMNS).from(TABLE).and_where(Expr::col("id").eq(id));
    database.connection().query_one(&query).await?.as_ref().map(read).transpose()
}

fn read(row: &QueryResult) -> Result<DeadLetterRow, StoreError> {
    Ok(DeadLetterRow {
        id: row.try_get("", "id")?,
        state: row.try_get("", "state")?,
        letter: NewDeadLetter {
            dead_id: row.try_get("", "dead_id")?,
            event_id: row.try_get("", "event_id")?,
            event_type: row.try_get("", "event_type")?,
            shape: None,
            booking_ref: row.try_get("", "booking_ref")?,
            company_id: row.try_get("", "company_id")?,
            reason: row.try_get("", "reason")?,
            error: row.try_get("", "error")?,
            fingerprint: row.try_get("", "fingerprint")?,
            attempts: row.try_get("", "attempts")?,
            history: row.try_get("", "history")?,
            routing_key: row.try_get("", "routing_key")?,
            headers: row.try_get("", "headers")?,
            body: row.try_get("", "body")?,
            first_seen_ms: row.try_get("", "first_seen_ms")?,
            last_failed_ms: row.try_get("", "last_failed_ms")?,
            recorded_ms: row.try_get("", "recorded_ms")?,
        },
    })
}

fn summary(row: &QueryResult) -> Result<DeadLetterSummary, StoreError> {
    Ok(DeadLetterSummary {
        id: row.try_get("", "id")?,
        state: row.try_get("", "state")?,
        event_id: row.try_get("", "event_id")?,
        event_type: row.try_get("", "event_type")?,
        booking_ref: row.try_get("", "booking_ref")?,
        company_id: row.try_get("", "company_id")?,
        reason: row.try_get("", "reason")?,
        error: row.try_get("", "error")?,
        attempts: row.try_get("", "attempts")?,
        first_seen_ms: row.try_get("", "first_seen_ms")?,
        last_failed_ms: row.try_get("", "last_failed_ms")?,
    })
}

const TABLE: &str = "dead_letters";

/// The outcome of an event whose delivery became a dead letter.
const DEAD: &str = "dead_letter";

/// Far below what MySQL's TEXT holds (64 KiB) even at four bytes a character.
const MAX_ERROR: usize = 8_000;

const COLUMNS: [&str; 16] = [
    "dead_id",
    "event_id",
    "event_type",
    "booking_ref",
    "company_id",
    "reason",
    "error",
    "fingerprint",
    "attempts",
    "history",
    "routing_key",
    "headers",
    "body",
    "first_seen_ms",
    "last_failed_ms",
    "recorded_ms",
];

const SUMMARY: [&str; 9] = [
    "event_id",
    "event_type",
    "booking_ref",
    "company_id",
    "reason",
    "error",
    "attempts",
    "first_seen_ms",
    "last_failed_ms",
];

const EVENT_COLUMNS: [&str; 9] = [
    "event_id",
    "event_type",
    "shape",
    "booking_ref",
    "company_id",
    "outcome",
    "reason",
    "received_ms",
    "decided_ms",
];
