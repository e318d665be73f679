//! What operators do with dead letters, and the record of it: who, when, why, on which.

use migration::names;
use sea_orm::sea_query::{Expr, ExprTrait as _, Order, Query};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, QueryResult};
use uuid::Uuid;

use super::{LetterState, TABLE};
use crate::store::replays::lock_letters;
use crate::store::statement::chunk_rows;
use crate::store::{Database, DbId, StoreError};

/// Letters in one step.
const STEP: usize = 1_000;

/// What somebody does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewAct {
    /// `plan`, `replay`, `discard`, `restore`, `note`, …
    pub action: &'static str,
    /// Who, such as `cli:anna@office-3`.
    pub made_by: String,
    /// When, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// Why, in words of theirs.
    pub why: Option<String>,
    /// How the letters were chosen, as JSON.
    pub chosen: Option<String>,
    /// The plan or replay that it concerns.
    pub replay: Option<i64>,
    /// The group that it concerns.
    pub fingerprint: Option<String>,
    /// How many letters it concerns, those included on which it could not be done.
    pub letters: usize,
}

/// What somebody did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Act {
    /// The row's id, growing.
    pub id: i64,
    /// What.
    pub action: String,
    /// Who.
    pub made_by: String,
    /// When, in ms since 1970 (UTC).
    pub at_ms: i64,
    /// Why.
    pub why: Option<String>,
    /// The plan or replay that it concerns.
    pub replay: Option<i64>,
    /// How many letters it concerns.
    pub letters: i64,
}

/// What became of each letter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acted {
    /// It was done on these.
    pub done: Vec<i64>,
    /// It could not be done on these, and why.
    pub refused: Vec<(i64, String)>,
}

/// Puts open letters away, step by step: there may be very many.
///
/// # Errors
/// [`StoreError`]; what was done before is done, and recorded.
pub async fn discard(database: &Database, ids: &[i64], act: &NewAct) -> Result<Acted, StoreError> {
    let change = Change { from: LetterState::Open, to: LetterState::Discarded, closed_ms: Some(act.at_ms) };
    on_letters(database, ids, act, Some(change)).await
}

/// Opens discarded letters again, step by step.
///
/// # Errors
/// [`StoreError`]; what was done before is done, and recorded.
pub async fn restore(database: &Database, ids: &[i64], act: &NewAct) -> Result<Acted, StoreError> {
    let change = Change { from: LetterState::Discarded, to: LetterState::Open, closed_ms: None };
    on_letters(database, ids, act, Some(change)).await
}

/// Records that somebody takes what these letters hold, personal data included.
///
/// # Errors
/// [`StoreError`]; then they are not to be given.
pub async fn record_taken(database: &Database, ids: &[i64], act: &NewAct) -> Result<(), StoreError> {
    on_letters(database, ids, act, None).await.map(drop)
}

/// From one state of a letter to another.
#[derive(Clone, Copy, Debug)]
struct Change {
    from: LetterState,
    to: LetterState,
    closed_ms: Option<i64>,
}

/// One act on letters, changed or not, each step in a transaction of its own.
async fn on_letters(
    database: &Database,
    ids: &[i64],
    act: &NewAct,
    change: Option<Change>,
) -> Result<Acted, StoreError> {
    let (mut all, mut number) = (Acted::default(), None);
    for some in ids.chunks(STEP) {
        let work = async |tx: &DatabaseTransaction| {
            let number = match number {
                Some(number) => number,
                None => record_act(tx, &NewAct { letters: ids.len(), ..act.clone() }).await?,
            };
            let mut acted = Acted::default();
            for ids in chunk_rows(some) {
                match change {
                    Some(change) => change_state(tx, database.backend(), ids, change, &mut acted).await?,
                    None => acted.done.extend(ids),
                }
            }
            for ids in chunk_rows(&acted.done) {
                let mut insert = Query::insert();
                insert.into_table(names::DEAD_LETTER_ACTION_LETTERS).columns(["action_id", "letter_id"]);
                for id in ids {
                    insert.values_panic([number.into(), (*id).into()]);
                }
                tx.execute(&insert).await?;
            }
            Ok((number, acted))
        };
        let (known, acted) = database.in_time(database.transact(work)).await?;
        number = Some(known);
        all.done.extend(acted.done);
        all.refused.extend(acted.refused);
    }
    Ok(all)
}

async fn change_state(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    ids: &[i64],
    Change { from, to, closed_ms }: Change,
    acted: &mut Acted,
) -> Result<(), StoreError> {
    let states = lock_letters(tx, backend, ids).await?;
    let mut chosen = Vec::new();
    for id in ids {
        match states.get(id).map(|letter| &letter.state) {
            Some(state) if state.known() == Some(from) => chosen.push(*id),
            Some(state) => acted.refused.push((*id, format!("it is {state}, not {from}"))),
            None => acted.refused.push((*id, "there is no such dead letter".to_owned())),
        }
    }
    let mut update = Query::update();
    update
        .table(TABLE)
        .value("state", to.as_str())
        .value("closed_ms", closed_ms)
        .and_where(Expr::col("id").is_in(chosen.iter().copied()));
    tx.execute(&update).await?;
    acted.done.extend(chosen);
    Ok(())
}

/// Records an act that changes no letters, such as a note on a group.
///
/// # Errors
/// [`StoreError`]
pub async fn note(database: &Database, act: &NewAct) -> Result<(), StoreError> {
    let work = async |tx: &DatabaseTransaction| record_act(tx, act).await;
    database.transact(work).await.map(drop)
}

/// Records what somebody does, in the transaction that does it. Gives the row's id.
///
/// # Errors
/// [`StoreError`]
pub(in crate::store) async fn record_act(tx: &impl ConnectionTrait, act: &NewAct) -> Result<i64, StoreError> {
    let token = Uuid::new_v4().to_string();
    let fit = |text: &str, most: usize| text.chars().filter(|c| *c != '\0').take(most).collect::<String>();
    let mut insert = Query::insert();
    insert
        .into_table(ACTS)
        .columns([
            "token",
            "action",
            "made_by",
            "at_ms",
            "why",
            "chosen",
            "replay_id",
            "fingerprint",
            "letters",
        ])
        .values_panic([
            token.as_str().into(),
            act.action.into(),
            fit(&act.made_by, 255).into(),
            act.at_ms.into(),
            act.why.as_deref().map(|why| fit(why, 8_000)).into(),
            act.chosen.clone().into(),
            act.replay.into(),
            act.fingerprint.clone().into(),
            i32::try_from(act.letters).unwrap_or(i32::MAX).into(),
        ]);
    tx.execute(&insert).await?;
    id_of(tx, ACTS, &token).await
}

/// The id of the row that was just inserted with this token.
pub(in crate::store) async fn id_of(
    tx: &impl ConnectionTrait,
    table: &'static str,
    token: &str,
) -> Result<i64, StoreError> {
    let mut select = Query::select();
    select.column("id").from(table).and_where(Expr::col("token").eq(token));
    let row = tx.query_one(&select).await?;
    let id = row.map(|row| row.try_get::<DbId>("", "id")).transpose()?;
    id.map(|id| id.0).ok_or_else(|| StoreError::Rejected("a row that was just written is not there".into()))
}

/// What was done on this letter (by itself, or with its group), or with this replay; oldest first.
///
/// # Errors
/// [`StoreError`]
pub async fn acts(
    database: &Database,
    letter: Option<(i64, &str)>,
    replay: Option<i64>,
) -> Result<Vec<Act>, StoreError> {
    let mut any = sea_orm::sea_query::Cond::any();
    if let Some((id, fingerprint)) = letter {
        let mut own = Query::select();
        own.column("action_id")
            .from(names::DEAD_LETTER_ACTION_LETTERS)
            .and_where(Expr::col("letter_id").eq(id));
        any = any.add(Expr::col("id").in_subquery(own)).add(Expr::col("fingerprint").eq(fingerprint));
        let mut replays = Query::select();
        replays.column("replay_id").from(names::REPLAY_ITEMS).and_where(Expr::col("letter_id").eq(id));
        any = any.add(Expr::col("replay_id").in_subquery(replays));
    }
    if let Some(replay) = replay {
        any = any.add(Expr::col("replay_id").eq(replay));
    }
    let mut query = Query::select();
    query
        .columns(["id", "action", "made_by", "at_ms", "why", "replay_id", "letters"])
        .from(ACTS)
        .cond_where(any)
        .order_by("id", Order::Asc);
    database.connection().query_all(&query).await?.iter().map(act).collect()
}

fn act(row: &QueryResult) -> Result<Act, StoreError> {
    Ok(Act {
        id: row.try_get::<DbId>("", "id")?.0,
        action: row.try_get("", "action")?,
        made_by: row.try_get("", "made_by")?,
        at_ms: row.try_get("", "at_ms")?,
        why: row.try_get("", "why")?,
        replay: row.try_get("", "replay_id")?,
        letters: row.try_get::<DbId>("", "letters")?.0,
    })
}

const ACTS: &str = names::DEAD_LETTER_ACTIONS;
