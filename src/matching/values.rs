//! The closed lists of values in mappings and their audit trail; and [`Stored`], a stored value. A gateway or
//! a newer version also writes these tables, and may use values that this build does not know.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use super::strategy::Strategy;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

pub(crate) use crate::runtime::string_values;

string_values!(MappingSource, AuditAction);

/// How a mapping was created: `mapping_source`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum MappingSource {
    /// A person created it.
    Manual,
    /// A person replaced or confirmed an existing one.
    Admin,
    /// A match by e-mail address.
    AutoEmail,
    /// A match by name.
    AutoName,
}

impl MappingSource {
    /// The prefix of the sources of matches, including those by other programs.
    pub(crate) const MATCH_PREFIX: &str = "auto";

    /// Returns whether a person created the mapping.
    pub fn is_by_person(self) -> bool {
        match self {
            Self::Manual | Self::Admin => true,
            Self::AutoEmail | Self::AutoName => false,
        }
    }

    /// Returns the strategy of the match.
    pub fn strategy(self) -> Option<Strategy> {
        match self {
            Self::Manual | Self::Admin => None,
            Self::AutoEmail => Some(Strategy::Email),
            Self::AutoName => Some(Strategy::Name),
        }
    }
}

impl Stored<MappingSource> {
    /// Returns whether a person created the mapping (strategy `manual`), not a match (`existing`).
    pub fn is_by_person(&self) -> bool {
        self.known().is_some_and(MappingSource::is_by_person)
    }
}

/// A change of a mapping: `action` of its audit trail.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum AuditAction {
    /// A person created it, or switched it on again.
    Created,
    /// The mapping was changed. By a worker: it was switched off, because another mapping replaced it.
    Updated,
    /// A person switched it off. The row stays.
    Deleted,
    /// A match created it, or switched it on again.
    AutoMatched,
    /// A person replaced or confirmed it.
    ManualOverride,
}

/// A stored value of a closed list, or a value that this build does not know. An unknown value is shown and
/// kept unchanged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stored<T> {
    /// A value of the list.
    Known(T),
    /// A value of another program.
    Unknown(String),
}

impl<T: FromStr> Stored<T> {
    /// Parses the value of a column.
    pub fn read(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Unknown(text.to_owned()), Self::Known)
    }
}

impl<T: Copy> Stored<T> {
    /// Returns the value, if it is one of the list.
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

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::read(text))
    }
}

impl<T: AsRef<str>> AsRef<str> for Stored<T> {
    fn as_ref(&self) -> &str {
        match self {
            Self::Known(value) => value.as_ref(),
            Self::Unknown(text) => text,
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
        String::deserialize(deserializer).map(|text| Self::read(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_read_as_written_and_an_unknown_one_is_kept() {
        for source in MappingSource::VARIANTS {
            assert_eq!(Stored::read(source.as_str()), Stored::Known(*source));
        }
        for action in AuditAction::VARIANTS {
            assert_eq!(Stored::read(action.as_str()), Stored::Known(*action));
        }
        let texts = ["auto_phone", "Manual", "admin ", ""];
        for text in texts {
            let stored = Stored::<MappingSource>::read(text);
            assert_eq!((stored.known(), stored.as_ref(), stored.to_string()), (None, text, text.to_owned()));
            assert_eq!(serde_json::to_value(&stored).unwrap(), text);
            assert!(!stored.is_by_person());
        }
    }

    #[test]
    fn only_the_sources_of_matches_have_the_prefix() {
        for source in MappingSource::VARIANTS {
            let has_prefix = source.as_ref().starts_with(MappingSource::MATCH_PREFIX);
            assert_ne!(has_prefix, source.is_by_person(), "{source}");
        }
    }
}
