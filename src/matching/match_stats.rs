//! Statistics of a plan, for metrics. They do not influence which rows are written.

use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::resolver::{Resolution, Review};
use super::strategy::{Confidence, Strategy};
use super::values::string_values;
use crate::event::HostMissing;

string_values!(LookupResult);

/// The result of one host lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LookupResult {
    /// A member of staff was found and accepted.
    Accepted,
    /// A member of staff was found, but with too little confidence: a person decides.
    Suggested,
    /// No member of staff can be accepted: several are equally likely, or a person switched the mapping off.
    Rejected,
    /// Nobody was found.
    #[strum(serialize = "none")]
    Nobody,
}

/// One host lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The strategy that found a member of staff, one of the names of [`Strategy`].
    pub(crate) strategy: Option<&'static str>,
    pub(crate) result: LookupResult,
    pub(crate) confidence: Option<Confidence>,
}

/// The statistics of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MatchStats {
    /// A lookup for each booking whose host was looked up.
    pub lookups: Vec<Lookup>,
    /// A reason for each booking that could assign staff but has no host, or only hosts without an id.
    pub missing: Vec<HostMissing>,
}

impl MatchStats {
    pub(super) fn count(&mut self, resolution: &Resolution) {
        self.lookups.push(match resolution {
            Resolution::Matched { strategy, candidate } => Lookup {
                strategy: Some(strategy),
                result: LookupResult::Accepted,
                confidence: Some(candidate.confidence),
            },
            Resolution::NeedsReview { review, suggestions } => {
                // The first suggestion is from the strategy with the highest priority.
                let best = suggestions.first();
                let named = |name: &str| Strategy::names().find(|known| *known == name);
                let result = if *review == Review::BelowThreshold {
                    LookupResult::Suggested
                } else {
                    LookupResult::Rejected
                };
                Lookup {
                    strategy: best.and_then(|best| named(&best.strategy)),
                    result,
                    confidence: best.map(|best| best.confidence),
                }
            }
            Resolution::Unmatched => {
                Lookup { strategy: None, result: LookupResult::Nobody, confidence: None }
            }
        });
    }
}
