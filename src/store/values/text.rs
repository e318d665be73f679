//! Closed lists of names as columns of text.

use sea_orm::sqlx::{Column as _, Row as _, TypeInfo as _};
use sea_orm::{ColIdx, QueryResult};

use crate::matching::{Actor, AuditAction, MappingSource, Stored};
use crate::store::{
    HostAction, ItemState, LetterAction, LetterState, RepairScope, RepairState, ReplayItemState, ReplayState,
};

/// Whether the column is a CHAR, which PostgreSQL fills up with blanks.
fn is_filled_up<I: ColIdx>(row: &QueryResult, index: I) -> bool {
    let column = row.try_as_pg_row().and_then(|row| row.try_column(index.as_sqlx_postgres_index()).ok());
    column.is_some_and(|column| column.type_info().name() == "CHAR")
}

/// What makes these types values: each has its text (`AsRef<str>`).
macro_rules! text_values {
    ($($name:ty),+ $(,)?) => {$(
        impl From<$name> for sea_orm::Value {
            fn from(value: $name) -> Self {
                AsRef::<str>::as_ref(&value).into()
            }
        }
    )+};
}

/// What makes these types columns of text: each has its text (`AsRef<str>`) and is read from it (`FromStr`).
///
/// Only of types that take every text: a newer program, or a gateway, may have written one that this build
/// does not know. So a closed list is read as `Stored<T>`, which keeps it.
macro_rules! text_columns {
    ($($name:ty),+ $(,)?) => {$(
        text_values!($name);

        impl sea_orm::TryGetable for $name {
            fn try_get_by<I: sea_orm::ColIdx>(
                row: &sea_orm::QueryResult,
                index: I,
            ) -> Result<Self, sea_orm::TryGetError> {
                let text = <String as sea_orm::TryGetable>::try_get_by(row, index)?;
                let text = if is_filled_up(row, index) { text.trim_end_matches(' ') } else { &text };
                let Ok(value) = text.parse();
                Ok(value)
            }
        }

        impl sea_orm::sea_query::ValueType for $name {
            fn try_from(value: sea_orm::Value) -> Result<Self, sea_orm::sea_query::ValueTypeErr> {
                let text = <String as sea_orm::sea_query::ValueType>::try_from(value)?;
                let Ok(value) = text.parse();
                Ok(value)
            }

            fn type_name() -> String {
                stringify!($name).to_owned()
            }

            fn array_type() -> sea_orm::sea_query::ArrayType {
                <String as sea_orm::sea_query::ValueType>::array_type()
            }

            fn column_type() -> sea_orm::sea_query::ColumnType {
                <String as sea_orm::sea_query::ValueType>::column_type()
            }
        }

        impl sea_orm::sea_query::Nullable for $name {
            fn null() -> sea_orm::Value {
                <String as sea_orm::sea_query::Nullable>::null()
            }
        }
    )+};
}

text_columns!(Actor, Stored<AuditAction>, Stored<MappingSource>);
text_columns!(Stored<HostAction>, Stored<RepairScope>, Stored<RepairState>, Stored<ItemState>);
text_columns!(Stored<LetterState>, Stored<ReplayState>, Stored<ReplayItemState>, Stored<LetterAction>);
text_values!(LetterState, ReplayState, ReplayItemState, LetterAction);
