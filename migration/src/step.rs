//! One migration as a function from the engine's dialect to changes. So `up` runs, `sql` prints,
//! and `down` takes back the very same statements.

use sea_orm_migration::async_trait::async_trait;
use sea_orm_migration::sea_orm::{ConnectionTrait as _, DbErr};
use sea_orm_migration::{MigrationName, MigrationTrait, SchemaManager};

use crate::dialect::Dialect;
use crate::gateway::Columns;
use crate::op::Op;

/// A migration: what it makes, and how.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    /// Its name in the bookkeeping; never changed once released.
    pub(crate) name: &'static str,
    /// The table that it makes, and the column if it only adds that.
    pub(crate) makes: (&'static str, Option<&'static str>),
    /// The changes, in order. Taken back in the opposite one.
    pub(crate) ops: fn(&Dialect) -> Vec<Op>,
}

impl Step {
    /// What it makes, as people write it.
    pub(crate) fn made(&self) -> String {
        match self.makes {
            (table, None) => table.to_owned(),
            (table, Some(column)) => format!("{table}.{column}"),
        }
    }
}

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

// For sea-orm's own `Migrator::up` and `down`, which know nothing of adoption or of interruptions.
#[async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let ops = self.ops_here(manager).await?;
        run(manager, ops.into_iter().map(|op| op.make)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let ops = self.ops_here(manager).await?;
        run(manager, ops.into_iter().rev().map(|op| op.undo)).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

impl Step {
    async fn ops_here(&self, manager: &SchemaManager<'_>) -> Result<Vec<Op>, DbErr> {
        let columns = Columns::read(manager.get_connection()).await?;
        Ok((self.ops)(&Dialect::of(&columns)))
    }
}

async fn run(
    manager: &SchemaManager<'_>,
    statements: impl Iterator<Item = Option<String>>,
) -> Result<(), DbErr> {
    for statement in statements.flatten() {
        manager.get_connection().execute_unprepared(&statement).await?;
    }
    Ok(())
}
