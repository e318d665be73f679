//! The words of mappings and their audit trail, each a closed list; and [`Stored`], a word as a column
//! may hold it: tables that a gateway, or a newer program, writes too have words that this build does
//! not know.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::strategy::Strategy;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

pub(crate) use crate::runtime::words;

words!(MappingSource, AuditAction);

/// How a mapping came to be: `mapping_source`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum MappingSource {
    /// A person made it.
    Manual,
    /// A person replaced or confirmed what there was.
    Admin,
    /// A match by e-mail address.
    AutoEmail,
    /// A match by name.
    AutoName,
}

impl MappingSource {
    /// How the sources of matches begin, also of those that other programs make.
    pub(crate) const MATCH_PREFIX: &str = "auto";

    /// Whether a person made the mapping.
    pub fn is_by_person(self) -> bool {
        match self {
            Self::Manual | Self::Admin => true,
            Self::AutoEmail | Self::AutoName => false,
        }
    }

    /// The strategy whose match it was.
    pub fn strategy(self) -> Option<Strategy> {
        match self {
            Self::Manual | Self::Admin => None,
            Self::AutoEmail => Some(Strategy::Email),
            Self::AutoName => Some(Strategy::Name),
        }
    }
}

impl Stored<MappingSource> {
    /// Whether a person made the mapping (strategy `manual`), or something else did (`existing`).
    pub fn is_by_person(&self) -> bool {
        self.known().is_some_and(MappingSource::is_by_person)
    }
}

/// What happened to a mapping: `action` of its audit trail.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum AuditAction {
    /// A person made it, or switched it on again.
    Created,
    /// It was changed; by a machine: switched off, because another took its place.
    Updated,
    /// A person switched it off. Rows stay.
    Deleted,
    /// A match made it, or switched it on again.
    AutoMatched,
    /// A person replaced or confirmed it.
    ManualOverride,
}

/// A word as it is stored: of a list, or one that this build does not know. Such a word is shown and
/// carried on as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stored<T> {
    /// Of the list.
    Known(T),
    /// Of another program's list.
    Unknown(String),
}

impl<T: FromStr> Stored<T> {
    /// The word of a column.
    pub fn read(word: &str) -> Self {
        word.parse().map_or_else(|_| Self::Unknown(word.to_owned()), Self::Known)
    }
}

impl<T: Copy> Stored<T> {
    /// Which of the list it is.
    pub fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }
}

impl<T> From<T> for Stored<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: FromStr> FromStr for Stored<T> {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(Self::read(word))
    }
}

impl<T: AsRef<str>> AsRef<str> for Stored<T> {
    fn as_ref(&self) -> &str {
        match self {
            Self::Known(value) => value.as_ref(),
            Self::Unknown(word) => word,
        }
    }
}

impl<T: AsRef<str>> fmt::Display for Stored<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_ref())
    }
}

impl<T: AsRef<str>> Serialize for Stored<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_ref())
    }
}

impl<'de, T: FromStr> Deserialize<'de> for Stored<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|word| Self::read(&word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_as_it_is_written_and_a_foreign_one_is_carried_on() {
        for source in MappingSource::VARIANTS {
            assert_eq!(Stored::read(source.as_str()), Stored::Known(*source));
        }
        for action in AuditAction::VARIANTS {
            assert_eq!(Stored::read(action.as_str()), Stored::Known(*action));
        }
        let words = ["auto_phone", "Manual", "admin ", ""];
        for word in words {
            let stored = Stored::<MappingSource>::read(word);
            assert_eq!((stored.known(), stored.as_ref(), stored.to_string()), (None, word, word.to_owned()));
            assert_eq!(serde_json::to_value(&stored).unwrap(), word);
            assert!(!stored.is_by_person());
        }
    }

    #[test]
    fn the_sources_of_matches_and_only_those_begin_alike() {
        for source in MappingSource::VARIANTS {
            let begins = source.as_ref().starts_with(MappingSource::MATCH_PREFIX);
            assert_ne!(begins, source.is_by_person(), "{source}");
        }
    }
}
