//! The identifiers that hostmatch works with, as types of their own.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The longest reference or id kept in a column of ours (VARCHAR(255)).
pub const MAX_TEXT: usize = 255;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

integer_id!(
    /// A company of the gateway (`companies.id`): the tenant.
    CompanyId
);
integer_id!(
    /// An appointment of the gateway (`appointments.id`).
    AppointmentId
);
integer_id!(
    /// A Cal.com user id: a positive 32-bit integer (`User.id` there, `calcom_host_id` INT here).
    HostId
);

impl HostId {
    /// The id, if it lies in the range of Cal.com's ids and of the column: 1 to 2,147,483,647.
    pub fn new(id: i64) -> Option<Self> {
        (1..=i64::from(i32::MAX)).contains(&id).then_some(Self(id))
    }
}

/// A member of staff of the gateway (`staff.id`): an integer or a UUID, as the gateway has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StaffId {
    /// An integer key of any width.
    Integer(i64),
    /// A CHAR(36) or native UUID key, in the spelling of the database.
    Text(String),
}

impl std::fmt::Display for StaffId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(id) => id.fmt(f),
            Self::Text(id) => id.fmt(f),
        }
    }
}

/// The id of an event, by which repeats are told. At most [`MAX_TEXT`] bytes, without NUL.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// Takes the sender's id; one that fits no column is replaced by its hash, so that two
    /// long ids with the same beginning, or two that differ in blanks at the end, stay two.
    pub fn new(id: &str) -> Self {
        if id.len() <= MAX_TEXT && !id.contains('\0') && !id.ends_with(' ') {
            Self(id.to_owned())
        } else {
            Self::of(&[id.as_bytes()])
        }
    }

    /// An id made of what an event without an id is: `sha256:` and the hash of the parts.
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(format!("sha256:{}", hex::encode(hash.finalize())))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for EventId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a booking is called: a Cal.com `uid`, or a numeric `id` as text (the
/// gateway's columns have held both). Compared byte for byte. Never empty, without NUL,
/// at most [`MAX_TEXT`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BookingRef(String);

impl BookingRef {
    /// The reference, unless it is one that no column can hold.
    pub fn new(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.len() <= MAX_TEXT && !text.contains('\0');
        fits.then(|| Self(text.to_owned()))
    }

    /// The reference as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The reference as a number, if it is one in its one plain spelling (`7`, not `07` or `7abc`).
    pub fn as_number(&self) -> Option<i64> {
        self.0.parse().ok().filter(|n: &i64| n.to_string() == self.0)
    }
}

impl std::fmt::Display for BookingRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
