//! Declares what a SELECT selects and how its rows are read in one place, so that the columns and their order
//! cannot differ between the two.
//!
//! Rows are read in the order of the selection. An event needs several rows, and finding a value by its
//! column's name costs more than reading it.

use sea_orm::sea_query::{Expr, IntoIden, SelectExpr};
use sea_orm::{DbErr, QueryResult, TryGetable};

/// Reads the values of one row from left to right.
pub(super) struct RowReader<'r> {
    row: &'r QueryResult,
    next: usize,
}

impl<'r> RowReader<'r> {
    pub(super) fn of(row: &'r QueryResult) -> Self {
        Self { row, next: 0 }
    }

    /// Returns the next value; an error if there is none or it has another type.
    pub(super) fn next<T: TryGetable>(&mut self) -> Result<T, DbErr> {
        let index = self.next;
        self.next += 1;
        self.row.try_get_by_index(index).map_err(|error| {
            // This is the same error, with the column's name instead of its index.
            let names = self.row.column_names();
            names.get(index).and_then(|name| self.row.try_get::<T>("", name).err()).unwrap_or(error)
        })
    }
}

/// Selects an expression under the name of this column.
pub(super) fn select_as(expr: Expr, column: impl IntoIden) -> SelectExpr {
    SelectExpr { expr, alias: Some(column.into_iden()), window: None }
}

/// Declares a struct for selected columns: each field has a type and the expression or column that it is read
/// from, and optionally, after `=>`, a conversion from another type. `of (schema)` passes the
/// [`GatewaySchema`](super::GatewaySchema) to these expressions.
macro_rules! selected {
    (
        $(#[$doc:meta])*
        $vis:vis struct $name:ident of ($($schema:ident)?) {
            $(
                $(#[$field_doc:meta])*
                $field_vis:vis $field:ident: $type:ty = $expr:expr $(=> $convert:expr)?
            ),+ $(,)?
        }
    ) => {
        $(#[$doc])*
        $vis struct $name {
            $($(#[$field_doc])* $field_vis $field: $type),+
        }

        impl $name {
            /// Selects the fields, in their order.
            fn select(
                select: &mut sea_orm::sea_query::SelectStatement
                $(, $schema: &$crate::store::GatewaySchema)?
            ) {
                $(select.expr($expr);)+
            }

            /// Reads a row of what was selected.
            fn read(row: &sea_orm::QueryResult) -> Result<Self, sea_orm::DbErr> {
                let mut reader = $crate::store::row_reader::RowReader::of(row);
                Ok(Self { $($field: { let value = reader.next()?; $(let value = $convert(value);)? value }),+ })
            }
        }
    };
}

pub(super) use selected;

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Database, DbBackend, Statement};

    use super::RowReader;

    #[tokio::test]
    async fn values_are_read_in_order_and_an_error_names_the_column() {
        let db = Database::connect("sqlite::memory:").await.unwrap();
        let select = Statement::from_string(DbBackend::Sqlite, "SELECT 7 AS id, 'Mara' AS is_active");
        let row = db.query_one_raw(select).await.unwrap().unwrap();
        let mut reader = RowReader::of(&row);
        assert_eq!(reader.next::<i64>().unwrap(), 7);
        let error = reader.next::<i64>().unwrap_err().to_string();
        assert!(error.contains("is_active"), "{error}");
        assert!(reader.next::<i64>().is_err(), "the row has only two values");
    }
}
