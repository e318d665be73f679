//! Recording: one row for each dead letter, however often it is recorded.

use migration::names;
use sea_orm::sea_query::{
    Alias, Cond, Expr, ExprTrait as _, InsertStatement, OnConflict, Query, UpdateStatement,
};
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr};

use super::list::COLUMNS;
use super::{LetterState, NewDeadLetter, TABLE};
use crate::matching::DEAD_LETTER;
use crate::runtime::crash_points;
use crate::store::replays::{FAILED, end_replayed};
use crate::store::{Database, StoreError};

/// Records dead letters, in one transaction; one that is recorded already shows its newest attempt,
/// and is open again, unless its copy is on the way. Gives the number of new rows.
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

    let transaction = database.begin().await?;
    let mut new = 0;
    // One by one: each may be as large as a message can be, and a statement has a limit too.
    for letter in &letters {
        if has_failed_again(&transaction, letter).await? {
            continue;
        }
        if is_recorded(&transaction, &letter.dead_id).await? {
            transaction.execute(&newer_attempt(letter)).await?;
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
    crash_points::point("recorder_before_commit");
    transaction.commit().await?;
    crash_points::point("recorder_after_commit");
    Ok(new)
}

async fn is_recorded(transaction: &DatabaseTransaction, dead_id: &str) -> Result<bool, DbErr> {
    let mut query = Query::select();
    query.column("id").from(TABLE).and_where(Expr::col("dead_id").eq(fit(dead_id, 64)));
    Ok(transaction.query_one(&query).await?.is_some())
}

/// Ends the replay whose copy this is, and shows the attempt with its letter. False: it is no copy
/// that is on the way, or its letter is gone, and it is to be recorded like any other.
async fn has_failed_again(
    transaction: &DatabaseTransaction,
    letter: &NewDeadLetter,
) -> Result<bool, StoreError> {
    let Some(copy) = &letter.replayed else { return Ok(false) };
    let reason = Some(letter.reason.as_str());
    if !end_replayed(transaction, copy, FAILED, reason, letter.recorded_ms).await? {
        return Ok(false);
    }
    // Whatever the clocks of two machines say: this is its newest attempt.
    let mut update = attempt(letter);
    update.value("state", LetterState::Open.as_str()).and_where(Expr::col("id").eq(copy.letter));
    Ok(transaction.execute(&update).await?.rows_affected() > 0)
}

/// The same message has died again: sent once more, or copied twice in a crash. A letter whose copy
/// is on the way stays so; one that was closed after this attempt stays closed.
fn newer_attempt(letter: &NewDeadLetter) -> UpdateStatement {
    let [replaying, open] = [LetterState::Replaying, LetterState::Open].map(LetterState::as_str);
    let state = Expr::case(Expr::col("state").eq(replaying), replaying).finally(open);
    let mut update = attempt(letter);
    update
        .value("state", state)
        .and_where(Expr::col("dead_id").eq(fit(&letter.dead_id, 64)))
        .and_where(Expr::col("last_failed_ms").lt(letter.last_failed_ms))
        .cond_where(
            Cond::any()
                .add(Expr::col("closed_ms").is_null())
                .add(Expr::col("closed_ms").lt(letter.last_failed_ms)),
        );
    update
}

/// Shows this attempt with a letter that is recorded already.
fn attempt(letter: &NewDeadLetter) -> UpdateStatement {
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("reason", fit(&letter.reason, 64))
        .value("error", fit(&letter.error, MAX_ERROR))
        .value("fingerprint", fit(&letter.fingerprint, 64))
        .value("attempts", letter.attempts)
        .value("history", letter.history.replace('\0', "\u{fffd}"))
        .value("last_failed_ms", letter.last_failed_ms)
        .value("closed_ms", Option::<i64>::None);
    update
}

fn insertion(letter: &NewDeadLetter) -> Result<InsertStatement, StoreError> {
    let text = |value: &Option<String>, length| value.as_deref().map(|value| fit(value, length));
    let values: [Expr; 18] = [
        fit(&letter.dead_id, 64).into(),
        text(&letter.event_id, 255).into(),
        text(&letter.event_type, 64).into(),
        text(&letter.booking_ref, 255).into(),
        letter.company_id.into(),
        letter.host_id.into(),
        letter.starts_ms.into(),
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
    let values: [Expr; 10] = [
        fit(event_id, 255).into(),
        fit(letter.event_type.as_deref().unwrap_or("unknown"), 64).into(),
        fit(letter.shape.as_deref().unwrap_or("unknown"), 16).into(),
        letter.publisher.as_deref().map(|text| fit(text, 64)).into(),
        letter.booking_ref.as_deref().map(|text| fit(text, 255)).into(),
        letter.company_id.into(),
        DEAD_LETTER.into(),
        reason.clone().into(),
        letter.first_seen_ms.into(),
        letter.last_failed_ms.into(),
    ];
    let insertion = insert(names::EVENTS, &EVENT_COLUMNS, values, "event_id", "event_id")?;
    transaction.execute(&insertion).await?;
    let mut update = Query::update();
    update
        .table(names::EVENTS)
        .value("reason", reason)
        .value("decided_ms", letter.last_failed_ms)
        .and_where(Expr::col("event_id").eq(fit(event_id, 255)))
        .and_where(Expr::col("outcome").eq(DEAD_LETTER));
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

/// Far below what MySQL's TEXT holds (64 KiB) even at four bytes a character.
const MAX_ERROR: usize = 8_000;

const EVENT_COLUMNS: [&str; 10] = [
    "event_id",
    "event_type",
    "shape",
    "publisher",
    "booking_ref",
    "company_id",
    "outcome",
    "reason",
    "received_ms",
    "decided_ms",
];
