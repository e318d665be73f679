//! Runs the statements of the floors, as few and as short as possible.

use std::fmt::Write as _;

use hostmatch::runtime::clock::now_ms;
use hostmatch::store::{Database, StoreError};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value};

use crate::Result;

/// The decision on one event.
pub(crate) struct Decision<'a> {
    pub(crate) event: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) appointment: u64,
    pub(crate) company: u64,
    /// Id, name and address.
    pub(crate) host: Option<(u64, &'a str, &'a str)>,
    pub(crate) staff: Option<u64>,
    /// Whether the host has no mapping yet.
    pub(crate) is_new: bool,
    pub(crate) body: &'a [u8],
}

/// Runs one UPDATE that joins the list of values. Nothing faster was found on any engine.
///
/// # Errors
/// Fails if the database refuses it.
pub(crate) async fn update(db: &impl ConnectionTrait, decisions: &[Decision<'_>]) -> Result<()> {
    let mut values = String::new();
    for (one, host) in decisions.iter().filter_map(|one| Some((one, one.host?))) {
        let Some(staff) = one.staff else { continue };
        let comma = if values.is_empty() { "" } else { "," };
        write!(values, "{comma}({},{staff},{})", one.appointment, host.0)?;
    }
    if values.is_empty() {
        return Ok(());
    }
    let set = "SET staff_id = v.staff, calcom_host_id = v.host, updated_at = CURRENT_TIMESTAMP";
    let list = format!("WITH v(id, staff, host) AS (VALUES {values})");
    let statement = match db.get_database_backend() {
        DbBackend::MySql => format!(
            "UPDATE appointments a JOIN ({list} SELECT * FROM v) v ON a.id = v.id {}",
            set.replace("SET ", "SET a.").replace(", ", ", a.")
        ),
        _ => format!("{list} UPDATE appointments {set} FROM v WHERE appointments.id = v.id"),
    };
    db.execute_unprepared(&statement).await?;
    Ok(())
}

/// Writes the worker's rows in one transaction.
///
/// # Errors
/// Fails if the database refuses them.
pub(crate) async fn write(database: &Database, decisions: &[Decision<'_>]) -> Result<()> {
    let work = async |tx: &DatabaseTransaction| {
        let written = async {
            insert_mappings(tx, decisions).await?;
            insert_assignments(tx, decisions).await?;
            insert_events(tx, decisions).await?;
            update(tx, decisions).await
        };
        written.await.map_err(|error| StoreError::Schema(error.to_string()))
    };
    Ok(database.transact(work).await?)
}

async fn insert_mappings(tx: &impl ConnectionTrait, decisions: &[Decision<'_>]) -> Result<()> {
    let columns = "calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, \
                   mapping_source, confidence_score, metadata)";
    let new = || decisions.iter().filter(|one| one.is_new).filter_map(|one| Some((one, one.host?)));
    let rows: Vec<[Value; 8]> = new()
        .map(|(one, (host, name, email))| {
            let metadata = serde_json::json!({ "strategy": "email", "event_id": one.event });
            let (company, staff) = (one.company.into(), one.staff.into());
            let score = 95_i16.into();
            [
                company,
                staff,
                host.into(),
                name.into(),
                email.into(),
                "auto_email".into(),
                score,
                metadata.into(),
            ]
        })
        .collect();
    insert(tx, columns, rows).await?;
    let columns = "calcom_host_mapping_audits (company_id, calcom_host_id, staff_id, action, new_values, actor, \
                   reason, change_key)";
    let rows: Vec<[Value; 8]> = new()
        .map(|(one, (host, ..))| {
            let values =
                serde_json::json!({ "staff_id": one.staff, "is_active": true, "confidence_score": 95 });
            let key = uuid::Uuid::new_v4().to_string().into();
            let (company, staff) = (one.company.into(), one.staff.into());
            [
                company,
                host.into(),
                staff,
                "auto_matched".into(),
                values.into(),
                "floor".into(),
                "e-mail".into(),
                key,
            ]
        })
        .collect();
    insert(tx, columns, rows).await
}

async fn insert_assignments(tx: &impl ConnectionTrait, decisions: &[Decision<'_>]) -> Result<()> {
    let columns = "hostmatch_assignments (appointment_id, company_id, staff_id, strategy, confidence, evidence, \
                   event_id, event_time_ms, event_stamped, host_id, host_email, host_source, outcome, booking_ref, \
                   starts_ms, decided_ms, payload)";
    let now = now_ms();
    let rows: Vec<[Value; 17]> = decisions
        .iter()
        .filter_map(|one| Some((one, one.host?)))
        .map(|(one, (host, _, email))| {
            let found = one.staff.map(|_| "email");
            let evidence = one.staff.map(|_| format!(r#"{{"email":"{email}"}}"#));
            let outcome = if one.staff.is_some() { "assigned" } else { "unmatched" };
            [
                one.appointment.into(),
                one.company.into(),
                one.staff.into(),
                found.into(),
                one.staff.map(|_| 95_i16).into(),
                evidence.into(),
                one.event.into(),
                1_772_323_200_000_i64.into(),
                true.into(),
                host.into(),
                email.into(),
                "hosts".into(),
                outcome.into(),
                one.uid.into(),
                1_775_000_000_000_i64.into(),
                now.into(),
                String::from_utf8_lossy(one.body).into_owned().into(),
            ]
        })
        .collect();
    insert(tx, columns, rows).await
}

async fn insert_events(tx: &impl ConnectionTrait, decisions: &[Decision<'_>]) -> Result<()> {
    let columns = "hostmatch_events (event_id, event_type, shape, booking_ref, company_id, appointment_id, outcome, \
                   received_ms, decided_ms)";
    let now = now_ms();
    let rows: Vec<[Value; 9]> = decisions
        .iter()
        .map(|one| {
            let outcome = if one.staff.is_some() { "assigned" } else { "unmatched" };
            let (company, appointment) = (one.company.into(), one.appointment.into());
            let (kind, shape) = ("appointment.created".into(), "native".into());
            [
                one.event.into(),
                kind,
                shape,
                one.uid.into(),
                company,
                appointment,
                outcome.into(),
                now.into(),
                now.into(),
            ]
        })
        .collect();
    insert(tx, columns, rows).await
}

async fn insert<const N: usize>(tx: &impl ConnectionTrait, into: &str, rows: Vec<[Value; N]>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let backend = tx.get_database_backend();
    let mut sql = format!("INSERT INTO {into} VALUES ");
    for row in 0..rows.len() {
        sql.push_str(if row == 0 { "(" } else { "),(" });
        for column in 0..N {
            let comma = if column == 0 { "" } else { "," };
            match backend {
                DbBackend::Postgres => write!(sql, "{comma}${}", row * N + column + 1)?,
                _ => write!(sql, "{comma}?")?,
            }
        }
    }
    sql.push(')');
    let values = rows.into_iter().flatten().map(as_signed);
    tx.execute_raw(Statement::from_sql_and_values(backend, sql, values)).await?;
    Ok(())
}

/// PostgreSQL has no unsigned numbers.
fn as_signed(value: Value) -> Value {
    match value {
        Value::BigUnsigned(number) => Value::BigInt(number.and_then(|number| i64::try_from(number).ok())),
        other => other,
    }
}
