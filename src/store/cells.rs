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
        self.row.try_get_by_index(index)
    }
}
