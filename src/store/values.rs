//! Ids as the engines keep them.
//!
//! The same key is BIGINT UNSIGNED here, INTEGER there, CHAR(36) or a native UUID elsewhere, and
//! no single Rust type can read them all: `i64` cannot read BIGINT UNSIGNED, `u64` exists on
//! MySQL alone. So ids are read by trying, and bound by what [`GatewaySchema`] found.
//!
//! [`GatewaySchema`]: super::GatewaySchema

use sea_orm::{ColIdx, DbErr, QueryResult, TryGetError, TryGetable, Value};
use uuid::Uuid;

use super::gateway::KeyType;
use crate::event::{AppointmentId, CompanyId, StaffId};

/// An integer id, whatever width and sign its column has. Ids above `i64::MAX` are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbId(pub i64);

impl TryGetable for DbId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        match i64::try_get_by(row, index) {
            Ok(id) => Ok(Self(id)),
            Err(TryGetError::Null(column)) => Err(TryGetError::Null(column)),
            Err(first) => {
                // Only what can be: each attempt that fails makes an error's text.
                let other = if row.try_as_mysql_row().is_some() { unsigned } else { narrow };
                other(row, index).ok_or(first).map(Self)
            }
        }
    }
}

// PostgreSQL reads an INTEGER or SMALLINT only as what it is.
fn narrow<I: ColIdx>(row: &QueryResult, index: I) -> Option<i64> {
    let int = i32::try_get_by(row, index).ok().map(i64::from);
    int.or_else(|| i16::try_get_by(row, index).ok().map(i64::from))
}

// MySQL and MariaDB read an UNSIGNED column only as that.
fn unsigned<I: ColIdx>(row: &QueryResult, index: I) -> Option<i64> {
    u64::try_get_by(row, index).ok().and_then(|id| i64::try_from(id).ok())
}

impl From<DbId> for Value {
    fn from(id: DbId) -> Self {
        id.0.into()
    }
}

impl TryGetable for StaffId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        match DbId::try_get_by(row, index) {
            Ok(id) => Ok(Self::Integer(id.0)),
            Err(TryGetError::Null(column)) => Err(TryGetError::Null(column)),
            // Columns of type CHAR may be wider than the id, and of different widths.
            Err(TryGetError::DbErr(_)) => String::try_get_by(row, index)
                .map(|id| id.trim_end_matches(' ').to_owned())
                .or_else(|_| Uuid::try_get_by(row, index).map(|id| id.to_string()))
                .map(Self::Text),
        }
    }
}

macro_rules! integer_key {
    ($($name:ident),+) => {$(
        impl TryGetable for $name {
            fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
                DbId::try_get_by(row, index).map(|id| Self(id.0))
            }
        }

        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }
    )+};
}

integer_key!(CompanyId, AppointmentId);

/// A staff id as a bound value that fits `staff.id` and our own `staff_id` columns.
///
/// # Errors
/// When the id is not of the column's kind (a text for an integer key, or not a UUID): it cannot
/// be anybody's id then.
pub fn bind_staff(id: &StaffId, key: KeyType) -> Result<Value, DbErr> {
    let misfit = |wanted: &'static str| DbErr::Type(format!("the staff id is not {wanted}, as staff.id is"));
    match (key, id) {
        (KeyType::Integer, StaffId::Integer(id)) => Ok((*id).into()),
        (KeyType::Integer, StaffId::Text(id)) => {
            id.parse::<i64>().map(Value::from).map_err(|_| misfit("an integer"))
        }
        (KeyType::Text, id) => Ok(id.to_string().into()),
        (KeyType::Uuid, id) => {
            Uuid::parse_str(&id.to_string()).map(Value::from).map_err(|_| misfit("a UUID"))
        }
    }
}

/// NULL for a `staff_id` column: PostgreSQL wants even that with the column's type.
pub fn null_staff(key: KeyType) -> Value {
    match key {
        KeyType::Integer => Value::BigInt(None),
        KeyType::Text => Value::String(None),
        KeyType::Uuid => Value::Uuid(None),
    }
}
