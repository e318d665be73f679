//! Inspects the gateway's database before hostmatch is installed. The inspection changes nothing, works on
//! any state of the database, and needs only read privileges.
//!
//! It first gathers facts (`server`, `tables`, `uses`, `data`), and then derives the findings (`findings`).
//! It reports only the number of the gateway's rows, never a row.

mod server;
mod tables;
mod uses;
mod data;
mod findings;

use migration::gateway::Columns;
use migration::{Examination, MigrateError};
use serde::Serialize;

use super::{query_all, query_first};
use crate::config::{Config, GatewayConfig};
use crate::store::{Database, StoreError};

pub(crate) use super::finding::{Finding, Level};
pub(crate) use data::Count;
pub(crate) use findings::Verdict;
pub(crate) use server::Server;
pub(crate) use tables::ColumnFacts;
use tables::Table;
pub(crate) use uses::{Missing, Uses};

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Inspection {
    pub(crate) verdict: Verdict,
    /// The findings: what an operator must fix or know, each with a remedy.
    #[serde(serialize_with = "findings::serialize")]
    pub(crate) findings: Vec<Finding>,
    pub(crate) server: Server,
    /// The gateway's tables that we know, and ours.
    pub(crate) tables: Vec<Table>,
    /// The columns that we will use; `None` if a required column is missing.
    pub(crate) uses: Option<Uses>,
    /// Missing columns, and the consequence of each.
    pub(crate) missing: Vec<Missing>,
    /// Counts of rows that affect matching.
    pub(crate) data: Vec<Count>,
    pub(crate) migration: Migration,
}

/// The effect that `hostmatch migrate up` would have.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Migration {
    #[serde(flatten)]
    pub(crate) examination: Examination,
    /// The privileges that the connected user lacks to run the statements.
    #[serde(rename = "rights_missing")]
    pub(crate) missing_privileges: Vec<String>,
}

/// What the findings are based on, in addition to the facts.
struct Basis {
    columns: Columns,
    /// Why the schema or the time zone cannot be used.
    unusable: Option<String>,
    drift: Vec<String>,
    /// Why the effect of migrating is unknown.
    unexamined: Option<MigrateError>,
}

/// Inspects everything, over sessions that cannot write. Returns an error only if the database cannot be
/// read at all; any other problem is a finding.
pub(crate) async fn inspect(config: &Config) -> Result<Inspection, StoreError> {
    let database = Database::connect_read_only(&config.database).await?;
    let inspected = database.with_deadline(inspect_at(&database, &config.gateway, true)).await;
    database.close().await;
    inspected
}

/// Inspects everything over these sessions. With `counts`, also counts the gateway's rows, which takes
/// longer.
pub(super) async fn inspect_at(
    database: &Database,
    config: &GatewayConfig,
    counts: bool,
) -> Result<Inspection, StoreError> {
    let connection = database.connection();
    let columns = Columns::read(connection).await?;
    let server = server::inspect(database, config).await?;
    let tables = tables::inspect(database, &columns).await?;
    let (uses, unusable) = match uses::inspect(database, &columns, config).await {
        Ok(uses) => (uses, None),
        Err(StoreError::Schema(why)) => (None, Some(why)),
        Err(other) => return Err(other),
    };
    let data = if counts { data::inspect(database, &columns).await? } else { Vec::new() };
    let (drift, unknown) = separate_refusal(migration::drift(connection).await)?;
    let (examination, refusal) = separate_refusal(migration::examine(connection).await)?;
    let mut examination = examination.unwrap_or_default();
    // If nothing is pending, no statement runs, not even for the bookkeeping.
    if examination.pending.is_empty() && examination.adoptions.is_empty() {
        examination.statements.clear();
    }
    let missing_privileges = migration::missing_privileges(connection, &examination.statements).await?;
    let migration = Migration { examination, missing_privileges };
    let basis =
        Basis { columns, unusable, drift: drift.unwrap_or_default(), unexamined: unknown.or(refusal) };
    let mut inspection = Inspection {
        verdict: Verdict::Ready,
        findings: Vec::new(),
        missing: uses::missing_columns(&basis.columns),
        server,
        tables,
        uses,
        data,
        migration,
    };
    inspection.findings = findings::derive_findings(&inspection, &basis);
    inspection.verdict = Verdict::of(&inspection.findings);
    Ok(inspection)
}

/// Separates a result from a refusal by the migrations; a database error stays an error.
fn separate_refusal<T>(
    result: Result<T, MigrateError>,
) -> Result<(Option<T>, Option<MigrateError>), StoreError> {
    match result {
        Ok(value) => Ok((Some(value), None)),
        Err(MigrateError::Database { source, .. }) => Err(source.into()),
        // The gateway's tables have findings of their own.
        Err(MigrateError::Gateway(_)) => Ok((None, None)),
        Err(refusal) => Ok((None, Some(refusal))),
    }
}
