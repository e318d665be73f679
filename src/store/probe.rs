//! Checks whether the database can be used, by doing what a decision does, in a transaction that is rolled
//! back. A server that responds to a ping may still be read-only, full, locked, or deny us access to its
//! tables.

use sea_orm::ColumnTrait;

use super::entity::{appointment, event, host_lock, inbox, mapping};
use super::prelude::*;
use super::{Database, GatewaySchema, HostLockMode, load, mappings, rows, staff};
use crate::config::Mode;
use crate::event::{AppointmentId, CompanyId, EventId, HostId};
use crate::matching::HostKey;

/// An id that no row has.
const UNUSED_ID: i64 = -1;

/// Reads the tables that a decision reads, and writes to those that a decision writes to in this mode. Fails
/// if a decision would fail, and leaves no changes.
pub async fn probe(database: &Database, schema: &GatewaySchema, mode: Mode) -> Result<()> {
    let observes = mode == Mode::Observe;
    let key = HostKey::new(CompanyId(UNUSED_ID), HostId(UNUSED_ID));
    let tx = database.begin().await?;
    // Each probe uses its own row, so that probes do not wait for each other.
    let own = CompanyId(-i64::from(uuid::Uuid::new_v4().as_fields().0) - 2);
    let lock = host_lock::ActiveModel { company_id: Set(own), host_id: Set(key.host) };
    host_lock::Entity::insert(lock).exec_without_returning(&tx).await?;
    staff::active(&tx, schema, &[key.company].into()).await?;
    mappings::all(&tx, schema, &[key].into()).await?;
    rows::outcomes(&tx, &[&EventId::new("-")].into()).await?;
    let purpose =
        if observes { load::Purpose::ReadOnly } else { load::Purpose::Write(HostLockMode::Exclusive) };
    load::appointments(&tx, schema, &[AppointmentId(UNUSED_ID)].into(), purpose).await?;
    if !observes {
        check_update(&tx, appointment::Column::CalcomHostId, appointment::Column::Id).await?;
        check_update(&tx, mapping::Column::MappingSource, mapping::Column::Id).await?;
    }
    check_update(&tx, event::Column::Outcome, event::Column::ReceivedMs).await?;
    check_update(&tx, inbox::Column::State, inbox::Column::CompanyId).await?;
    tx.rollback().await?;
    Ok(())
}

/// Runs an UPDATE of this column that matches no row: the server checks the privilege without changing
/// anything.
async fn check_update<C: ColumnTrait>(tx: &impl ConnectionTrait, column: C, key: C) -> Result<()> {
    let mut update = Query::update();
    update
        .table(C::EntityName::default())
        .value(column, Expr::col(column))
        .and_where(Expr::col(key).eq(UNUSED_ID));
    tx.execute(&update).await?;
    Ok(())
}
