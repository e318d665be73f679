//! The cells of a row in the order in which they were selected. To find each by its column's name costs
//! more than to read it, in rows of which there are some for every event.

use sea_orm::{DbErr, QueryResult, TryGetable};

/// The cells of one row, from the first on.
pub(super) struct Cells<'r> {
    row: &'r QueryResult,
    next: usize,
}

impl<'r> Cells<'r> {
    pub(super) fn of(row: &'r QueryResult) -> Self {
        Self { row, next: 0 }
    }

    /// The next one.
    ///
    /// # Errors
    /// When there is none, or not of this type.
    pub(super) fn next<T: TryGetable>(&mut self) -> Result<T, DbErr> {
        let index = self.next;
        self.next += 1;
        self.row.try_get_by_index(index).or_else(|error| match self.row.column_names().get(index) {
            // The same error, by the name under which people know the column.
            Some(name) => self.row.try_get("", name),
            None => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};

    use super::Cells;

    #[tokio::test]
    async fn cells_are_read_in_order_and_an_error_names_the_column() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        let select = Statement::from_string(DbBackend::Sqlite, "SELECT 7 AS id, 'Mara' AS is_active");
        let row = db.query_one_raw(select).await.unwrap().unwrap();
        let mut cells = Cells::of(&row);
        assert_eq!(cells.next::<i64>().unwrap(), 7);
        let error = cells.next::<i64>().unwrap_err().to_string();
        assert!(error.contains("is_active"), "{error}");
        assert!(cells.next::<i64>().is_err(), "there are no more");
    }
}
