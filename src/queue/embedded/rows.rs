//! The SQL statements of each operation. All of them, except reads, run in the caller's transaction.
//!
//! Statements that run for every single message are SQL strings, because building them each time costs more
//! than binding values. Every statement is the same for any number of messages, so it is prepared once.

use std::collections::BTreeMap;

use sea_orm::sea_query::{BinOper, Cond, Expr, ExprTrait as _, Func, Query};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, DerivePartialModel,
    EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, Set,
    Statement, UpdateMany, Value,
};
use uuid::Uuid;

use super::entity::{ActiveModel, Column, Entity};
use crate::queue::message::{Delivery, Message};
use crate::queue::{BatchLimits, ClosedBy, Level, QueueRole, Source, copies};

/// Selects the messages that can be delivered now. Messages that never waited are due at 0, so that setting
/// the clock back does not hide them.
fn select_available(source: Source, now_ms: i64) -> Select<Entity> {
    Entity::find()
        .filter(Column::Queue.eq(source.as_str()))
        .filter(Column::DueMs.lte(now_ms))
        .filter(Cond::any().add(Column::Lease.is_null()).add(Column::LeasedUntilMs.lte(now_ms)))
}

/// Orders messages by the time at which they arrived or their wait ended: a retry queues behind earlier
/// messages, and a returned message keeps its position.
fn in_order(messages: Select<Entity>) -> Select<Entity> {
    messages.order_by_asc(Column::RankMs).order_by_asc(Column::Id)
}

/// Matches messages with one of these ids.
fn has_id_in(ids: &[i64]) -> Result<Expr, DbErr> {
    let mut values = Query::select();
    values.expr(Expr::cust("value")).from_function(Func::cust("json_each").arg(as_json(&ids)?), "ids");
    Ok(Column::Id.in_subquery(values))
}

pub(super) fn statement(sql: &str, values: impl IntoIterator<Item = Value>) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
}

fn as_json<T: serde::Serialize>(value: &T) -> Result<String, DbErr> {
    serde_json::to_string(value).map_err(|error| DbErr::Custom(error.to_string()))
}

/// Appends a message to the work queue.
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

/// Writes to the file without changing its messages, as publishing a message of usual size would.
pub(super) async fn write_nothing(db: &DatabaseTransaction) -> Result<(), DbErr> {
    let usual = Message { body: vec![0; 4096].into(), ..Message::default() };
    insert(db, &usual, 0).await?;
    db.execute_unprepared("DELETE FROM messages WHERE id = last_insert_rowid()").await.map(|_| ())
}

/// Returns whether a message can be delivered now. This read does not block writers.
pub(super) async fn has_available(
    db: &impl ConnectionTrait,
    source: Source,
    now_ms: i64,
) -> Result<bool, DbErr> {
    let first = select_available(source, now_ms).select_only().column(Column::Id).into_tuple::<i64>();
    Ok(first.one(db).await?.is_some())
}

/// A leased batch. Ids and deliveries are in the same order.
pub(super) struct LeasedBatch {
    pub(super) ids: Vec<i64>,
    pub(super) deliveries: Vec<Delivery>,
    pub(super) closed_by: ClosedBy,
}

/// Leases the next messages, up to the limits; a redelivered message gets a batch of its own. Moves messages
/// that exceed the delivery limit to the dead letters.
pub(super) async fn lease_batch(
    db: &impl ConnectionTrait,
    source: Source,
    limits: BatchLimits,
    delivery_limit: i64,
    lease: (&str, i64),
    now_ms: i64,
) -> Result<LeasedBatch, DbErr> {
    loop {
        let Chosen { ids: chosen, over_limit, closed_by } =
            choose(db, source, limits, delivery_limit, now_ms).await?;
        for (id, Delivery { mut message, .. }) in load(db, &over_limit).await? {
            copies::mark_dead_lettered(&mut message, copies::QUEUE_REASONS[0], Uuid::now_v7());
            move_to_dead_letters(db, id, &message.headers).await?;
        }
        if chosen.is_empty() && !over_limit.is_empty() {
            continue;
        }
        let (ids, deliveries) = load(db, &chosen).await?.into_iter().unzip();
        let leased = ActiveModel {
            lease: Set(Some(lease.0.to_owned())),
            leased_until_ms: Set(Some(lease.1)),
            redelivered: Set(true),
            ..Default::default()
        };
        Entity::update_many()
            .set(leased)
            .col_expr(Column::Deliveries, Expr::col(Column::Deliveries).add(1))
            .filter(has_id_in(&chosen)?)
            .exec(db)
            .await?;
        return Ok(LeasedBatch { ids, deliveries, closed_by });
    }
}

/// Returns the first messages of the work queue, up to the limits, whether leased or not: for a file
/// with only one owner.
pub(super) async fn head(
    db: &impl ConnectionTrait,
    limits: BatchLimits,
) -> Result<Vec<(i64, Delivery)>, DbErr> {
    let chosen = choose(db, Source::Bookings, limits, i64::MAX, i64::MAX).await?;
    load(db, &chosen.ids).await
}

/// A message that may be delivered now, with the size of its body. Bodies are read only of chosen messages.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
struct Candidate {
    id: i64,
    #[sea_orm(from_expr = "Expr::expr(Func::char_length(Expr::col(Column::Body)))")]
    size: i64,
    deliveries: i64,
    redelivered: bool,
}

/// The next messages of a queue.
struct Chosen {
    /// The messages to deliver.
    ids: Vec<i64>,
    /// The messages that exceed the delivery limit.
    over_limit: Vec<i64>,
    closed_by: ClosedBy,
}

async fn choose(
    db: &impl ConnectionTrait,
    source: Source,
    limits: BatchLimits,
    delivery_limit: i64,
    now_ms: i64,
) -> Result<Chosen, DbErr> {
    let count = i64::try_from(limits.size.max(1)).unwrap_or(i64::MAX).unsigned_abs();
    let candidates = in_order(select_available(source, now_ms)).limit(count).into_partial_model();
    let (mut chosen, mut over_limit, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
    let mut closed_by = ClosedBy::Drained;
    for Candidate { id, size, deliveries, redelivered } in candidates.all(db).await? {
        // As on RabbitMQ, a limit of 3 allows 4 deliveries.
        if source == Source::Bookings && deliveries > delivery_limit {
            over_limit.push(id);
            continue;
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let fits = bytes.saturating_add(size) <= limits.bytes && !redelivered;
        if !chosen.is_empty() && !fits {
            closed_by = if redelivered { ClosedBy::Redelivery } else { ClosedBy::Bytes };
            break;
        }
        chosen.push(id);
        bytes = bytes.saturating_add(size);
        if redelivered {
            closed_by = ClosedBy::Redelivery;
            break;
        }
        if chosen.len() >= limits.size.max(1) {
            closed_by = ClosedBy::Size;
        }
    }
    Ok(Chosen { ids: chosen, over_limit, closed_by })
}

async fn load(db: &impl ConnectionTrait, ids: &[i64]) -> Result<Vec<(i64, Delivery)>, DbErr> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<DeliveredRow> =
        in_order(Entity::find().filter(has_id_in(ids)?)).into_partial_model().all(db).await?;
    rows.into_iter().map(DeliveredRow::into_delivery).collect()
}

/// A message that is being delivered.
#[derive(DerivePartialModel)]
#[sea_orm(entity = "Entity")]
struct DeliveredRow {
    id: i64,
    body: Vec<u8>,
    headers: String,
    routing_key: String,
    message_type: Option<String>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    content_type: Option<String>,
    timestamp_ms: Option<i64>,
    redelivered: bool,
}

impl DeliveredRow {
    fn into_delivery(self) -> Result<(i64, Delivery), DbErr> {
        let message = Message {
            body: self.body.into(),
            headers: serde_json::from_str(&self.headers)
                .map_err(|_| DbErr::Custom("the headers are not JSON".to_owned()))?,
            routing_key: self.routing_key,
            message_type: self.message_type,
            message_id: self.message_id,
            correlation_id: self.correlation_id,
            content_type: self.content_type,
            timestamp_ms: self.timestamp_ms,
        };
        Ok((self.id, copies::receive(message, self.redelivered)))
    }
}

/// Returns those of these messages that this lease still holds.
pub(super) async fn still_leased(
    db: &impl ConnectionTrait,
    ids: &[i64],
    lease: &str,
) -> Result<Vec<i64>, DbErr> {
    let leased = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(Column::Lease.eq(lease))
        .filter(has_id_in(ids)?);
    leased.into_tuple().all(db).await
}

pub(super) async fn delete(db: &impl ConnectionTrait, ids: &[i64]) -> Result<(), DbErr> {
    if ids.is_empty() {
        return Ok(());
    }
    Entity::delete_many().filter(has_id_in(ids)?).exec(db).await.map(|_| ())
}

/// Schedules another attempt, as a new message that arrives at `due_ms`.
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

pub(super) async fn move_to_dead_letters(
    db: &impl ConnectionTrait,
    id: i64,
    headers: &BTreeMap<String, String>,
) -> Result<(), DbErr> {
    let sql = "UPDATE messages SET queue = 'dead', headers = ?, due_ms = 0, deliveries = 0, redelivered = 0, \
               lease = NULL, leased_until_ms = NULL WHERE id = ?";
    db.execute_raw(statement(sql, [as_json(headers)?.into(), id.into()])).await.map(|_| ())
}

/// Moves messages from the work queue to the dead letters unchanged.
pub(super) async fn set_aside(db: &impl ConnectionTrait, ids: &[i64]) -> Result<(), DbErr> {
    let moved = Entity::update_many().col_expr(Column::Queue, Source::Dead.as_str().into());
    moved.filter(has_id_in(ids)?).exec(db).await.map(|_| ())
}

/// Returns the arrival time of the first message of the work queue, in ms since 1970.
pub(super) async fn oldest_ms(db: &impl ConnectionTrait) -> Result<Option<i64>, DbErr> {
    let work = Entity::find()
        .select_only()
        .column(Column::RankMs)
        .filter(Column::Queue.eq(Source::Bookings.as_str()));
    in_order(work).into_tuple().one(db).await
}

/// Ends the lease of these messages. If `counted` is false, the delivery does not count towards the delivery
/// limit.
pub(super) async fn release(
    db: &impl ConnectionTrait,
    lease: &str,
    ids: &[i64],
    counted: bool,
) -> Result<(), DbErr> {
    release_update(counted).filter(Column::Lease.eq(lease)).filter(has_id_in(ids)?).exec(db).await.map(|_| ())
}

/// Ends every lease whose name begins with `prefix`; `counted` as in [`release`].
pub(super) async fn release_all(db: &impl ConnectionTrait, prefix: &str, counted: bool) -> Result<(), DbErr> {
    let has_prefix = Expr::col(Column::Lease).binary(BinOper::Custom("GLOB"), format!("{prefix}*"));
    release_update(counted).filter(has_prefix).exec(db).await.map(|_| ())
}

fn release_update(counted: bool) -> UpdateMany<Entity> {
    let unleased = ActiveModel { lease: Set(None), leased_until_ms: Set(None), ..Default::default() };
    let deliveries = Expr::col(Column::Deliveries).sub(i64::from(!counted));
    Entity::update_many().set(unleased).col_expr(Column::Deliveries, deliveries)
}

pub(super) async fn renew(db: &impl ConnectionTrait, lease: &str, until_ms: i64) -> Result<(), DbErr> {
    let renewed = Entity::update_many().col_expr(Column::LeasedUntilMs, until_ms.into());
    renewed.filter(Column::Lease.eq(lease)).exec(db).await.map(|_| ())
}

#[derive(FromQueryResult)]
struct Counted {
    ready: i64,
    unacked: i64,
    waiting: i64,
    dead: i64,
    dead_unacked: i64,
}

/// Counts the ready and the leased messages of each queue, and the messages that wait for their next attempt.
pub(super) async fn levels(db: &impl ConnectionTrait, now_ms: i64) -> Result<Vec<Level>, DbErr> {
    let sql = "SELECT
        coalesce(sum(free AND queue = 'bookings' AND due_ms <= ?), 0) AS ready,
        coalesce(sum(NOT free AND queue = 'bookings'), 0) AS unacked,
        coalesce(sum(free AND queue = 'bookings' AND due_ms > ?), 0) AS waiting,
        coalesce(sum(free AND queue = 'dead'), 0) AS dead,
        coalesce(sum(NOT free AND queue = 'dead'), 0) AS dead_unacked
        FROM (SELECT queue, due_ms, (lease IS NULL OR leased_until_ms <= ?) AS free FROM messages)";
    let values = [now_ms.into(), now_ms.into(), now_ms.into()];
    let Some(counted) = Counted::find_by_statement(statement(sql, values)).one(db).await? else {
        return Ok(Vec::new());
    };
    let level = |name: &str, role, ready: i64, unacked: i64| {
        let (ready, unacked) = (ready.unsigned_abs(), Some(unacked.unsigned_abs()));
        Level { name: name.to_owned(), role, ready, unacked, consumers: None }
    };
    Ok(vec![
        level("bookings", QueueRole::Work, counted.ready, counted.unacked),
        level("bookings.retry", QueueRole::Retry, counted.waiting, 0),
        level("dead", QueueRole::Dead, counted.dead, counted.dead_unacked),
    ])
}
