//! Checks whether the database can be used, by doing what a decision does, in a transaction that is rolled
//! back. A server that responds to a ping may still be read-only, full, locked, or deny us access to its
//! tables.

use std::time::Duration;

use sea_orm::ColumnTrait;
use tokio::time::Instant;

use super::entity::{appointment, event, host_lock, inbox, mapping};
use super::prelude::*;
use super::{Database, GatewaySchema, HostLockMode, StoreError, load, mappings, rows, staff};
use crate::config::Mode;
use crate::event::{AppointmentId, CompanyId, EventId, HostId};
use crate::matching::HostKey;

/// An id that no row has.
const UNUSED_ID: i64 = -1;
/// The id of an event that does not exist.
const UNUSED_EVENT: &str = "-";

/// How long a conflict with another session is no fault: many sessions lock rows for a moment.
const CONFLICT_TIMEOUT: Duration = Duration::from_secs(2);
/// The time between two attempts.
const DELAY: Duration = Duration::from_millis(50);

/// Reads the tables that a decision reads, and writes to those that a decision writes to in this mode. Fails
/// if a decision would fail, and leaves no changes. Tries again for a moment if another session is in the way.
pub async fn probe(database: &Database, schema: &GatewaySchema, mode: Mode) -> Result<()> {
    let deadline = Instant::now() + CONFLICT_TIMEOUT;
    loop {
        match probe_once(database, schema, mode).await {
            Err(StoreError::Conflict(_)) if Instant::now() < deadline => tokio::time::sleep(DELAY).await,
            probed => return probed,
        }
    }
}

async fn probe_once(database: &Database, schema: &GatewaySchema, mode: Mode) -> Result<()> {
    let observes = mode == Mode::Observe;
    let key = HostKey::new(CompanyId(UNUSED_ID), HostId(UNUSED_ID));
    let tx = database.begin().await?;
    // Each probe uses its own row, so that probes do not wait for each other.
    let own = CompanyId(-i64::from(uuid::Uuid::new_v4().as_fields().0) - 2);
    let lock = host_lock::ActiveModel { company_id: Set(own), host_id: Set(key.host) };
    host_lock::Entity::insert(lock).exec_without_returning(&tx).await?;
    staff::active(&tx, schema, &[key.company].into()).await?;
    mappings::all(&tx, schema, &[key].into()).await?;
    rows::outcomes(&tx, &[&EventId::new(UNUSED_EVENT)].into()).await?;
    let purpose =
        if observes { load::Purpose::ReadOnly } else { load::Purpose::Write(HostLockMode::Exclusive) };
    load::appointments(&tx, schema, &[AppointmentId(UNUSED_ID)].into(), purpose).await?;
    if !observes {
        check_update(&tx, appointment::Column::CalcomHostId, appointment::Column::Id.eq(UNUSED_ID)).await?;
        check_update(&tx, mapping::Column::MappingSource, mapping::Column::Id.eq(UNUSED_ID)).await?;
    }
    check_update(&tx, event::Column::Outcome, event::Column::EventId.eq(UNUSED_EVENT)).await?;
    check_update(&tx, inbox::Column::State, inbox::Column::CompanyId.eq(UNUSED_ID)).await?;
    tx.rollback().await?;
    Ok(())
}

/// Runs an UPDATE of this column on a row that does not exist: the server checks the privilege without changing
/// anything. `row` needs an index: without one, MariaDB locks every row on its way.
async fn check_update<C: ColumnTrait>(tx: &impl ConnectionTrait, column: C, row: Expr) -> Result<()> {
    let mut update = Query::update();
    update.table(C::EntityName::default()).value(column, Expr::col(column)).and_where(row);
    tx.execute(&update).await?;
    Ok(())
}
