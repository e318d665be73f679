//! Ids as the engines keep them.
//!
//! The same key is BIGINT UNSIGNED here, INTEGER there, CHAR(36) or a native UUID elsewhere, and
//! no single Rust type can read them all: `i64` cannot read BIGINT UNSIGNED, `u64` exists on
//! MySQL alone. So ids are read as the column says, and bound by what [`GatewaySchema`] found.
//!
//! [`GatewaySchema`]: super::GatewaySchema

use sea_orm::sqlx::{Column as _, Database, MySql, Postgres, Row as _, Type};
use sea_orm::{ColIdx, DbErr, QueryResult, TryGetError, TryGetable, Value};
use uuid::Uuid;

use super::gateway::KeyType;
use crate::event::{AppointmentId, CompanyId, StaffId};

/// An integer id, whatever width and sign its column has. Ids above `i64::MAX` are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbId(pub i64);

impl TryGetable for DbId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let id = match Integer::of(row, index) {
            Some(Integer::Unsigned) => {
                // What is larger than any id can be is refused by the driver, as of an unsuitable column.
                i64::try_from(u64::try_get_by(row, index)?).or_else(|_| i64::try_get_by(row, index))?
            }
            Some(Integer::Int4) => i32::try_get_by(row, index)?.into(),
            Some(Integer::Int2) => i16::try_get_by(row, index)?.into(),
            Some(Integer::Signed) | None => i64::try_get_by(row, index)?,
        };
        Ok(Self(id))
    }
}

/// As what an integer column can be read: an attempt that fails costs more than reading, for it makes an
/// error's text.
enum Integer {
    Signed,
    /// MySQL and MariaDB read an UNSIGNED column only as that.
    Unsigned,
    /// PostgreSQL reads an INTEGER or SMALLINT only as what it is.
    Int4,
    Int2,
}

impl Integer {
    /// None: the column has another type (on SQLite each value has its own).
    fn of<I: ColIdx>(row: &QueryResult, index: I) -> Option<Self> {
        if let Some(row) = row.try_as_mysql_row() {
            let column = row.try_column(index.as_sqlx_mysql_index()).ok()?.type_info();
            let signed = || is::<i64, MySql>(column).then_some(Self::Signed);
            return is::<u64, MySql>(column).then_some(Self::Unsigned).or_else(signed);
        }
        let column = row.try_as_pg_row()?.try_column(index.as_sqlx_postgres_index()).ok()?.type_info();
        let int4 = || is::<i32, Postgres>(column).then_some(Self::Int4);
        let int2 = || is::<i16, Postgres>(column).then_some(Self::Int2);
        is::<i64, Postgres>(column).then_some(Self::Signed).or_else(int4).or_else(int2)
    }
}

/// Whether such a column is read as this type.
fn is<T: Type<DB>, DB: Database>(column: &DB::TypeInfo) -> bool {
    T::compatible(column)
}

impl From<DbId> for Value {
    fn from(id: DbId) -> Self {
        id.0.into()
    }
}

impl TryGetable for StaffId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        if row.try_as_sqlite_row().is_some() || Integer::of(row, index).is_some() {
            match DbId::try_get_by(row, index) {
                Ok(id) => return Ok(Self::Integer(id.0)),
                Err(TryGetError::Null(column)) => return Err(TryGetError::Null(column)),
                Err(TryGetError::DbErr(_)) => {}
            }
        }
        // Columns of type CHAR may be wider than the id, and of different widths.
        match String::try_get_by(row, index) {
            Ok(id) => Ok(Self::Text(id.trim_end_matches(' ').to_owned())),
            Err(TryGetError::Null(column)) => Err(TryGetError::Null(column)),
            Err(_) => Uuid::try_get_by(row, index).map(|id| Self::Text(id.to_string())),
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
