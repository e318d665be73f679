//! What every use case works with; names of members of staff, and pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::Arc;

use sea_orm::DatabaseConnection;
use tokio::sync::OnceCell;

use super::{AppError, Author};
use crate::config::Config;
use crate::decide::Processor;
use crate::event::StaffId;
use crate::queue::Queue;
use crate::store::{Database, GatewaySchema, Scope, StaffFact, StoreError, staff_facts};

/// Whether a use case writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads: let in where nobody may write, and not waiting for a server that is away.
    ReadOnly,
    /// It writes.
    Write,
}

/// The gateway's database, the queue, and for whom.
pub struct AppContext {
    /// The gateway's database.
    pub database: Database,
    /// What its tables look like.
    pub schema: GatewaySchema,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// Who asks, for the record.
    pub author: Author,
    /// The companies that the caller may see.
    pub scope: Scope,
    queue: OnceCell<Queue>,
}

impl AppContext {
    /// Connects to the database and reads what its tables look like. Fails when its tables are not as they
    /// must be.
    pub async fn open(
        config: &Arc<Config>,
        access: Access,
        author: Author,
        scope: Scope,
    ) -> Result<Self, AppError> {
        let database = match access {
            Access::ReadOnly => Database::connect_to_look(&config.database).await?,
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

    /// With a database that is open.
    pub fn of(
        database: Database,
        schema: GatewaySchema,
        config: Arc<Config>,
        author: Author,
        scope: Scope,
    ) -> Self {
        Self { database, schema, config, author, scope, queue: OnceCell::new() }
    }

    /// The database's connections.
    pub fn connection(&self) -> &DatabaseConnection {
        self.database.connection()
    }

    /// What deciding needs, as workers have it.
    pub(crate) fn processor(&self) -> Processor {
        Processor::new(self.database.clone(), self.schema.clone(), &self.config)
    }

    /// Waits for what is asked of the database, for as long as `database` in the configuration says.
    pub async fn with_deadline<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.database.with_deadline(work).await
    }

    /// What there is not in what the caller may see.
    pub(super) fn absent(&self, what: impl Display) -> AppError {
        let of = self.scope.only().map(|company| format!(" of company {company}")).unwrap_or_default();
        AppError::NotFound(format!("{what}{of}"))
    }

    /// The queue, connected when it is asked for first.
    pub async fn queue(&self) -> Result<&Queue, AppError> {
        Ok(self.queue.get_or_try_init(|| Queue::open(&self.config.queue)).await?)
    }

    /// Closes the connections in good order.
    pub async fn close(&self) {
        if let Some(queue) = self.queue.get() {
            queue.close().await;
        }
        self.database.close().await;
    }
}

/// The names of members of staff.
pub(super) struct Names(BTreeMap<StaffId, StaffFact>);

/// The names of these.
pub(super) async fn names(
    context: &AppContext,
    ids: impl IntoIterator<Item = StaffId>,
) -> Result<Names, AppError> {
    let ids: BTreeSet<StaffId> = ids.into_iter().collect();
    let facts = staff_facts(context.connection(), &context.schema, &ids);
    Ok(Names(context.with_deadline(facts).await?))
}

impl Names {
    /// The name, if there is such a person.
    pub(super) fn name(&self, id: &StaffId) -> Option<String> {
        self.0.get(id).map(|fact| fact.name.clone())
    }
}

/// A page of rows, of which one more than wanted was read; and the place where the next one begins, if there are
/// more.
pub(super) fn page<T, P>(mut rows: Vec<T>, limit: u64, place: impl Fn(&T) -> P) -> (Vec<T>, Option<P>) {
    let more = rows.len() as u64 > limit;
    rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = rows.last().filter(|_| more).map(place);
    (rows, next)
}
