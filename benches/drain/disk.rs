//! Measures the size of our tables, including indexes, after events have been decided.

use sea_orm::{ConnectionTrait as _, DbBackend, Statement};

use crate::Result;
use crate::salon::Salon;
use hostmatch::store::DbId;

/// Returns a line for each of our tables that is not empty, with its size and its number of rows.
///
/// # Errors
/// Fails if a query fails.
pub(crate) async fn sizes(salon: &Salon, events: u64) -> Result<Vec<String>> {
    salon.analyze().await?;
    let database = &salon.scratch.database;
    let mut lines = Vec::new();
    for table in migration::TABLES {
        let rows = salon.scratch.number(&format!("SELECT COUNT(*) FROM {table}")).await?;
        if rows == 0 {
            continue;
        }
        let query = match database.backend() {
            DbBackend::MySql => {
                salon.scratch.run(&format!("ANALYZE TABLE {table}")).await?;
                format!(
                    "SELECT CAST(data_length + index_length AS SIGNED) FROM information_schema.tables \
                     WHERE table_schema = DATABASE() AND table_name = '{table}'"
                )
            }
            DbBackend::Postgres => format!("SELECT pg_total_relation_size('{table}')"),
            other => return Err(format!("not measured on {other:?}").into()),
        };
        let row =
            database.connection().query_one_raw(Statement::from_string(database.backend(), query)).await?;
        let bytes = u64::try_from(row.ok_or("no row")?.try_get_by_index::<DbId>(0)?.0)?;
        lines.push(format!(
            "disk of {table}: {:.1} MiB for {rows} rows, {} bytes per row, {} per event",
            bytes as f64 / f64::from(1 << 20),
            bytes / rows,
            bytes / events,
        ));
    }
    Ok(lines)
}
