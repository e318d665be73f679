//! Reads and binds the key of a member of staff, of any supported kind.

use migration::gateway::KeyKind;
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, StringLen, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value};
use uuid::Uuid;

use super::DbId;
use super::integer::Kind;
use crate::event::StaffId;

impl TryGetable for StaffId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let kind = Kind::of(row, index);
        if kind == Kind::Uuid {
            return Uuid::try_get_by(row, index).map(Self::Uuid);
        }
        if kind != Kind::Other || row.try_as_sqlite_row().is_some() {
            match DbId::try_get_by(row, index) {
                Ok(id) => return Ok(Self::Integer(id.0)),
                Err(TryGetError::Null(column)) => return Err(TryGetError::Null(column)),
                Err(TryGetError::DbErr(_)) => {}
            }
        }
        // CHAR columns may be wider than the id, and differ in width.
        String::try_get_by(row, index).map(|id| Self::Text(id.trim_end_matches(' ').to_owned()))
    }
}

impl From<StaffId> for Value {
    fn from(id: StaffId) -> Self {
        match id {
            StaffId::Integer(id) => id.into(),
            StaffId::Text(id) => id.into(),
            StaffId::Uuid(id) => id.into(),
        }
    }
}

impl ValueType for StaffId {
    fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
        match value {
            Value::BigInt(Some(id)) => Ok(Self::Integer(id)),
            Value::String(Some(id)) => Ok(Self::Text(id)),
            Value::Uuid(Some(id)) => Ok(Self::Uuid(id)),
            _ => Err(ValueTypeErr),
        }
    }

    fn type_name() -> String {
        "StaffId".to_owned()
    }

    fn array_type() -> ArrayType {
        ArrayType::String
    }

    fn column_type() -> ColumnType {
        ColumnType::String(StringLen::None)
    }
}

/// NULL of type text. PostgreSQL requires the column's type: there, leave the column out of an INSERT, or
/// bind [`bind_staff`].
impl Nullable for StaffId {
    fn null() -> Value {
        Value::String(None)
    }
}

impl TryFromU64 for StaffId {
    fn try_from_u64(id: u64) -> Result<Self, DbErr> {
        DbId::try_from_u64(id).map(|id| Self::Integer(id.0))
    }
}

impl StaffId {
    /// Converts this id to the kind of `staff.id`. Refuses an id that cannot be of this kind (not an integer
    /// for an integer key, or not a UUID): it cannot belong to any member of staff.
    pub fn of_kind(&self, kind: KeyKind) -> Result<Self, DbErr> {
        let misfit =
            |wanted: &'static str| DbErr::Type(format!("the staff id is not {wanted}, but staff.id is"));
        match (kind, self) {
            (KeyKind::Integer, Self::Integer(id)) => Ok(Self::Integer(*id)),
            (KeyKind::Integer, Self::Text(id)) => {
                id.parse().map(Self::Integer).map_err(|_| misfit("an integer"))
            }
            (KeyKind::Integer, Self::Uuid(_)) => Err(misfit("an integer")),
            (KeyKind::Text, id) => Ok(Self::Text(id.to_string())),
            (KeyKind::Uuid, Self::Uuid(id)) => Ok(Self::Uuid(*id)),
            (KeyKind::Uuid, id) => {
                Uuid::parse_str(&id.to_string()).map(Self::Uuid).map_err(|_| misfit("a UUID"))
            }
        }
    }
}

/// Converts a staff id, or NULL, to a value for `staff.id` and our own `staff_id` columns: PostgreSQL
/// requires the column's type even for NULL.
pub fn bind_staff(id: Option<&StaffId>, kind: KeyKind) -> Result<Value, DbErr> {
    Ok(match (id, kind) {
        (Some(id), _) => id.of_kind(kind)?.into(),
        (None, KeyKind::Integer) => Value::BigInt(None),
        (None, KeyKind::Text) => Value::String(None),
        (None, KeyKind::Uuid) => Value::Uuid(None),
    })
}
