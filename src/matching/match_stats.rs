//! What deciding met on its way, for whoever counts it. Nothing that is written depends on it.

use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::resolver::{Resolution, Review};
use super::strategy::{Confidence, Strategy};
use super::values::words;
use crate::event::HostMissing;

words!(Found);

/// What came of looking for one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Found {
    /// Somebody, who is taken.
    Accepted,
    /// Somebody, not surely enough: a person decides.
    Suggested,
    /// Somebody who cannot be taken: several that cannot be told apart, or switched off by a person.
    Rejected,
    /// Nobody.
    #[strum(serialize = "none")]
    Nobody,
}

/// One look for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The strategy that found somebody, one of the names of [`Strategy`].
    pub(crate) strategy: Option<&'static str>,
    pub(crate) found: Found,
    pub(crate) confidence: Option<Confidence>,
}

/// What was met while a batch was worked out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchStats {
    /// One for each booking of which the host was lookups for.
    pub lookups: Vec<Lookup>,
    /// One for each booking that may assign and has no host, or none with an id.
    pub missing: Vec<HostMissing>,
}

impl MatchStats {
    pub(super) fn count(&mut self, resolution: &Resolution) {
        self.lookups.push(match resolution {
            Resolution::Matched { strategy, candidate } => Lookup {
                strategy: Some(strategy),
                found: Found::Accepted,
                confidence: Some(candidate.confidence),
            },
            Resolution::NeedsReview { review, suggestions } => {
                // The first is that of the strategy which is asked first.
                let best = suggestions.first();
                let named = |name: &str| Strategy::names().find(|known| *known == name);
                let found =
                    if *review == Review::BelowThreshold { Found::Suggested } else { Found::Rejected };
                Lookup {
                    strategy: best.and_then(|best| named(&best.strategy)),
                    found,
                    confidence: best.map(|best| best.confidence),
                }
            }
            Resolution::Unmatched => Lookup { strategy: None, found: Found::Nobody, confidence: None },
        });
    }
}
