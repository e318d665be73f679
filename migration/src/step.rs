//! One migration as a pair of functions from the engine's dialect to SQL. So `up` runs, and
//! `sql` prints, the very same statements.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::dialect::Dialect;
use crate::gateway::Columns;

/// A migration: what it makes, and how.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Its name in the bookkeeping; never changed once released.
    pub(crate) name: &'static str,
    /// The table that it makes, and the column if it only adds that.
    pub(crate) makes: (&'static str, Option<&'static str>),
    pub(crate) up: fn(&Dialect) -> Vec<String>,
    pub(crate) down: fn(&Dialect) -> Vec<String>,
}

impl Step {
    /// Whether what it makes is there already.
    pub(crate) fn is_there(&self, columns: &Columns) -> bool {
        match self.makes {
            (table, None) => columns.has_table(table),
            (table, Some(column)) => columns.has(table, column),
        }
    }

    /// What it makes, for people.
    pub(crate) fn made(&self) -> String {
        match self.makes {
            (table, None) => format!("the table {table}"),
            (table, Some(column)) => format!("the column {table}.{column}"),
        }
    }
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, self.up).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, self.down).await
    }

    // One with its bookkeeping, where DDL can be rolled back; MySQL commits it at once anyway.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn run(manager: &SchemaManager<'_>, statements: fn(&Dialect) -> Vec<String>) -> Result<(), DbErr> {
    let connection = manager.get_connection();
    let columns = Columns::read(connection).await?;
    for statement in statements(&Dialect::of(&columns)) {
        connection.execute_unprepared(&statement).await?;
    }
    Ok(())
}
