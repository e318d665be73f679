//! Reads integer keys of any width.

use sea_orm::sqlx::{Column as _, Database, MySql, Postgres, Row as _, Type};
use sea_orm::{ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable};
use uuid::Uuid;

use crate::event::{AppointmentId, CompanyId, HostId};

/// An integer id of any width and sign. Ids above `i64::MAX` are an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DbId(pub i64);

impl TryGetable for DbId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let id = match Kind::of(row, index) {
            Kind::Unsigned => {
                // For a value above i64::MAX, reading it as i64 returns the driver's type error.
                u64::try_get_by(row, index)?.try_into().or_else(|_| i64::try_get_by(row, index))?
            }
            Kind::Int4 => i32::try_get_by(row, index)?.into(),
            Kind::Int2 => i16::try_get_by(row, index)?.into(),
            Kind::Signed | Kind::Uuid | Kind::Other => i64::try_get_by(row, index)?,
        };
        Ok(Self(id))
    }
}

/// How a column can be read. Trying types one by one would be slower: a failed attempt formats an error text.
#[derive(PartialEq, Eq)]
pub(super) enum Kind {
    Signed,
    /// MySQL and MariaDB read an UNSIGNED column only as unsigned.
    Unsigned,
    /// PostgreSQL reads an INTEGER or SMALLINT only as its exact type.
    Int4,
    Int2,
    /// PostgreSQL's `uuid`.
    Uuid,
    /// Another type, or unknown (on SQLite each value has its own type).
    Other,
}

impl Kind {
    pub(super) fn of<I: ColIdx>(row: &QueryResult, index: I) -> Self {
        Self::mysql(row, index).or_else(|| Self::postgres(row, index)).unwrap_or(Self::Other)
    }

    fn mysql<I: ColIdx>(row: &QueryResult, index: I) -> Option<Self> {
        let column = row.try_as_mysql_row()?.try_column(index.as_sqlx_mysql_index()).ok()?.type_info();
        let signed = || is::<i64, MySql>(column).then_some(Self::Signed);
        is::<u64, MySql>(column).then_some(Self::Unsigned).or_else(signed)
    }

    fn postgres<I: ColIdx>(row: &QueryResult, index: I) -> Option<Self> {
        let column = row.try_as_pg_row()?.try_column(index.as_sqlx_postgres_index()).ok()?.type_info();
        let int4 = || is::<i32, Postgres>(column).then_some(Self::Int4);
        let int2 = || is::<i16, Postgres>(column).then_some(Self::Int2);
        let uuid = || is::<Uuid, Postgres>(column).then_some(Self::Uuid);
        is::<i64, Postgres>(column).then_some(Self::Signed).or_else(int4).or_else(uuid).or_else(int2)
    }
}

/// Returns whether such a column is read as this type.
fn is<T: Type<DB>, DB: Database>(column: &DB::TypeInfo) -> bool {
    T::compatible(column)
}

macro_rules! integer_keys {
    ($($name:ident),+) => {$(
        impl TryFromU64 for $name {
            fn try_from_u64(id: u64) -> Result<Self, DbErr> {
                id.try_into().map(Self).map_err(|_| DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )+};
}

integer_keys!(DbId, CompanyId, AppointmentId, HostId);

macro_rules! read_as_db_id {
    ($($name:ident),+) => {$(
        impl TryGetable for $name {
            fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
                DbId::try_get_by(row, index).map(|id| Self(id.0))
            }
        }
    )+};
}

read_as_db_id!(CompanyId, AppointmentId, HostId);
