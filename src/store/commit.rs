//! Writes a change set with set-based statements, rows in key order, in the transaction that read them.
//! Writing the same set twice results in the same rows.

use std::collections::BTreeMap;

use migration::by_engine;
use migration::gateway::KeyKind;
use sea_orm::sea_query::{InsertStatement, OnConflict, UpdateStatement, Value};
use sea_orm::{DbErr, Statement};
use serde_json::json;

use super::entity::appointment::{Column, Entity};
use super::entity::{assignment, event, inbox, mapping, mapping_audit};
use super::mappings::{InsertedMapping, read_inserted};
use super::prelude::*;
use super::statement::{OnExisting, chunk_rows, insert, split_by_size, upsert};
use super::{GatewaySchema, bind_staff, references, rows, taken_ids};
use crate::event::BookingRef;
use crate::matching::{
    Actor, AppointmentWrite, Assignment, Audit, ChangeSet, EventReading, EventRow, HostKey, InboxRow,
    MappingChange, MappingRef, MappingWrite, Observed, Review,
};

/// The mappings that this batch tried to insert, as read afterwards.
pub(super) type InsertedMappings = BTreeMap<HostKey, InsertedMapping>;

/// Writes the whole change set. After an error the caller must roll back.
pub async fn commit(tx: &impl ConnectionTrait, schema: &GatewaySchema, changes: &ChangeSet) -> Result<()> {
    let inserted = mappings(tx, schema, &changes.mappings).await?;
    let payload_bytes = |row: &Assignment| row.payload.as_ref().map_or(0, String::len);
    for rows in chunk_rows(&changes.assignments).flat_map(|rows| split_by_size(rows, &payload_bytes)) {
        tx.execute_raw(assignments(schema, rows, &inserted)?).await?;
    }
    for rows in chunk_rows(&changes.references) {
        tx.execute(&references::record(rows)).await?;
    }
    for rows in chunk_rows(&changes.inbox) {
        tx.execute(&inbox(rows)).await?;
    }
    for rows in chunk_rows(&changes.events) {
        tx.execute_raw(events(schema.backend, rows)).await?;
    }
    // The appointments come last, because updating them also locks the staff that they reference, and the
    // rows that the gateway's triggers write.
    if !changes.appointments.is_empty() {
        tx.execute_raw(update_appointments(schema, &changes.appointments)?).await?;
    }
    Ok(())
}

async fn mappings(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    changes: &[MappingChange],
) -> Result<InsertedMappings> {
    use mapping::Column;
    if changes.is_empty() {
        return Ok(InsertedMappings::new());
    }
    for change in changes {
        let MappingRef::Row(row) = change.audit.mapping else { continue };
        match &change.write {
            MappingWrite::Supersede => {
                tx.execute(&update_mapping(schema, row, [(Column::IsActive, false.into())])).await?;
            }
            MappingWrite::Reactivate { source, confidence } => {
                let values = [
                    (Column::CompanyId, Value::from(change.audit.key.company)),
                    (Column::IsActive, true.into()),
                    (Column::MappingSource, source.as_str().into()),
                    (Column::ConfidenceScore, (*confidence).into()),
                ];
                tx.execute(&update_mapping(schema, row, values)).await?;
            }
            MappingWrite::Insert { .. } => {}
        }
    }
    let is_insert = |change: &&MappingChange| matches!(change.write, MappingWrite::Insert { .. });
    let inserts: Vec<&MappingChange> = changes.iter().filter(is_insert).collect();
    for inserts in chunk_rows(&inserts) {
        insert_mappings(tx, schema, inserts).await?;
    }
    let inserted = read_inserted(tx, schema, changes).await?;
    // A mapping that another session has inserted in the meantime stays, and that session audits it.
    let is_real = |change: &&MappingChange| {
        !is_insert(change) || inserted.get(&change.audit.key).is_some_and(|inserted| inserted.is_ours)
    };
    let audits: Vec<&Audit> = changes.iter().filter(is_real).map(|change| &change.audit).collect();
    for audits in chunk_rows(&audits) {
        insert_audits(tx, schema, audits, &inserted, &Actor::WORKER).await?;
    }
    Ok(inserted)
}

fn update_mapping<const N: usize>(
    schema: &GatewaySchema,
    row: i64,
    values: [(mapping::Column, Value); N],
) -> UpdateStatement {
    use mapping::Column;
    let mut update = Query::update();
    update.table(mapping::Entity).values(values.map(|(column, value)| (column, value.into())));
    update.value(Column::UpdatedAt, Expr::cust(schema.mapping_clocks.updated_at.clone()));
    update.and_where(Expr::col(Column::Id).eq(row));
    update
}

async fn insert_mappings(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    changes: &[&MappingChange],
) -> Result<()> {
    let synced = Expr::cust(schema.mapping_clocks.last_synced_at.clone());
    let mut insert = mapping_rows(schema, changes, synced)?;
    // If two workers insert a mapping for the same new host, a unique constraint keeps one of them.
    insert.on_conflict(OnConflict::new().do_nothing_on([mapping::Column::Id]).to_owned());
    let inserted = tx.execute(&insert).await?;
    taken_ids::check_mappings_exist(tx, schema.backend, changes, inserted.rows_affected()).await
}

/// Builds the rows of those changes that insert a mapping. `synced`: when the host was last compared with
/// Cal.com.
pub(super) fn mapping_rows(
    schema: &GatewaySchema,
    changes: &[&MappingChange],
    synced: Expr,
) -> Result<InsertStatement, DbErr> {
    use mapping::Column;
    let clocks = &schema.mapping_clocks;
    let row = |change: &&MappingChange| {
        let MappingWrite::Insert { host, source, confidence, metadata } = &change.write else { return None };
        let Audit { key, staff, .. } = &change.audit;
        let staff = match staff.of_kind(schema.staff_key) {
            Ok(staff) => staff,
            Err(misfit) => return Some(Err(misfit)),
        };
        Some(Ok([
            (Column::CompanyId, key.company.into()),
            (Column::StaffId, staff.into()),
            (Column::CalcomHostId, key.host.into()),
            (Column::CalcomName, host.name.as_deref().unwrap_or_default().into()),
            (Column::CalcomEmail, host.email.as_deref().unwrap_or_default().into()),
            (Column::CalcomUsername, host.username.clone().into()),
            (Column::CalcomTimezone, host.time_zone.clone().into()),
            (Column::MappingSource, source.as_str().into()),
            (Column::ConfidenceScore, (*confidence).into()),
            (Column::IsActive, true.into()),
            (Column::Metadata, metadata.clone().into()),
            (Column::LastSyncedAt, synced.clone()),
            (Column::CreatedAt, Expr::cust(clocks.created_at.clone())),
            (Column::UpdatedAt, Expr::cust(clocks.updated_at.clone())),
        ]))
    };
    Ok(insert::<mapping::Entity, 14>(changes.iter().filter_map(row).collect::<Result<Vec<_>, DbErr>>()?))
}

pub(super) fn row_of(mapping: MappingRef, inserted: &InsertedMappings) -> Option<i64> {
    match mapping {
        MappingRef::Row(row) => Some(row),
        MappingRef::New(key) => inserted.get(&key).map(|inserted| inserted.row),
    }
}

pub(super) async fn insert_audits(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    audits: &[&Audit],
    inserted: &InsertedMappings,
    actor: &Actor,
) -> Result<()> {
    use mapping_audit::Column;
    let row = |audit: &&Audit| {
        Ok([
            (Column::MappingId, row_of(audit.mapping, inserted).into()),
            (Column::CompanyId, audit.key.company.into()),
            (Column::CalcomHostId, audit.key.host.into()),
            (Column::StaffId, audit.staff.of_kind(schema.staff_key)?.into()),
            (Column::Action, audit.action.as_str().into()),
            (Column::OldValues, audit.old_values.clone().into()),
            (Column::NewValues, audit.new_values.clone().into()),
            (Column::Actor, actor.as_str().into()),
            (Column::ChangedAt, Expr::cust(schema.mapping_clocks.changed_at.clone())),
            (Column::Reason, audit.reason.as_deref().into()),
            (Column::ChangeKey, audit.change_key.to_string().into()),
        ])
    };
    let rows = audits.iter().map(row).collect::<Result<Vec<_>, DbErr>>()?;
    let mut insert = insert::<mapping_audit::Entity, 11>(rows);
    insert.on_conflict(OnConflict::new().do_nothing_on([Column::Id]).to_owned());
    let inserted = tx.execute(&insert).await?;
    taken_ids::check_audits_exist(tx, schema.backend, audits, inserted.rows_affected()).await
}

fn assignments(
    schema: &GatewaySchema,
    rows: &[Assignment],
    inserted: &InsertedMappings,
) -> Result<Statement> {
    use OnExisting::{Fill, Keep, Update};
    use assignment::Column;
    // In observe mode, keep what other workers have written in the meantime.
    let observes = rows.iter().all(|row| row.observed.is_some());
    let key = schema.staff_key;
    let values = |row: &Assignment| {
        let newest = row.newest.as_ref();
        let evidence = row.evidence.as_ref().and_then(|evidence| serde_json::to_string(evidence).ok());
        Ok([
            (Column::AppointmentId, row.appointment.into(), Keep),
            (Column::CompanyId, row.company.into(), Update),
            (Column::StaffId, bind_staff(row.staff.as_ref(), key)?, if observes { Keep } else { Update }),
            (Column::FoundStaffId, bind_staff(row.found.as_ref(), key)?, Update),
            (Column::Observed, row.observed.map(Observed::as_str).into(), Update),
            (Column::MappingId, row.mapping.and_then(|mapping| row_of(mapping, inserted)).into(), Update),
            (Column::Strategy, row.strategy.as_deref().into(), Update),
            (Column::Confidence, row.confidence.into(), Update),
            (Column::Evidence, evidence.into(), Update),
            (Column::EventId, newest.map(|newest| newest.event.as_str()).into(), Update),
            (Column::EventTimeMs, newest.map(|newest| newest.time.ms).into(), Update),
            (Column::EventStamped, newest.is_some_and(|newest| newest.time.is_inferred).into(), Update),
            (Column::HostId, newest.and_then(|newest| newest.host_id).into(), Update),
            (Column::HostEmail, newest.and_then(|newest| newest.host_email.as_deref()).into(), Update),
            (Column::HostSource, newest.map(|newest| newest.source.as_str()).into(), Update),
            (Column::Outcome, row.outcome.as_str().into(), Update),
            (Column::Reason, row.review.map(Review::as_str).into(), Update),
            (Column::BookingRef, row.booking.as_ref().map(BookingRef::as_str).into(), Update),
            (Column::StartsMs, row.starts_ms.into(), Update),
            (Column::DecidedMs, row.decided_ms.into(), Update),
            // An appointment that is decided again was read without its payload, so the stored one stays.
            (Column::Payload, row.payload.as_deref().into(), Fill),
        ])
    };
    let values = rows.iter().map(values).collect::<Result<Vec<_>, DbErr>>()?;
    Ok(upsert::<assignment::Entity, 21>(schema.backend, Column::AppointmentId, values))
}

fn inbox(rows: &[InboxRow]) -> InsertStatement {
    use inbox::Column;
    // `ignored_until_ms` is left out: only people set it.
    let row = |row: &InboxRow| {
        let suggestions = serde_json::to_string(&row.suggestions).unwrap_or_else(|_| "[]".to_owned());
        [
            (Column::CompanyId, row.key.company.into()),
            (Column::HostId, row.key.host.into()),
            (Column::Name, row.host.name.clone().into()),
            (Column::Email, row.host.email.clone().into()),
            (Column::Username, row.host.username.clone().into()),
            (Column::TimeZone, row.host.time_zone.clone().into()),
            (Column::EventId, row.event.as_str().into()),
            (Column::EventTimeMs, row.time.ms.into()),
            (Column::EventStamped, row.time.is_inferred.into()),
            (Column::FirstSeenMs, row.first_seen_ms.into()),
            (Column::LastSeenMs, row.last_seen_ms.into()),
            (Column::Kind, rows::kind(row.review).into()),
            (Column::Suggestions, suggestions.into()),
            (Column::State, row.state.as_str().into()),
            (Column::StateChangedMs, row.state_changed_ms.into()),
        ]
    };
    let values: Vec<[(Column, Expr); 15]> = rows.iter().map(row).collect();
    let updated: Vec<Column> = values.iter().take(1).flatten().skip(2).map(|(column, _)| *column).collect();
    let mut insert = insert::<inbox::Entity, 15>(values);
    let mut conflict = OnConflict::columns([Column::CompanyId, Column::HostId]);
    insert.on_conflict(conflict.update_columns(updated).to_owned());
    insert
}

fn events(backend: DbBackend, rows: &[EventRow]) -> Statement {
    use OnExisting::{Keep, Update};
    use event::Column;
    let values = |row: &EventRow| {
        [
            (Column::EventId, row.id.as_str().into(), Keep),
            (Column::EventType, truncate(&row.event_type).into(), Keep),
            (Column::Shape, row.shape.into(), Keep),
            (Column::Publisher, row.publisher.as_deref().map(truncate).into(), Keep),
            (Column::BookingRef, row.booking.as_ref().map(BookingRef::as_str).into(), Update),
            (Column::CompanyId, row.company.into(), Update),
            (Column::AppointmentId, row.appointment.into(), Update),
            (Column::Outcome, row.outcome.as_str().into(), Update),
            (Column::Reason, row.reason.as_deref().into(), Update),
            (Column::Reading, row.reading.as_ref().map(EventReading::to_json).into(), Update),
            // The time at which the event was first received stays.
            (Column::ReceivedMs, row.received_ms.into(), Keep),
            (Column::DecidedMs, row.decided_ms.into(), Update),
        ]
    };
    upsert::<event::Entity, 12>(backend, Column::EventId, rows.iter().map(values).collect())
}

/// Cuts a name to the length of its column.
fn truncate(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}

/// Builds one UPDATE for many appointments, joined with a list of their new values. The list is bound as one
/// JSON string, so one statement serves any number of rows, and each row is found by its key. `updated_at`
/// comes from the database's clock, as in the gateway's own code.
pub(super) fn update_appointments(schema: &GatewaySchema, writes: &[AppointmentWrite]) -> Result<Statement> {
    let rows: Vec<serde_json::Value> = writes
        .iter()
        .map(|write| {
            let staff = write.staff.as_ref().map(|staff| staff.of_kind(schema.staff_key)).transpose()?;
            let host = write.host_id.and_then(|id| i32::try_from(id).ok());
            Ok(json!([write.id.0, staff, host]))
        })
        .collect::<Result<_, DbErr>>()?;
    let names = [("BIGINT", "VARCHAR(255)"), ("bigint", "text"), ("INTEGER", "TEXT")];
    let (integer, text) = by_engine(schema.backend, names);
    let staff = match schema.staff_key {
        KeyKind::Integer => integer,
        KeyKind::Text => text,
        KeyKind::Uuid => "uuid",
    };
    let table = Entity.table_name();
    let [id, staff_id, host_id, updated_at] =
        [Column::Id, Column::StaffId, Column::CalcomHostId, Column::UpdatedAt].map(|column| column.as_str());
    let clock = |prefix: &str| {
        let clock = schema.updated_at.as_ref();
        clock.map(|clock| format!(", {prefix}{updated_at} = {clock}")).unwrap_or_default()
    };
    let sql = match schema.backend {
        // STRAIGHT_JOIN reads the list first, in key order.
        DbBackend::MySql => format!(
            "UPDATE JSON_TABLE(?, '$[*]' COLUMNS (id {integer} PATH '$[0]', staff {staff} PATH '$[1]', host INT \
             PATH '$[2]')) v STRAIGHT_JOIN {table} a ON a.{id} = v.id \
             SET a.{staff_id} = v.staff, a.{host_id} = v.host{}",
            clock("a.")
        ),
        DbBackend::Postgres => format!(
            "UPDATE {table} SET {staff_id} = v.staff, {host_id} = v.host{} \
             FROM (SELECT (one->>0)::bigint AS id, (one->>1)::{staff} AS staff, (one->>2)::int AS host \
             FROM json_array_elements($1::text::json) AS list(one)) AS v WHERE {table}.{id} = v.id",
            clock("")
        ),
        _ => format!(
            "UPDATE {table} SET {staff_id} = v.staff, {host_id} = v.host{} \
             FROM (SELECT value->>0 AS id, value->>1 AS staff, value->>2 AS host FROM json_each(?)) AS v \
             WHERE {table}.{id} = v.id",
            clock("")
        ),
    };
    let list = serde_json::Value::Array(rows).to_string();
    Ok(Statement::from_sql_and_values(schema.backend, sql, [list.into()]))
}
