//! The statements: what each operation does to the table. All of them run in a transaction of the
//! caller's, but for the looks.

use std::collections::BTreeMap;

use sea_orm::{ConnectionTrait, DbBackend, DbErr, QueryResult, Statement, Value};
use uuid::Uuid;

use crate::queue::message::{Delivery, Message};
use crate::queue::{BatchLimits, ClosedBy, Depth, Level, Part, Source, copies};

/// What can be taken now. What never waited is due at 0, so that a clock that is set back hides
/// nothing.
const FREE: &str = "queue = ? AND due_ms <= ? AND (lease IS NULL OR leased_until_ms <= ?)";

/// By the time of arrival, or of the end of the wait: a retry stands in line like everybody, and
/// what is given back keeps its place.
const IN_ORDER: &str = "ORDER BY rank_ms, id";

const COLUMNS: &str = "id, body, headers, routing_key, message_type, message_id, correlation_id, content_type, \
                       timestamp_ms, redelivered";

pub(super) fn statement(sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

fn as_json<T: serde::Serialize>(value: &T) -> Result<String, DbErr> {
    serde_json::to_string(value).map_err(|error| DbErr::Custom(error.to_string()))
}

/// Puts a message at the end of the work queue.
pub(super) async fn insert(db: &impl ConnectionTrait, message: &Message, now_ms: i64) -> Result<(), DbErr> {
    let sql = "INSERT INTO messages (queue, body, headers, routing_key, message_type, message_id, \
               correlation_id, content_type, timestamp_ms, enqueued_ms, rank_ms) VALUES ('bookings',?,?,?,?,?,?,?,?,?,?)";
    let values: [Value; 10] = [
        message.body.to_vec().into(),
        as_json(&message.headers)?.into(),
        message.routing_key.clone().into(),
        message.message_type.clone().into(),
        message.message_id.clone().into(),
        message.correlation_id.clone().into(),
        message.content_type.clone().into(),
        message.timestamp_ms.into(),
        now_ms.into(),
        now_ms.into(),
    ];
    db.execute_raw(statement(sql, values)).await.map(|_| ())
}

/// Whether there is anything to take: a look that disturbs no writer.
pub(super) async fn anything(db: &impl ConnectionTrait, source: Source, now_ms: i64) -> Result<bool, DbErr> {
    let sql = format!("SELECT 1 FROM messages WHERE {FREE} LIMIT 1");
    let values = [source.name().into(), now_ms.into(), now_ms.into()];
    Ok(db.query_one_raw(statement(&sql, values)).await?.is_some())
}

/// What was taken: ids and deliveries, in step.
pub(super) struct Taken {
    pub(super) ids: Vec<i64>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) closed_by: ClosedBy,
}

/// Leases the next messages, up to the limits; a redelivered one alone. What was handed out more
/// often than the delivery limit allows is moved to the dead letters on the way.
pub(super) async fn take(
    db: &impl ConnectionTrait,
    source: Source,
    limits: BatchLimits,
    delivery_limit: i64,
    lease: (&str, i64),
    now_ms: i64,
) -> Result<Taken, DbErr> {
    loop {
        let Chosen { ids: chosen, worn_out, closed_by } =
            choose(db, source, limits, delivery_limit, now_ms).await?;
        for delivery in load(db, &worn_out).await? {
            let mut message = delivery.1.message;
            copies::bury(&mut message, "delivery_limit", Uuid::now_v7());
            to_the_dead(db, delivery.0, &message.headers).await?;
        }
        if chosen.is_empty() && !worn_out.is_empty() {
            continue;
        }
        let mut taken = Taken { ids: Vec::new(), deliveries: Vec::new(), closed_by };
        for (id, delivery) in load(db, &chosen).await? {
            taken.ids.push(id);
            taken.deliveries.push(delivery);
        }
        let sql = "UPDATE messages SET lease = ?, leased_until_ms = ?, deliveries = deliveries + 1, \
                   redelivered = 1 WHERE id IN (SELECT value FROM json_each(?))";
        let values = [lease.0.into(), lease.1.into(), as_json(&chosen)?.into()];
        db.execute_raw(statement(sql, values)).await?;
        return Ok(taken);
    }
}

/// The first messages of the work queue, up to the limits, whoever had leased them: for a file with
/// only one owner.
pub(super) async fn head(
    db: &impl ConnectionTrait,
    limits: BatchLimits,
) -> Result<Vec<(i64, Delivery)>, DbErr> {
    let chosen = choose(db, Source::Bookings, limits, i64::MAX, i64::MAX).await?;
    load(db, &chosen.ids).await
}

/// What may be handed out now.
struct Chosen {
    ids: Vec<i64>,
    /// Handed out too often already.
    worn_out: Vec<i64>,
    closed_by: ClosedBy,
}

async fn choose(
    db: &impl ConnectionTrait,
    source: Source,
    limits: BatchLimits,
    delivery_limit: i64,
    now_ms: i64,
) -> Result<Chosen, DbErr> {
    // Sizes first: bodies are read only of what is taken.
    let sql = format!(
        "SELECT id, length(body) AS size, deliveries, redelivered FROM messages WHERE {FREE} {IN_ORDER} LIMIT ?"
    );
    let most = i64::try_from(limits.size.max(1)).unwrap_or(i64::MAX);
    let values = [source.name().into(), now_ms.into(), now_ms.into(), most.into()];
    let (mut chosen, mut worn_out, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    let mut closed_by = ClosedBy::Drained;
    for row in db.query_all_raw(statement(&sql, values)).await? {
        let id: i64 = row.try_get_by("id")?;
        // As RabbitMQ counts: a limit of 3 allows 4 deliveries.
        if source == Source::Bookings && row.try_get_by::<i64, _>("deliveries")? > delivery_limit {
            worn_out.push(id);
            continue;
        }
        let redelivered = row.try_get_by::<i64, _>("redelivered")? != 0;
        let size = usize::try_from(row.try_get_by::<i64, _>("size")?).unwrap_or(usize::MAX);
        let fits = bytes.saturating_add(size) <= limits.bytes && !redelivered;
        if !chosen.is_empty() && !fits {
            closed_by = if redelivered { ClosedBy::Alone } else { ClosedBy::Bytes };
            break;
        }
        chosen.push(id);
        bytes = bytes.saturating_add(size);
        if redelivered {
            closed_by = ClosedBy::Alone;
            break;
        }
        if chosen.len() >= limits.size.max(1) {
            closed_by = ClosedBy::Size;
        }
    }
    Ok(Chosen { ids: chosen, worn_out, closed_by })
}

async fn load(db: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<(i64, Delivery)>, DbErr> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql =
        format!("SELECT {COLUMNS} FROM messages WHERE id IN (SELECT value FROM json_each(?)) {IN_ORDER}");
    db.query_all_raw(statement(&sql, [as_json(&ids)?.into()])).await?.iter().map(read).collect()
}

fn read(row: &QueryResult) -> Result<(i64, Delivery), DbErr> {
    let headers: String = row.try_get_by("headers")?;
    let message = Message {
        body: row.try_get_by::<Vec<u8>, _>("body")?.into(),
        headers: serde_json::from_str(&headers)
            .map_err(|_| DbErr::Custom("headers are no JSON".to_owned()))?,
        routing_key: row.try_get_by("routing_key")?,
        message_type: row.try_get_by("message_type")?,
        message_id: row.try_get_by("message_id")?,
        correlation_id: row.try_get_by("correlation_id")?,
        content_type: row.try_get_by("content_type")?,
        timestamp_ms: row.try_get_by("timestamp_ms")?,
    };
    let redelivered = row.try_get_by::<i64, _>("redelivered")? != 0;
    Ok((row.try_get_by("id")?, copies::receive(message, redelivered)))
}

/// Which of these are still under this lease.
pub(super) async fn ours(db: &impl ConnectionTrait, ids: &[i64], lease: &str) -> Result<Vec<i64>, DbErr> {
    let sql = "SELECT id FROM messages WHERE lease = ? AND id IN (SELECT value FROM json_each(?))";
    let rows = db.query_all_raw(statement(sql, [lease.into(), as_json(&ids)?.into()])).await?;
    rows.iter().map(|row| row.try_get_by("id")).collect()
}

pub(super) async fn delete(db: &impl ConnectionTrait, ids: &[i64]) -> Result<(), DbErr> {
    if ids.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM messages WHERE id IN (SELECT value FROM json_each(?))";
    db.execute_raw(statement(sql, [as_json(&ids)?.into()])).await.map(|_| ())
}

/// Another attempt, as a fresh message that arrives at `due_ms`.
pub(super) async fn retry(
    db: &impl ConnectionTrait,
    id: i64,
    headers: &BTreeMap<String, String>,
    due_ms: i64,
) -> Result<(), DbErr> {
    let sql = "UPDATE messages SET headers = ?, due_ms = ?, rank_ms = ?, deliveries = 0, redelivered = 0, lease = NULL, \
               leased_until_ms = NULL WHERE id = ?";
    db.execute_raw(statement(sql, [as_json(headers)?.into(), due_ms.into(), due_ms.into(), id.into()]))
        .await
        .map(|_| ())
}

pub(super) async fn to_the_dead(
    db: &impl ConnectionTrait,
    id: i64,
    headers: &BTreeMap<String, String>,
) -> Result<(), DbErr> {
    let sql = "UPDATE messages SET queue = 'dead', headers = ?, due_ms = 0, deliveries = 0, redelivered = 0, \
               lease = NULL, leased_until_ms = NULL WHERE id = ?";
    db.execute_raw(statement(sql, [as_json(headers)?.into(), id.into()])).await.map(|_| ())
}

/// Out of the line, as they are.
pub(super) async fn set_aside(db: &impl ConnectionTrait, ids: &[i64]) -> Result<(), DbErr> {
    let sql = "UPDATE messages SET queue = 'dead' WHERE id IN (SELECT value FROM json_each(?))";
    db.execute_raw(statement(sql, [as_json(&ids)?.into()])).await.map(|_| ())
}

/// When the first message of the work queue came, in ms since 1970.
pub(super) async fn first_ms(db: &impl ConnectionTrait) -> Result<Option<i64>, DbErr> {
    let sql = format!("SELECT rank_ms FROM messages WHERE queue = 'bookings' {IN_ORDER} LIMIT 1");
    db.query_one_raw(statement(&sql, [])).await?.map(|row| row.try_get_by_index(0)).transpose()
}

/// Ends leases. Asked for (`counted` false), it is as if the delivery had not been.
pub(super) async fn release(
    db: &impl ConnectionTrait,
    lease: &str,
    ids: &[i64],
    counted: bool,
) -> Result<(), DbErr> {
    let sql = "UPDATE messages SET lease = NULL, leased_until_ms = NULL, deliveries = deliveries - ? \
               WHERE lease = ? AND id IN (SELECT value FROM json_each(?))";
    let values = [i64::from(!counted).into(), lease.into(), as_json(&ids)?.into()];
    db.execute_raw(statement(sql, values)).await.map(|_| ())
}

/// Ends every lease whose name begins so. `counted` as in [`release`].
pub(super) async fn release_all(db: &impl ConnectionTrait, begins: &str, counted: bool) -> Result<(), DbErr> {
    let sql = "UPDATE messages SET lease = NULL, leased_until_ms = NULL, deliveries = deliveries - ? \
               WHERE lease GLOB ?";
    let values = [i64::from(!counted).into(), format!("{begins}*").into()];
    db.execute_raw(statement(sql, values)).await.map(|_| ())
}

pub(super) async fn renew(db: &impl ConnectionTrait, lease: &str, until_ms: i64) -> Result<(), DbErr> {
    let sql = "UPDATE messages SET leased_until_ms = ? WHERE lease = ?";
    db.execute_raw(statement(sql, [until_ms.into(), lease.into()])).await.map(|_| ())
}

pub(super) async fn depth(db: &impl ConnectionTrait, now_ms: i64) -> Result<Depth, DbErr> {
    let mut depth = Depth { in_flight: Some(0), ..Depth::default() };
    for level in levels(db, now_ms).await? {
        *(match level.part {
            Part::Work => &mut depth.ready,
            Part::Retry => &mut depth.waiting,
            Part::Dead => &mut depth.dead,
        }) = level.ready;
        depth.in_flight = depth.in_flight.map(|others| others + level.unacked.unwrap_or(0));
    }
    Ok(depth)
}

/// What is free and what is leased, of the work queue (what is due, and what waits) and of the dead letters.
pub(super) async fn levels(db: &impl ConnectionTrait, now_ms: i64) -> Result<Vec<Level>, DbErr> {
    let sql = "SELECT
        coalesce(sum(free AND queue = 'bookings' AND due_ms <= ?), 0) AS ready,
        coalesce(sum(NOT free AND queue = 'bookings'), 0) AS unacked,
        coalesce(sum(free AND queue = 'bookings' AND due_ms > ?), 0) AS waiting,
        coalesce(sum(free AND queue = 'dead'), 0) AS dead,
        coalesce(sum(NOT free AND queue = 'dead'), 0) AS dead_unacked
        FROM (SELECT queue, due_ms, (lease IS NULL OR leased_until_ms <= ?) AS free FROM messages)";
    let values = [now_ms.into(), now_ms.into(), now_ms.into()];
    let Some(row) = db.query_one_raw(statement(sql, values)).await? else { return Ok(Vec::new()) };
    let count = |column: &str| row.try_get_by::<i64, _>(column).map(i64::unsigned_abs);
    let level = |name: &str, part, ready, unacked| {
        let unacked = Some(unacked);
        Level { name: name.to_owned(), part, ready, unacked, consumers: None }
    };
    Ok(vec![
        level("bookings", Part::Work, count("ready")?, count("unacked")?),
        level("bookings.retry", Part::Retry, count("waiting")?, 0),
        level("dead", Part::Dead, count("dead")?, count("dead_unacked")?),
    ])
}
