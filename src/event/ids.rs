//! The types of the identifiers that hostmatch uses.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// The longest reference or id that fits our columns (VARCHAR(255)), in bytes.
pub const MAX_TEXT: usize = 255;

/// Implements `Display` with the inner value.
macro_rules! display_inner {
    ($($id:ty),+) => {$(
        impl std::fmt::Display for $id {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

display_inner!(CompanyId, AppointmentId, HostId, EventId, BookingRef);

/// A company of the gateway (`companies.id`): the tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CompanyId(pub i64);

/// An appointment of the gateway (`appointments.id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AppointmentId(pub i64);

/// A Cal.com user id: a positive 32-bit integer (`User.id` there, `calcom_host_id` INT here).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HostId(pub i64);

impl HostId {
    /// Returns the id, if it is in the range of Cal.com's ids and of the column: 1 to 2,147,483,647.
    pub fn new(id: i64) -> Option<Self> {
        (1..=i64::from(i32::MAX)).contains(&id).then_some(Self(id))
    }
}

/// A member of staff of the gateway (`staff.id`): an integer, a string or a UUID, as in the gateway.
///
/// A UUID as a string equals the same UUID from a native UUID column: only the type of the column determines
/// the variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StaffId {
    /// An integer key of any width.
    Integer(i64),
    /// A CHAR(36) key in the spelling of the database, or a key as a person entered it.
    Text(String),
    /// A native UUID key. It is never deserialized, because a string may belong to a text column.
    Uuid(Uuid),
}

impl StaffId {
    /// Compares two keys as strings; `None` if one is an integer.
    fn compare_as_text<T>(&self, other: &Self, compare: impl FnOnce(&str, &str) -> T) -> Option<T> {
        let (mut one, mut two) = ([0; Hyphenated::LENGTH], [0; Hyphenated::LENGTH]);
        Some(compare(self.as_text(&mut one)?, other.as_text(&mut two)?))
    }

    fn as_text<'a>(&'a self, buffer: &'a mut [u8; Hyphenated::LENGTH]) -> Option<&'a str> {
        match self {
            Self::Integer(_) => None,
            Self::Text(id) => Some(id),
            Self::Uuid(id) => Some(id.hyphenated().encode_lower(buffer)),
        }
    }
}

/// Parses a key as a person entered it.
impl From<&str> for StaffId {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Integer)
    }
}

impl Ord for StaffId {
    /// Orders integers by value, before strings.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(one), Self::Integer(two)) => one.cmp(two),
            (Self::Uuid(one), Self::Uuid(two)) => one.cmp(two),
            (Self::Integer(_), _) => Ordering::Less,
            (_, Self::Integer(_)) => Ordering::Greater,
            _ => self.compare_as_text(other, str::cmp).unwrap_or(Ordering::Equal),
        }
    }
}

impl PartialOrd for StaffId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for StaffId {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for StaffId {}

impl Hash for StaffId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match (self, self.as_text(&mut [0; Hyphenated::LENGTH])) {
            (_, Some(text)) => text.hash(state),
            (Self::Integer(id), None) => id.hash(state),
            (_, None) => {}
        }
    }
}

impl std::fmt::Display for StaffId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
            Self::Uuid(id) => id.fmt(f),
        }
    }
}

/// The id of an event, which identifies repeats: at most [`MAX_TEXT`] bytes long, without NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// Uses the sender's id. An id that does not fit the column is replaced by its hash, so that two long ids
    /// with the same beginning, or two that differ only in trailing spaces, stay distinct.
    pub fn new(id: &str) -> Self {
        if id.len() <= MAX_TEXT && !id.contains('\0') && !id.ends_with(' ') {
            Self(id.to_owned())
        } else {
            Self::hash_of(&[id.as_bytes()])
        }
    }

    /// Creates an id for an event that has none: `sha256:` and the hash of these parts.
    pub fn hash_of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(format!("sha256:{}", hex::encode(hash.finalize())))
    }

    /// Returns the id as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The reference of a booking: a Cal.com `uid`, or a numeric `id` as a string (the gateway's columns may hold
/// both). It is compared byte for byte. It is never empty, contains no NUL, and is at most [`MAX_TEXT`]
/// bytes long.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BookingRef(String);

impl BookingRef {
    /// Returns the reference; `None` if it does not fit the columns.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_TEXT && !text.contains('\0');
        fits.then(|| Self(text.to_owned()))
    }

    /// Returns the reference as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the reference as a number, if it is a number in canonical form (`7`, not `07` or `7abc`).
    pub fn as_number(&self) -> Option<i64> {
        self.0.parse().ok().filter(|n: &i64| n.to_string() == self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ONE: &str = "00000000-0000-4000-8000-00000000000a";
    const TWO: &str = "00000000-0000-4000-8000-00000000000b";

    fn text(id: &str) -> StaffId {
        StaffId::Text(id.to_owned())
    }

    fn uuid(id: &str) -> StaffId {
        StaffId::Uuid(Uuid::parse_str(id).unwrap())
    }

    #[test]
    fn a_uuid_equals_its_string() {
        assert_eq!(uuid(ONE), text(ONE));
        assert_ne!(uuid(ONE), text(&ONE.to_uppercase()));
        assert_ne!(StaffId::Integer(7), text("7"));
        assert_eq!(HashSet::from([uuid(ONE), text(ONE), uuid(TWO)]).len(), 2);
        let mut keys = [uuid(TWO), text(ONE), text("~"), StaffId::Integer(8), StaffId::Integer(-1)];
        keys.sort();
        assert_eq!(keys, [StaffId::Integer(-1), StaffId::Integer(8), uuid(ONE), text(TWO), text("~")]);
    }

    #[test]
    fn a_key_survives_json() {
        for key in [StaffId::Integer(7), text("01HZX"), uuid(ONE)] {
            let json = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<StaffId>(&json).unwrap(), key, "{json}");
        }
        assert_eq!(serde_json::to_string(&uuid(ONE)).unwrap(), format!("\"{ONE}\""));
    }
}
