//! Stores newtypes as simpler column types: keys, validated strings, scores, times, JSON.

use sea_orm::prelude::{TimeDateTime, TimeDateTimeWithTimeZone};
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value};
use time::UtcOffset;

use super::DbId;
use crate::event::{AppointmentId, BookingRef, CompanyId, EventId, HostId};
use crate::matching::{Actor, Confidence};

/// Makes a newtype storable as a simpler type, with a conversion in each direction.
macro_rules! stored_as {
    ($($name:ident as $stored:ty: $encode:expr, $decode:expr;)+) => {$(
        impl From<$name> for Value {
            fn from(value: $name) -> Self {
                let encode: fn($name) -> $stored = $encode;
                encode(value).into()
            }
        }

        impl ValueType for $name {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                let decode: fn($stored) -> Option<Self> = $decode;
                decode(<$stored as ValueType>::try_from(value)?).ok_or(ValueTypeErr)
            }

            fn type_name() -> String {
                stringify!($name).to_owned()
            }

            fn array_type() -> ArrayType {
                <$stored as ValueType>::array_type()
            }

            fn column_type() -> ColumnType {
                <$stored as ValueType>::column_type()
            }
        }

        impl Nullable for $name {
            fn null() -> Value {
                <$stored as Nullable>::null()
            }
        }
    )+};
}

stored_as! {
    DbId as i64: |id| id.0, |id| Some(Self(id));
    CompanyId as i64: |id| id.0, |id| Some(Self(id));
    AppointmentId as i64: |id| id.0, |id| Some(Self(id));
    HostId as i64: |id| id.0, |id| Some(Self(id));
    EventId as String: |id| id.as_str().to_owned(), |text| Some(Self::new(&text));
    BookingRef as String: |reference| reference.as_str().to_owned(), |text| Self::new(&text);
    Actor as String: |actor| actor.as_str().to_owned(), |name| Some(name.as_str().into());
    Confidence as i16: |confidence| confidence.0.into(), |score| Some(clamp_score(score.into()));
    Moment as TimeDateTime: |moment| moment.0, |time| Some(Self(time));
    Document as serde_json::Value: |document| document.0, |value| Some(Self(value));
}

impl TryGetable for EventId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        String::try_get_by(row, index).map(|id| Self::new(&id))
    }
}

/// Text keys never come from a counter.
macro_rules! text_keys {
    ($($name:ident),+) => {$(
        impl TryFromU64 for $name {
            fn try_from_u64(_: u64) -> Result<Self, DbErr> {
                Err(DbErr::ConvertFromU64(stringify!($name)))
            }
        }
    )+};
}

text_keys!(EventId, BookingRef);

impl TryGetable for BookingRef {
    /// Reads a string that is not a valid reference as NULL.
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, index)?;
        Self::new(&text).ok_or_else(|| TryGetError::Null(format!("{index:?}")))
    }
}

impl TryGetable for Confidence {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        DbId::try_get_by(row, index).map(|score| clamp_score(score.0))
    }
}

/// Clamps a score: adopted rows may contain any number.
fn clamp_score(score: i64) -> Confidence {
    Confidence(score.clamp(0, 100).try_into().unwrap_or(100))
}

/// A time as stored in its column: in UTC if the column has a zone, otherwise in its writer's local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub TimeDateTime);

impl TryGetable for Moment {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        match TimeDateTime::try_get_by(row, index) {
            Err(TryGetError::DbErr(_)) => TimeDateTimeWithTimeZone::try_get_by(row, index).map(|moment| {
                let moment = moment.to_offset(UtcOffset::UTC);
                Self(TimeDateTime::new(moment.date(), moment.time()))
            }),
            read => read.map(Self),
        }
    }
}

/// A JSON document, in a column of type JSON or text. Text that is not JSON is read as a JSON string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(pub serde_json::Value);

impl TryGetable for Document {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        match serde_json::Value::try_get_by(row, index) {
            Err(TryGetError::DbErr(_)) => {
                let text = String::try_get_by(row, index)?;
                Ok(Self(serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text))))
            }
            read => read.map(Self),
        }
    }
}
