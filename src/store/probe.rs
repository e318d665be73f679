//! Can the database be used? Asked by doing, in a transaction that is rolled back, what deciding
//! does: a server that answers a ping may still be read-only, full, locked, or without our rights.

use migration::names;
use sea_orm::ConnectionTrait as _;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};

use super::{Database, GatewaySchema, Hosts, StoreError, load, mappings, rows, staff};
use crate::config::Mode;
use crate::event::{AppointmentId, CompanyId, EventId, HostId};
use crate::matching::HostKey;

/// No row has this id.
const NOBODY: i64 = -1;

/// Reads the tables that deciding reads, and writes where it writes in this mode. Leaves nothing behind.
///
/// # Errors
/// What deciding would meet with.
pub async fn probe(database: &Database, schema: &GatewaySchema, mode: Mode) -> Result<(), StoreError> {
    let observes = mode == Mode::Observe;
    let key = HostKey::new(CompanyId(NOBODY), HostId(NOBODY));
    let tx = database.begin().await?;
    let mut insert = Query::insert();
    insert.into_table(names::HOST_LOCKS).columns(["company_id", "host_id"]);
    // A row of its own for each who asks: nobody waits for another's probe.
    insert.values_panic([(-i64::from(uuid::Uuid::new_v4().as_fields().0) - 2).into(), key.host.0.into()]);
    tx.execute(&insert).await?;
    staff::active(&tx, schema, &[key.company].into()).await?;
    mappings::all(&tx, schema, &[key].into()).await?;
    rows::outcomes(&tx, &[&EventId::new("-")].into()).await?;
    let purpose = if observes { load::Purpose::Look } else { load::Purpose::Write(Hosts::Alone) };
    load::appointments(&tx, schema, &[AppointmentId(NOBODY)].into(), purpose).await?;
    let tables = ["appointments", names::MAPPINGS, names::EVENTS, names::INBOX];
    for table in &tables[if observes { 2 } else { 0 }..] {
        let (column, key) = match *table {
            names::EVENTS => ("outcome", "received_ms"),
            names::INBOX => ("state", "company_id"),
            names::MAPPINGS => ("mapping_source", "id"),
            _ => ("calcom_host_id", "id"),
        };
        let mut update = Query::update();
        update.table(*table).value(column, Expr::col(column)).and_where(Expr::col(key).eq(NOBODY));
        tx.execute(&update).await?;
    }
    tx.rollback().await?;
    Ok(())
}
