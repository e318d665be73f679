//! The chain of strategies: tries them in order of priority and accepts the first acceptable proposal.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::directory::{Directory, HostKey};
use super::strategy::{Candidate, Confidence, Evidence, INVALID_STAFF, Origin, Proposal, Strategy};
use super::values::string_values;
use crate::event::{CompanyId, Host, StaffId};

/// The resolution of a host, in the terms of record linkage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Resolution {
    /// A match.
    Matched {
        /// The strategy that found it.
        strategy: &'static str,
        /// The member of staff, and the evidence.
        #[serde(flatten)]
        candidate: Candidate,
    },
    /// A possible match: a person has to decide.
    NeedsReview {
        /// The reason why a person has to decide.
        review: Review,
        /// The members of staff to suggest, best first.
        suggestions: Vec<Suggestion>,
    },
    /// A non-match: nobody was found.
    Unmatched,
}

string_values!(Review);

/// The reason why a person has to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Review {
    /// There are suggestions, but all are below the threshold.
    BelowThreshold,
    /// One strategy found several members of staff and cannot choose.
    Ambiguous,
    /// A person switched exactly this mapping off.
    SwitchedOff,
}

impl Resolution {
    /// Returns whether it is a match.
    pub fn is_match(&self) -> bool {
        matches!(self, Self::Matched { .. })
    }

    /// Returns the member of staff of a match.
    pub fn into_staff(self) -> Option<StaffId> {
        if let Self::Matched { candidate, .. } = self { Some(candidate.staff) } else { None }
    }
}

/// A member of staff whom a person may accept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// The member of staff.
    pub staff: StaffId,
    /// The strategy that found it.
    pub strategy: String,
    /// Its confidence.
    pub confidence: Confidence,
    /// Its evidence.
    pub evidence: Evidence,
}

/// The result of one strategy, for an explanation.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its priority: the highest is tried first.
    pub priority: u16,
    /// Its name.
    pub strategy: &'static str,
    /// What the strategy searched for. `None` if the host has no such data.
    pub looked_for: Option<String>,
    /// The members of staff that the strategy found.
    pub found: Vec<StepFound>,
    /// The chain's decision on the proposal, as text.
    pub result: String,
}

/// A member of staff that a strategy found. One that was refused has only the id.
#[derive(Clone, Debug, Serialize)]
pub struct StepFound {
    pub(crate) staff: StaffId,
    pub(crate) confidence: Option<u8>,
    pub(crate) evidence: Option<Evidence>,
}

/// The chain of strategies and the threshold for new matches.
#[derive(Debug)]
pub struct Resolver {
    chain: Vec<Strategy>,
    auto_accept: Confidence,
}

/// The resolutions of hosts, each computed once. They determine which rows are locked, and the plan uses
/// them.
#[derive(Debug, Default)]
pub struct Resolved(HashMap<HostKey, Vec<(Host, Resolution)>>);

impl Resolved {
    /// Resolves this host, unless the same host has already been resolved, or has a match.
    pub fn resolve(&mut self, resolver: &Resolver, key: HostKey, host: &Host, directory: &Directory) {
        let known = self.0.entry(key).or_default();
        if !known.iter().any(|(one, found)| one == host || found.is_match()) {
            known.push((host.clone(), resolver.resolve(host, key.company, directory)));
        }
    }

    /// Returns the hosts with a match.
    pub fn matched(&self) -> BTreeSet<HostKey> {
        let hosts = self.0.iter().filter(|(_, known)| known.iter().any(|(_, found)| found.is_match()));
        hosts.map(|(key, _)| *key).collect()
    }

    pub(super) fn get(&self, key: HostKey, host: &Host) -> Option<Resolution> {
        self.0.get(&key)?.iter().find(|(one, _)| one == host).map(|(_, found)| found.clone())
    }

    /// Removes a host whose mappings have changed, so that it is resolved again.
    pub(super) fn forget(&mut self, key: HostKey) {
        self.0.remove(&key);
    }
}

/// The chain's decision on one proposal.
enum Ruling {
    Accept(Candidate),
    Stop(Review, Vec<Candidate>),
    Suggest(Candidate),
    Pass,
}

impl Resolver {
    /// Creates the standard chain. `auto_accept`: from this confidence on, a new match is accepted without
    /// a person.
    pub fn new(auto_accept: u8) -> Self {
        Self { chain: Strategy::VARIANTS.to_vec(), auto_accept: Confidence(auto_accept) }
    }

    /// Creates a chain of only these strategies, in this order. Fails if a name is unknown or occurs twice,
    /// or if `names` is empty.
    pub fn ordered<S: AsRef<str>>(auto_accept: u8, names: &[S]) -> Result<Self, String> {
        let all = Strategy::names().collect::<Vec<_>>().join(", ");
        let mut chain = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            let strategy = name.parse().ok().filter(|one| !chain.contains(one));
            chain.push(strategy.ok_or_else(|| {
                format!("{name:?} is unknown or occurs twice: name each of {all} at most once")
            })?);
        }
        if chain.is_empty() {
            return Err(format!("name at least one of {all}"));
        }
        Ok(Self { chain, auto_accept: Confidence(auto_accept) })
    }

    /// Returns the names of the strategies, in the order in which they are tried.
    pub fn order(&self) -> Vec<&'static str> {
        self.chain.iter().map(|strategy| strategy.as_str()).collect()
    }

    /// Resolves a host in a company.
    pub fn resolve(&self, host: &Host, company: CompanyId, directory: &Directory) -> Resolution {
        let mut suggestions = Vec::new();
        for strategy in &self.chain {
            match self.rule(host, company, directory, strategy.propose(host, company, directory)) {
                Ruling::Accept(candidate) => {
                    return Resolution::Matched { strategy: strategy.as_str(), candidate };
                }
                Ruling::Stop(review, candidates) => {
                    suggestions.extend(candidates.into_iter().map(|c| suggestion(strategy.as_str(), c)));
                    return Resolution::NeedsReview { review, suggestions };
                }
                Ruling::Suggest(candidate) => suggestions.push(suggestion(strategy.as_str(), candidate)),
                Ruling::Pass => {}
            }
        }
        if suggestions.is_empty() {
            Resolution::Unmatched
        } else {
            Resolution::NeedsReview { review: Review::BelowThreshold, suggestions }
        }
    }

    /// Resolves a host of which only the id is known. Only a mapping can match, and no threshold applies.
    pub fn resolve_by_id(&self, key: HostKey, directory: &Directory) -> Resolution {
        self.resolve(&Host { id: Some(key.host), ..Host::default() }, key.company, directory)
    }

    /// Resolves a host, and explains what each strategy searched for, what it found, and how the chain
    /// decided.
    pub fn explain(&self, host: &Host, company: CompanyId, directory: &Directory) -> (Vec<Step>, Resolution) {
        let mut is_decided = false;
        let steps = self.chain.iter().map(|strategy| {
            let proposal = strategy.propose(host, company, directory);
            let looked_for = strategy.search_term(host);
            let is_tried = !is_decided;
            let ruling = self.rule(host, company, directory, proposal.clone());
            is_decided |= matches!(ruling, Ruling::Accept(_) | Ruling::Stop(..));
            let result = match ruling {
                _ if !is_tried => "not tried: an earlier strategy has decided".to_owned(),
                _ if looked_for.is_none() => "the host has no data for this strategy".to_owned(),
                Ruling::Accept(_) => "accepted".to_owned(),
                Ruling::Stop(Review::Ambiguous, candidates) => {
                    format!("ambiguous: {} candidates, a person has to decide", candidates.len())
                }
                Ruling::Stop(..) => "a person switched this mapping off: a person has to decide".to_owned(),
                Ruling::Suggest(candidate) => {
                    format!("{} is below {}: a suggestion", candidate.confidence.0, self.auto_accept.0)
                }
                Ruling::Pass if proposal.rejected.is_empty() => "nobody".to_owned(),
                Ruling::Pass => format!("refused: {INVALID_STAFF}"),
            };
            let found = proposal.candidates.into_iter().map(|it| {
                let (confidence, evidence) = (Some(it.confidence.0), Some(it.evidence));
                StepFound { staff: it.staff, confidence, evidence }
            });
            let refused = proposal.rejected.into_iter();
            let refused = refused.map(|staff| StepFound { staff, confidence: None, evidence: None });
            let found = found.chain(refused).collect();
            Step { priority: strategy.priority(), strategy: strategy.as_str(), looked_for, found, result }
        });
        (steps.collect(), self.resolve(host, company, directory))
    }

    fn rule(&self, host: &Host, company: CompanyId, directory: &Directory, proposal: Proposal) -> Ruling {
        let mut candidates = proposal.candidates;
        // An ambiguous proposal never assigns: two members of staff may share a name or a mailbox.
        if candidates.len() > 1 {
            return Ruling::Stop(Review::Ambiguous, candidates);
        }
        let Some(candidate) = candidates.pop() else { return Ruling::Pass };
        if let Origin::Mapping(_) = candidate.origin {
            return Ruling::Accept(candidate);
        }
        let switched_off = host.id.is_some_and(|id| {
            let known = directory.mappings(HostKey::new(company, id)).iter();
            known
                .filter(|m| m.staff == candidate.staff && m.made_for == company)
                .any(|m| m.switched_off_by_person)
        });
        match candidate {
            candidate if switched_off => Ruling::Stop(Review::SwitchedOff, vec![candidate]),
            candidate if candidate.confidence >= self.auto_accept => Ruling::Accept(candidate),
            candidate => Ruling::Suggest(candidate),
        }
    }
}

fn suggestion(strategy: &str, candidate: Candidate) -> Suggestion {
    let Candidate { staff, confidence, evidence, .. } = candidate;
    Suggestion { staff, strategy: strategy.to_owned(), confidence, evidence }
}
