//! Values that are kept as something simpler: texts that are checked, scores, moments, JSON.

use sea_orm::prelude::{TimeDateTime, TimeDateTimeWithTimeZone};
use sea_orm::sea_query::{ArrayType, ColumnType, Nullable, ValueType, ValueTypeErr};
use sea_orm::{ColIdx, DbErr, QueryResult, TryFromU64, TryGetError, TryGetable, Value};
use time::UtcOffset;

use super::DbId;
use crate::event::{BookingRef, EventId};
use crate::matching::Confidence;

/// What makes a newtype a column of the type that it is kept as.
macro_rules! kept_as {
    ($($name:ident as $kept:ty),+ $(,)?) => {$(
        impl ValueType for $name {
            fn try_from(value: Value) -> Result<Self, ValueTypeErr> {
                Self::of_kept(<$kept as ValueType>::try_from(value)?).ok_or(ValueTypeErr)
            }

            fn type_name() -> String {
                stringify!($name).to_owned()
            }

            fn array_type() -> ArrayType {
                <$kept as ValueType>::array_type()
            }

            fn column_type() -> ColumnType {
                <$kept as ValueType>::column_type()
            }
        }

        impl Nullable for $name {
            fn null() -> Value {
                <$kept as Nullable>::null()
            }
        }
    )+};
}

kept_as!(EventId as String, BookingRef as String, Confidence as i16, Moment as TimeDateTime);
kept_as!(Document as serde_json::Value);

impl EventId {
    fn of_kept(text: String) -> Option<Self> {
        Some(Self::new(&text))
    }
}

impl From<EventId> for Value {
    fn from(id: EventId) -> Self {
        id.as_str().into()
    }
}

impl TryGetable for EventId {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        String::try_get_by(row, index).map(|id| Self::new(&id))
    }
}

impl TryFromU64 for EventId {
    fn try_from_u64(_: u64) -> Result<Self, DbErr> {
        Err(DbErr::ConvertFromU64("EventId"))
    }
}

impl BookingRef {
    fn of_kept(text: String) -> Option<Self> {
        Self::new(&text)
    }
}

impl From<BookingRef> for Value {
    fn from(reference: BookingRef) -> Self {
        reference.as_str().into()
    }
}

impl TryGetable for BookingRef {
    /// A text that is no reference reads as NULL.
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        let text = String::try_get_by(row, index)?;
        Self::new(&text).ok_or_else(|| TryGetError::Null(format!("{index:?}")))
    }
}

impl Confidence {
    /// Adopted rows may hold any number.
    fn of_kept(score: i16) -> Option<Self> {
        Some(Self::within(score.into()))
    }

    fn within(score: i64) -> Self {
        Self(score.clamp(0, 100).try_into().unwrap_or(100))
    }
}

impl From<Confidence> for Value {
    fn from(confidence: Confidence) -> Self {
        i16::from(confidence.0).into()
    }
}

impl TryGetable for Confidence {
    fn try_get_by<I: ColIdx>(row: &QueryResult, index: I) -> Result<Self, TryGetError> {
        DbId::try_get_by(row, index).map(|score| Self::within(score.0))
    }
}

/// A moment as its column shows it: in UTC where the column has a zone, else in the zone of whoever wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub TimeDateTime);

impl Moment {
    fn of_kept(time: TimeDateTime) -> Option<Self> {
        Some(Self(time))
    }
}

impl From<Moment> for Value {
    fn from(moment: Moment) -> Self {
        moment.0.into()
    }
}

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

/// A JSON document, in a column of JSON or of text. A text that is none reads as a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document(pub serde_json::Value);

impl Document {
    fn of_kept(value: serde_json::Value) -> Option<Self> {
        Some(Self(value))
    }
}

impl From<Document> for Value {
    fn from(document: Document) -> Self {
        document.0.into()
    }
}

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
