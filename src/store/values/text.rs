//! Stores text values, most of them from closed lists, in text columns.
//!
//! A newer program, or a gateway, may have written a value that this version does not know. So a value of a
//! closed list is read as [`Stored`], which keeps unknown ones.

use std::str::FromStr;

use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::sqlx::{Column as _, Row as _, TypeInfo as _};
use sea_orm::{ColIdx, QueryResult, TryGetError, TryGetable, Value};

use crate::matching::{Actor, Stored};
use crate::store::{LetterAction, LetterState, ReplayItemState, ReplayState};

/// Returns a text value, without the blanks with which PostgreSQL pads a CHAR.
fn text<I: ColIdx>(row: &QueryResult, index: I) -> Result<String, TryGetError> {
    let mut text = String::try_get_by(row, index)?;
    let column = row.try_as_pg_row().and_then(|row| row.try_column(index.as_sqlx_postgres_index()).ok());
    if column.is_some_and(|column| column.type_info().name() == "CHAR") {
        text.truncate(text.trim_end_matches(' ').len());
    }
    Ok(text)
}

impl TryGetable for Actor {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        text(row, index).map(|name| name.as_str().into())
    }
}

impl<T: FromStr> TryGetable for Stored<T> {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        text(row, index).map(|text| Self::read(&text))
    }
}

impl<T: AsRef<str>> From<Stored<T>> for Value {
    fn from(value: Stored<T>) -> Self {
        value.as_ref().into()
    }
}

impl<T: FromStr> ValueType for Stored<T> {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        <String as ValueType>::try_from(value).map(|text| Self::read(&text))
    }

    fn type_name() -> String {
        "Stored".to_owned()
    }

    fn array_type() -> ArrayType {
        <String as ValueType>::array_type()
    }

    fn column_type() -> ColumnType {
        <String as ValueType>::column_type()
    }
}

impl<T> Nullable for Stored<T> {
    fn null() -> Value {
        <String as Nullable>::null()
    }
}

/// Makes the members of these closed lists bindable as SQL values.
macro_rules! text_values {
    ($($name:ident),+) => {$(
        impl From<$name> for Value {
            fn from(value: $name) -> Self {
                value.as_str().into()
            }
        }
    )+};
}

text_values!(LetterState, ReplayState, ReplayItemState, LetterAction);
