//! Closed lists of names as columns of text.

use crate::matching::{Actor, AuditAction, MappingSource, Stored};
use crate::store::{
    HostAction, ItemState, LetterAction, LetterState, RepairScope, RepairState, ReplayItemState, ReplayState,
};

/// What makes these types columns of text: each has its text (`AsRef<str>`) and is read from it (`FromStr`).
///
/// A text that the type does not know is an error when it is read. Where a newer program, or a gateway, may
/// have written another one, the column is a `Stored<T>`, which keeps it.
macro_rules! text_columns {
    ($($name:ty),+ $(,)?) => {$(
        impl From<$name> for sea_orm::Value {
            fn from(value: $name) -> Self {
                AsRef::<str>::as_ref(&value).into()
            }
        }

        impl sea_orm::TryGetable for $name {
            fn try_get_by<I: sea_orm::ColIdx>(
                row: &sea_orm::QueryResult,
                index: I,
            ) -> Result<Self, sea_orm::TryGetError> {
                let text = <String as sea_orm::TryGetable>::try_get_by(row, index)?;
                text.trim_end_matches(' ').parse().map_err(|_| {
                    let unknown = format!("{index:?} holds no {} that is known", stringify!($name));
                    sea_orm::TryGetError::DbErr(sea_orm::DbErr::Type(unknown))
                })
            }
        }

        impl sea_orm::sea_query::ValueType for $name {
            fn try_from(value: sea_orm::Value) -> Result<Self, sea_orm::sea_query::ValueTypeErr> {
                let text = <String as sea_orm::sea_query::ValueType>::try_from(value)?;
                text.parse().map_err(|_| sea_orm::sea_query::ValueTypeErr)
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
text_columns!(LetterState, Stored<LetterState>, ReplayState, Stored<ReplayState>);
text_columns!(ReplayItemState, Stored<ReplayItemState>, LetterAction, Stored<LetterAction>);
