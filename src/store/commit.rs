//! Writes a change set: set-based statements, rows in key order, in the transaction that read.
//! Writing the same set twice leaves the same rows.

use migration::names;
use std::collections::BTreeMap;

use sea_orm::sea_query::{Expr, ExprTrait as _, OnConflict, Query, UpdateStatement, Value};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::mappings::{Made, made};
use super::statement::pieces;
use super::upsert::Upsert;
use super::{GatewaySchema, StoreError, appointments, bind_staff, null_staff, rows, taken_ids};
use crate::event::{BookingRef, StaffId};
use crate::matching::{
    Actor, Assignment, Audit, ChangeSet, EventRow, HostKey, InboxRow, MappingChange, MappingRef, Observed,
    Review,
};

/// The rows of mappings that were to be made by this batch.
type Rows = BTreeMap<HostKey, Made>;

/// Writes everything.
///
/// # Errors
/// [`StoreError`]; then the transaction is to be rolled back.
pub async fn commit(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    changes: &ChangeSet,
) -> Result<(), StoreError> {
    let made = mappings(tx, schema, &changes.mappings).await?;
    for rows in pieces(&changes.assignments) {
        tx.execute_raw(assignments(schema, rows, &made)?).await?;
    }
    for rows in pieces(&changes.inbox) {
        tx.execute(&inbox(rows)?).await?;
    }
    for rows in pieces(&changes.events) {
        tx.execute_raw(events(schema.backend, rows)).await?;
    }
    // Last: the staff that they refer to, and whatever the gateway's triggers write, is locked by this.
    if !changes.appointments.is_empty() {
        tx.execute_raw(appointments::update(schema, &changes.appointments)?).await?;
    }
    Ok(())
}

async fn mappings(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    changes: &[MappingChange],
) -> Result<Rows, StoreError> {
    if changes.is_empty() {
        return Ok(Rows::new());
    }
    for change in changes {
        match change {
            MappingChange::Supersede { row, .. } => {
                tx.execute(&mapping(schema, *row, [("is_active", false.into())])).await?;
            }
            MappingChange::Reactivate { row, key, source, confidence, .. } => {
                let values = [
                    ("company_id", Value::from(key.company)),
                    ("is_active", true.into()),
                    ("mapping_source", source.as_str().into()),
                    ("confidence_score", i16::from(confidence.0).into()),
                ];
                tx.execute(&mapping(schema, *row, values)).await?;
            }
            MappingChange::Insert { .. } => {}
        }
    }
    let inserts: Vec<&MappingChange> =
        changes.iter().filter(|change| matches!(change, MappingChange::Insert { .. })).collect();
    for inserts in pieces(&inserts) {
        insert_mappings(tx, schema, inserts).await?;
    }
    let made = made(tx, schema, changes).await?;
    // What somebody else made in the meantime is theirs to tell, and to keep.
    let is_real = |change: &&MappingChange| match change {
        MappingChange::Insert { key, .. } => made.get(key).is_some_and(|made| made.is_ours),
        MappingChange::Supersede { .. } | MappingChange::Reactivate { .. } => true,
    };
    let audits: Vec<&Audit> = changes.iter().filter(is_real).map(MappingChange::audit).collect();
    for audits in pieces(&audits) {
        insert_audits(tx, schema, audits, &made).await?;
    }
    Ok(made)
}

fn mapping<const N: usize>(
    schema: &GatewaySchema,
    row: i64,
    values: [(&'static str, Value); N],
) -> UpdateStatement {
    let mut update = Query::update();
    update.table(names::MAPPINGS).values(values.map(|(column, value)| (column, value.into())));
    update.value("updated_at", Expr::cust(schema.mapping_clocks.updated_at.clone()));
    update.and_where(Expr::col("id").eq(row));
    update
}

async fn insert_mappings(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    changes: &[&MappingChange],
) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert.into_table(names::MAPPINGS).columns([
        "company_id",
        "staff_id",
        "calcom_host_id",
        "calcom_name",
        "calcom_email",
        "calcom_username",
        "calcom_timezone",
        "mapping_source",
        "confidence_score",
        "is_active",
        "metadata",
        "last_synced_at",
        "created_at",
        "updated_at",
    ]);
    // Two workers that met the same new host leave one mapping: the database's constraints decide.
    insert.on_conflict(OnConflict::new().do_nothing_on(["id"]).to_owned());
    let clocks = &schema.mapping_clocks;
    for change in changes {
        let MappingChange::Insert { key, staff, host, source, confidence, metadata, .. } = change else {
            continue;
        };
        insert.values_panic([
            key.company.0.into(),
            bind_staff(staff, schema.staff_key)?.into(),
            key.host.0.into(),
            host.name.as_deref().unwrap_or_default().into(),
            host.email.as_deref().unwrap_or_default().into(),
            host.username.clone().into(),
            host.time_zone.clone().into(),
            source.as_str().into(),
            i16::from(confidence.0).into(),
            true.into(),
            metadata.clone().into(),
            Expr::cust(clocks.last_synced_at.clone()),
            Expr::cust(clocks.created_at.clone()),
            Expr::cust(clocks.updated_at.clone()),
        ]);
    }
    let made = tx.execute(&insert).await?;
    taken_ids::are_mappings_there(tx, schema.backend, changes, made.rows_affected()).await
}

fn row_of(mapping: MappingRef, made: &Rows) -> Option<i64> {
    match mapping {
        MappingRef::Row(row) => Some(row),
        MappingRef::New(key) => made.get(&key).map(|made| made.row),
    }
}

async fn insert_audits(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    audits: &[&Audit],
    made: &Rows,
) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert.into_table(names::AUDITS).columns([
        "mapping_id",
        "company_id",
        "calcom_host_id",
        "staff_id",
        "action",
        "old_values",
        "new_values",
        "actor",
        "changed_at",
        "reason",
        "change_key",
    ]);
    for audit in audits {
        insert.values_panic([
            row_of(audit.mapping, made).into(),
            audit.key.company.0.into(),
            audit.key.host.0.into(),
            bind_staff(&audit.staff, schema.staff_key)?.into(),
            audit.action.as_str().into(),
            audit.old_values.clone().into(),
            audit.new_values.clone().into(),
            Actor::WORKER.as_str().into(),
            Expr::cust(schema.mapping_clocks.changed_at.clone()),
            audit.reason.as_str().into(),
            audit.change_key.to_string().into(),
        ]);
    }
    insert.on_conflict(OnConflict::new().do_nothing_on(["id"]).to_owned());
    let made = tx.execute(&insert).await?;
    taken_ids::are_audits_there(tx, schema.backend, audits, made.rows_affected()).await
}

fn staff_value(staff: Option<&StaffId>, schema: &GatewaySchema) -> Result<Value, DbErr> {
    staff.map_or_else(|| Ok(null_staff(schema.staff_key)), |staff| bind_staff(staff, schema.staff_key))
}

const ASSIGNMENTS: Upsert<21> =
    Upsert { table: names::ASSIGNMENTS, key: "appointment_id", columns: rows::ASSIGNMENT };

fn assignments(schema: &GatewaySchema, rows: &[Assignment], made: &Rows) -> Result<Statement, StoreError> {
    // Who only observes leaves to others what is theirs, whatever they have written meanwhile.
    let observes = rows.iter().all(|row| row.observed.is_some());
    let updated = ASSIGNMENTS.columns[1..20].iter().copied();
    let updated = updated.filter(|column| !observes || *column != "staff_id");
    let values = |row: &Assignment| {
        let newest = row.newest.as_ref();
        Ok([
            row.appointment.0.into(),
            row.company.0.into(),
            staff_value(row.staff.as_ref(), schema)?,
            staff_value(row.found.as_ref(), schema)?,
            row.observed.map(Observed::as_str).into(),
            row.mapping.and_then(|mapping| row_of(mapping, made)).into(),
            row.strategy.as_deref().into(),
            row.confidence.map(|score| i16::from(score.0)).into(),
            row.evidence.as_ref().and_then(|evidence| serde_json::to_string(evidence).ok()).into(),
            newest.map(|newest| newest.event.as_str()).into(),
            newest.map(|newest| newest.time.ms).into(),
            newest.is_some_and(|newest| newest.time.stamped).into(),
            newest.and_then(|newest| newest.host_id).into(),
            newest.and_then(|newest| newest.host_email.as_deref()).into(),
            newest.map(|newest| newest.source.as_str()).into(),
            row.outcome.as_str().into(),
            row.review.map(Review::as_str).into(),
            row.booking.as_ref().map(BookingRef::as_str).into(),
            row.starts_ms.into(),
            row.decided_ms.into(),
            row.payload.as_deref().into(),
        ])
    };
    let values = rows.iter().map(values).collect::<Result<Vec<_>, DbErr>>()?;
    // An appointment that is decided again was read without its payload: that stays.
    Ok(ASSIGNMENTS.statement(schema.backend, values, updated, Some("payload")))
}

fn inbox(inbox: &[InboxRow]) -> Result<sea_orm::sea_query::InsertStatement, StoreError> {
    // Until when it is ignored is for people to say.
    let columns = || rows::INBOX.into_iter().filter(|column| *column != "ignored_until_ms");
    let mut insert = Query::insert();
    insert.into_table(names::INBOX).columns(columns());
    for row in inbox {
        let suggestions = serde_json::to_string(&row.suggestions).unwrap_or_else(|_| "[]".to_owned());
        insert.values_panic([
            row.key.company.0.into(),
            row.key.host.0.into(),
            row.host.name.clone().into(),
            row.host.email.clone().into(),
            row.host.username.clone().into(),
            row.host.time_zone.clone().into(),
            row.event.as_str().into(),
            row.time.ms.into(),
            row.time.stamped.into(),
            row.first_seen_ms.into(),
            row.last_seen_ms.into(),
            rows::kind(row.review).into(),
            suggestions.into(),
            row.state.as_str().into(),
            row.state_changed_ms.into(),
        ]);
    }
    let mut conflict = OnConflict::columns(["company_id", "host_id"]);
    insert.on_conflict(conflict.update_columns(columns().skip(2)).to_owned());
    Ok(insert)
}

const EVENTS: Upsert<11> = Upsert {
    table: names::EVENTS,
    key: "event_id",
    columns: [
        "event_id",
        "event_type",
        "shape",
        "publisher",
        "booking_ref",
        "company_id",
        "appointment_id",
        "outcome",
        "reason",
        "received_ms",
        "decided_ms",
    ],
};

fn events(backend: DbBackend, rows: &[EventRow]) -> Statement {
    let values = |row: &EventRow| {
        [
            row.id.as_str().into(),
            short(&row.event_type).into(),
            row.shape.into(),
            row.publisher.as_deref().map(short).into(),
            row.booking.as_ref().map(BookingRef::as_str).into(),
            row.company.map(|id| id.0).into(),
            row.appointment.map(|id| id.0).into(),
            row.outcome.as_str().into(),
            row.reason.into(),
            row.received_ms.into(),
            row.decided_ms.into(),
        ]
    };
    // `received_ms` stays that of the first time.
    let updated = ["booking_ref", "company_id", "appointment_id", "outcome", "reason", "decided_ms"];
    EVENTS.statement(backend, rows.iter().map(values).collect(), updated.into_iter(), None)
}

/// As much of a name as its column holds.
fn short(name: &str) -> &str {
    name.char_indices().nth(64).map_or(name, |(end, _)| &name[..end])
}
