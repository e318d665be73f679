//! What another threshold or another order of strategies would have decided, had it been so from the
//! beginning: mappings that matching made are left out and made anew, those of people are in force.

use std::collections::HashMap;

use super::changes::MappingRef;
use super::directory::{Directory, HostKey, Mapping};
use super::resolver::{Resolution, Resolver};
use super::strategy::{Candidate, Confidence, Origin};
use super::values::MappingSource;
use crate::event::{CompanyId, Host, StaffId};

/// A chain of strategies under trial. What it has learned grows with the number of hosts.
#[derive(Debug)]
pub struct Simulation {
    resolver: Resolver,
    /// The same without people's mappings.
    alone: Option<Resolver>,
    learned: HashMap<HostKey, Learned>,
}

#[derive(Clone, Debug)]
struct Learned {
    candidate: Candidate,
    strategy: &'static str,
    source: MappingSource,
}

/// What would have been decided on one booking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulated {
    /// By the whole chain. What was learned from an earlier booking counts for the strategy that
    /// found it then.
    pub resolution: Resolution,
    /// Whom a person has mapped the host to, if one has.
    pub by_person: Option<StaffId>,
    /// Whom the chain would have found without that person, where one has mapped the host.
    pub alone: Option<StaffId>,
}

impl Simulated {
    /// Whom the whole chain found, and how.
    pub fn matched(&self) -> Option<(&StaffId, &'static str, Confidence)> {
        match &self.resolution {
            Resolution::Matched { strategy, candidate } => {
                Some((&candidate.staff, strategy, candidate.confidence))
            }
            Resolution::NeedsReview { .. } | Resolution::Unmatched => None,
        }
    }
}

impl Simulation {
    /// A chain of these strategies, in this order.
    ///
    /// # Errors
    /// As [`Resolver::ordered`].
    pub fn new<S: AsRef<str>>(auto_accept: u8, order: &[S]) -> Result<Self, String> {
        let resolver = Resolver::ordered(auto_accept, order)?;
        let others: Vec<&str> = resolver.order().into_iter().filter(|name| *name != "manual").collect();
        let alone = Resolver::ordered(auto_accept, &others).ok();
        Ok(Self { resolver, alone, learned: HashMap::new() })
    }

    /// The names of its strategies, in their order.
    pub fn order(&self) -> Vec<&'static str> {
        self.resolver.order()
    }

    /// Whether a mapping counts from the beginning: a match's own do not, unless a person switched
    /// them off.
    pub fn is_given(mapping: &Mapping) -> bool {
        mapping.is_by_person() || !mapping.is_active
    }

    /// Decides one booking. `directory` has the given mappings of its host, and the company's staff.
    pub fn decide(&mut self, host: &Host, company: CompanyId, directory: &mut Directory) -> Simulated {
        let key = host.id.map(|id| HostKey::new(company, id));
        let learned = key.and_then(|key| Some((key, self.learned.get(&key)?.clone())));
        if let Some((key, learned)) = &learned {
            let is_new = !directory.mappings(*key).iter().any(|it| it.row == MappingRef::New(*key));
            if is_new {
                directory.add_mapping(mapping(*key, learned));
            }
        }
        let by_person = key.and_then(|key| {
            let mappings = directory.mappings(key).iter();
            let mut people = mappings.filter(|it| it.is_active && it.staff_is_valid && it.is_by_person());
            people.next().map(|mapping| mapping.staff.clone())
        });
        let resolution = match (self.resolver.resolve(host, company, directory), learned) {
            (Resolution::Matched { strategy: "existing", .. }, Some((_, learned))) => {
                Resolution::Matched { strategy: learned.strategy, candidate: learned.candidate }
            }
            (resolution, _) => resolution,
        };
        if let (Resolution::Matched { strategy, candidate }, Some(key)) = (&resolution, key)
            && let Origin::Match(source) = candidate.origin
        {
            self.learned.entry(key).or_insert_with(|| Learned {
                candidate: candidate.clone(),
                strategy,
                source,
            });
        }
        let alone = by_person.as_ref().and(self.alone.as_ref()).and_then(|alone| {
            match alone.resolve(host, company, directory) {
                Resolution::Matched { candidate, .. } => Some(candidate.staff),
                Resolution::NeedsReview { .. } | Resolution::Unmatched => None,
            }
        });
        Simulated { resolution, by_person, alone }
    }
}

fn mapping(key: HostKey, learned: &Learned) -> Mapping {
    Mapping {
        row: MappingRef::New(key),
        made_for: key.company,
        company: key.company,
        host: key.host,
        staff: learned.candidate.staff.clone(),
        source: learned.source.into(),
        confidence: learned.candidate.confidence,
        is_active: true,
        staff_is_valid: true,
        switched_off_by_person: false,
    }
}
