//! The context of every use case, the names of members of staff, and pagination.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use sea_orm::DatabaseConnection;
use tokio::sync::OnceCell;

use super::{AppError, Author, Refusal};
use crate::config::Config;
use crate::decide::Processor;
use crate::event::{CompanyId, StaffId};
use crate::queue::Queue;
use crate::store::{Database, GatewaySchema, Scope, StaffFact, StoreError, staff_facts};

/// Whether a use case writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only reads. This works without write privileges, and does not wait for an unreachable server.
    ReadOnly,
    /// Reads and writes.
    Write,
}

/// The gateway's database, the queue, and the caller.
pub struct AppContext {
    /// The gateway's database.
    pub database: Database,
    /// The shape of the gateway's tables.
    pub schema: GatewaySchema,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The caller, who is recorded with each change.
    pub author: Author,
    /// The companies that the caller may see.
    pub scope: Scope,
    queue: OnceCell<Queue>,
}

impl AppContext {
    /// Connects to the database and reads the shape of its tables. Fails if a table does not have the
    /// required shape.
    pub async fn open(
        config: &Arc<Config>,
        access: Access,
        author: Author,
        scope: Scope,
    ) -> Result<Self, AppError> {
        let database = match access {
            Access::ReadOnly => Database::connect_read_only(&config.database).await?,
            Access::Write => Database::connect(&config.database).await?,
        };
        match database.with_deadline(GatewaySchema::read(&database, &config.gateway)).await {
            Ok(schema) => Ok(Self::of(database, schema, config.clone(), author, scope)),
            Err(error) => {
                database.close().await;
                Err(error.into())
            }
        }
    }

    /// Creates a context with a connected database.
    pub fn of(
        database: Database,
        schema: GatewaySchema,
        config: Arc<Config>,
        author: Author,
        scope: Scope,
    ) -> Self {
        Self { database, schema, config, author, scope, queue: OnceCell::new() }
    }

    /// Returns the database's connections.
    pub fn connection(&self) -> &DatabaseConnection {
        self.database.connection()
    }

    /// Creates a processor with the configuration that workers use.
    pub(crate) fn processor(&self) -> Processor {
        Processor::new(self.database.clone(), self.schema.clone(), &self.config)
    }

    /// Waits for `work` no longer than the section `database` of the configuration allows.
    pub async fn with_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.database.with_deadline(work).await
    }

    /// Refuses a company outside the scope, as if it did not exist.
    pub(super) fn check_company(&self, company: CompanyId) -> Result<(), AppError> {
        if self.scope.contains(company) { Ok(()) } else { Err(Refusal::NoCompany(company).into()) }
    }

    /// Returns the error for something that does not exist in the caller's scope.
    pub(super) fn not_found(&self, what: impl Display) -> AppError {
        let suffix = self.scope.only().map(|company| format!(" of company {company}")).unwrap_or_default();
        AppError::NotFound(format!("{what}{suffix}"))
    }

    /// Returns the queue. Connects on the first call.
    pub async fn queue(&self) -> Result<&Queue, AppError> {
        Ok(self.queue.get_or_try_init(|| Queue::open(&self.config.queue)).await?)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        if let Some(queue) = self.queue.get() {
            queue.close().await;
        }
        self.database.close().await;
    }
}

/// The names of members of staff.
pub(super) struct Names(BTreeMap<StaffId, StaffFact>);

/// Reads the names of these members of staff.
pub(super) async fn names(
    context: &AppContext,
    ids: impl IntoIterator<Item = StaffId>,
) -> Result<Names, AppError> {
    let ids: BTreeSet<StaffId> = ids.into_iter().collect();
    let facts = staff_facts(context.connection(), &context.schema, &ids);
    Ok(Names(context.with_deadline(facts).await?))
}

impl Names {
    /// Returns the name, if there is such a member of staff.
    pub(super) fn name(&self, id: &StaffId) -> Option<String> {
        self.0.get(id).map(|fact| fact.name.clone())
    }
}

/// Truncates `rows`, of which up to `limit + 1` were read, to one page. Also returns the cursor of the next page
/// if there are more rows.
pub(super) fn page<T, P>(mut rows: Vec<T>, limit: u64, cursor: impl Fn(&T) -> P) -> (Vec<T>, Option<P>) {
    let has_more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| has_more).map(cursor);
    (rows, next)
}
