//! The chain: asks the strategies in order of priority and takes the first acceptable proposal.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, Display, EnumString, IntoStaticStr, VariantArray};

use super::directory::{Directory, HostKey};
use super::strategy::{
    Candidate, Confidence, Email, Evidence, Existing, Manual, Name, Origin, Proposal, Strategy,
};
use super::values::words;
use crate::event::{CompanyId, Host, StaffId};

/// The answer to "who is this host?", in the terms of record linkage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// A match: this one.
    Matched {
        /// The strategy that found it.
        strategy: &'static str,
        /// Who, and why.
        candidate: Candidate,
    },
    /// A possible match: a person has to decide.
    NeedsReview {
        /// What kept the machine from deciding.
        review: Review,
        /// Whom it would suggest, best first.
        suggestions: Vec<Suggestion>,
    },
    /// A non-match: nobody was found.
    Unmatched,
}

words!(Review);

/// What kept the machine from deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(AsRefStr, Display, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Review {
    /// There are suggestions, none of them sure enough.
    BelowThreshold,
    /// One strategy found several and cannot tell them apart.
    Ambiguous,
    /// A person switched this very mapping off.
    SwitchedOff,
}

impl Resolution {
    /// Whether somebody was found.
    pub fn is_match(&self) -> bool {
        matches!(self, Self::Matched { .. })
    }

    /// Who was found.
    pub fn into_staff(self) -> Option<StaffId> {
        if let Self::Matched { candidate, .. } = self { Some(candidate.staff) } else { None }
    }
}

/// A member of staff that a person may accept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suggestion {
    /// Who.
    pub staff: StaffId,
    /// The strategy that found it.
    pub strategy: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// Why.
    pub evidence: Evidence,
}

/// What one strategy said, for explaining.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub strategy: &'static str,
    /// Its priority.
    pub priority: u16,
    /// What it looked for; `None` when the host gave it nothing.
    pub looked_for: Option<String>,
    /// What it found.
    pub proposal: Proposal,
    /// What the chain made of it, in words; `None` when the chain had already ended.
    pub verdict: Option<String>,
}

/// The chain of strategies and the threshold for new matches.
pub struct Resolver {
    chain: Vec<Box<dyn Strategy>>,
    auto_accept: Confidence,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chain: Vec<_> = self.chain.iter().map(|strategy| strategy.name()).collect();
        f.debug_struct("Resolver").field("chain", &chain).field("auto_accept", &self.auto_accept).finish()
    }
}

/// Who some hosts are, each asked about once: what is locked follows from it, and then the plan uses it.
#[derive(Debug, Default)]
pub struct Resolved(HashMap<HostKey, Vec<(Host, Resolution)>>);

impl Resolved {
    /// Asks about this host, unless the same was asked already, or the host is matched.
    pub fn resolve(&mut self, resolver: &Resolver, key: HostKey, host: &Host, directory: &Directory) {
        let known = self.0.entry(key).or_default();
        if !known.iter().any(|(one, found)| one == host || found.is_match()) {
            known.push((host.clone(), resolver.resolve(host, key.company, directory)));
        }
    }

    /// The hosts for whom somebody was found.
    pub fn matched(&self) -> BTreeSet<HostKey> {
        let hosts = self.0.iter().filter(|(_, known)| known.iter().any(|(_, found)| found.is_match()));
        hosts.map(|(key, _)| *key).collect()
    }

    pub(super) fn get(&self, key: HostKey, host: &Host) -> Option<Resolution> {
        self.0.get(&key)?.iter().find(|(one, _)| one == host).map(|(_, found)| found.clone())
    }

    /// Its mappings have changed: it has to be asked about again.
    pub(super) fn forget(&mut self, key: HostKey) {
        self.0.remove(&key);
    }
}

/// What the chain makes of one proposal.
enum Ruling {
    Accept(Candidate),
    Stop(Review, Vec<Candidate>),
    Suggest(Candidate),
    Pass,
}

impl Resolver {
    /// The chain of today. `auto_accept`: a new match is taken on its own from this confidence on.
    pub fn new(auto_accept: u8) -> Self {
        let mut chain: Vec<Box<dyn Strategy>> =
            vec![Box::new(Manual), Box::new(Existing), Box::new(Email), Box::new(Name)];
        chain.sort_by_key(|strategy| std::cmp::Reverse(strategy.priority()));
        Self { chain, auto_accept: Confidence(auto_accept) }
    }

    /// A chain of these strategies alone, asked in this order.
    ///
    /// # Errors
    /// When there is no such strategy, or one is named twice, or none at all.
    pub fn ordered<S: AsRef<str>>(auto_accept: u8, names: &[S]) -> Result<Self, String> {
        let mut known = Self::new(auto_accept).chain;
        let all = known.iter().map(|strategy| strategy.name()).collect::<Vec<_>>().join(", ");
        let mut chain = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            let found = known.iter().position(|strategy| strategy.name() == name);
            let index = found.ok_or_else(|| format!("{name:?}: each of {all} can be named once"))?;
            chain.push(known.remove(index));
        }
        if chain.is_empty() {
            return Err(format!("name at least one of {all}"));
        }
        Ok(Self { chain, auto_accept: Confidence(auto_accept) })
    }

    /// The names of the strategies, in the order in which they are asked.
    pub fn order(&self) -> Vec<&'static str> {
        self.chain.iter().map(|strategy| strategy.name()).collect()
    }

    /// Who is this host, in this company?
    pub fn resolve(&self, host: &Host, company: CompanyId, directory: &Directory) -> Resolution {
        let mut suggestions = Vec::new();
        for strategy in &self.chain {
            match self.rule(host, company, directory, strategy.propose(host, company, directory)) {
                Ruling::Accept(candidate) => {
                    return Resolution::Matched { strategy: strategy.name(), candidate };
                }
                Ruling::Stop(review, candidates) => {
                    suggestions.extend(candidates.into_iter().map(|c| suggestion(strategy.name(), c)));
                    return Resolution::NeedsReview { review, suggestions };
                }
                Ruling::Suggest(candidate) => suggestions.push(suggestion(strategy.name(), candidate)),
                Ruling::Pass => {}
            }
        }
        if suggestions.is_empty() {
            Resolution::Unmatched
        } else {
            Resolution::NeedsReview { review: Review::BelowThreshold, suggestions }
        }
    }

    /// Who is the host of which nothing but its id is known? A mapping alone can say; no threshold is of consequence.
    pub fn mapped(&self, key: HostKey, directory: &Directory) -> Resolution {
        self.resolve(&Host { id: Some(key.host), ..Host::default() }, key.company, directory)
    }

    /// The same question, with what each strategy looked for, found, and what came of it.
    pub fn explain(&self, host: &Host, company: CompanyId, directory: &Directory) -> (Vec<Step>, Resolution) {
        let mut ended = false;
        let steps = self.chain.iter().map(|strategy| {
            let proposal = strategy.propose(host, company, directory);
            let verdict = (!ended).then(|| match self.rule(host, company, directory, proposal.clone()) {
                Ruling::Accept(_) => {
                    ended = true;
                    "taken".to_owned()
                }
                Ruling::Stop(Review::Ambiguous, candidates) => {
                    ended = true;
                    format!("ambiguous: {} candidates, a person has to decide", candidates.len())
                }
                Ruling::Stop(..) => {
                    ended = true;
                    "a person switched this mapping off: a person has to decide".to_owned()
                }
                Ruling::Suggest(candidate) => {
                    format!("{} is below {}: a suggestion", candidate.confidence.0, self.auto_accept.0)
                }
                Ruling::Pass => proposal
                    .rejected
                    .first()
                    .map_or_else(|| "nobody".to_owned(), |r| format!("refused: {}", r.why)),
            });
            let looked_for = strategy.looks_for(host);
            Step { strategy: strategy.name(), priority: strategy.priority(), looked_for, proposal, verdict }
        });
        (steps.collect(), self.resolve(host, company, directory))
    }

    fn rule(&self, host: &Host, company: CompanyId, directory: &Directory, proposal: Proposal) -> Ruling {
        let mut candidates = proposal.candidates;
        // Ambiguity never assigns: two staff with one name, or one shared mailbox.
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
