//! What was loaded for a batch: the mappings of its hosts, and the staff of those companies
//! whose hosts have no valid mapping.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;
use unicode_normalization::UnicodeNormalization;

use super::changes::MappingRef;
use super::strategy::Confidence;
use super::values::{MappingSource, Stored};
use crate::event::{CompanyId, HostId, StaffId, normal_email};

/// A host within a company: the key of mappings, inbox rows and locks. Ordered by company and then by
/// host: the order in which locks are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct HostKey {
    /// The tenant.
    pub company: CompanyId,
    /// The Cal.com user.
    pub host: HostId,
}

impl HostKey {
    /// This host in this company.
    pub const fn new(company: CompanyId, host: HostId) -> Self {
        Self { company, host }
    }
}

/// Everything that the strategies may look at.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    rosters: HashMap<CompanyId, Roster>,
    mappings: HashMap<HostKey, Vec<Mapping>>,
    last_audits: HashMap<HostKey, i64>,
}

impl Directory {
    /// Adds the active staff of a company.
    pub fn add_roster(&mut self, company: CompanyId, staff: Vec<Staff>) {
        self.rosters.insert(company, Roster::new(staff));
    }

    /// Adds a mapping, active or not.
    pub fn add_mapping(&mut self, mapping: Mapping) {
        self.mappings.entry(mapping.key()).or_default().push(mapping);
    }

    /// Forgets what is known of the mappings of a host (before they are read again under its lock).
    pub fn forget_mappings(&mut self, key: HostKey) {
        self.mappings.remove(&key);
    }

    /// Adds what another one knows and this one does not.
    pub(super) fn absorb(&mut self, more: Self) {
        for (company, roster) in more.rosters {
            self.rosters.entry(company).or_insert(roster);
        }
        for (key, mappings) in more.mappings {
            self.mappings.entry(key).or_insert(mappings);
        }
        for (key, id) in more.last_audits {
            self.last_audits.entry(key).or_insert(id);
        }
    }

    /// Notes the newest audit row of a host.
    pub fn set_last_audit(&mut self, key: HostKey, id: i64) {
        self.last_audits.insert(key, id);
    }

    /// The newest audit row of a host, 0 when there is none: tells one change of its mappings from
    /// the next, also after a mapping's row was deleted.
    pub fn last_audit(&self, key: HostKey) -> i64 {
        self.last_audits.get(&key).copied().unwrap_or(0)
    }

    /// The active staff of a company, if it was loaded.
    pub fn roster(&self, company: CompanyId) -> Option<&Roster> {
        self.rosters.get(&company)
    }

    /// The mappings of a host, active or not.
    pub fn mappings(&self, key: HostKey) -> &[Mapping] {
        self.mappings.get(&key).map_or(&[], Vec::as_slice)
    }

    /// The active mappings of a host that a person made, or else those that a match did, whether they
    /// count or not. One of ours at most; but a gateway may write more beside it.
    pub(super) fn active_mappings(&self, key: HostKey, by_person: bool) -> impl Iterator<Item = &Mapping> {
        let active = self.mappings(key).iter().filter(|mapping| mapping.is_active);
        active.filter(move |mapping| mapping.is_by_person() == by_person)
    }

    /// To whom a person has mapped the host, while that counts.
    pub fn mapped_by_person(&self, key: HostKey) -> Option<&StaffId> {
        self.active_mappings(key, true).find(|mapping| mapping.staff_is_valid).map(|mapping| &mapping.staff)
    }

    /// Whether the host has a mapping that counts, and no other that says otherwise.
    pub fn is_mapped(&self, key: HostKey) -> bool {
        let people = |by_person| {
            let valid = self.active_mappings(key, by_person).filter(|mapping| mapping.staff_is_valid);
            valid.map(|mapping| &mapping.staff).collect::<BTreeSet<_>>().len()
        };
        // A person's word stands above that of a match.
        match people(true) {
            0 => people(false) == 1,
            count => count == 1,
        }
    }

    pub(super) fn mappings_mut(&mut self, key: HostKey) -> &mut Vec<Mapping> {
        self.mappings.entry(key).or_default()
    }
}

/// One row of `calcom_host_mappings`, and what has to be known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The row; or that it is to be made by this batch.
    pub row: MappingRef,
    /// The company for which it was made. Another than the key's company when the member of
    /// staff has moved; then it does not count, but stands in the way of a new row.
    pub made_for: CompanyId,
    /// The company in whose name it was looked up.
    pub company: CompanyId,
    /// The Cal.com user.
    pub host: HostId,
    /// The member of staff.
    pub staff: StaffId,
    /// How it came to be.
    pub source: Stored<MappingSource>,
    /// With which it was made.
    pub confidence: Confidence,
    /// Not switched off.
    pub is_active: bool,
    /// The member of staff is active, not deleted, and in this company.
    pub staff_is_valid: bool,
    /// It is off, and that was a person's doing (or nobody knows whose): no match turns it on again.
    pub switched_off_by_person: bool,
}

impl Mapping {
    /// Under which it was looked up.
    pub fn key(&self) -> HostKey {
        HostKey::new(self.company, self.host)
    }

    /// Whether a person made it (strategy `manual`) or a match did (`existing`).
    pub fn is_by_person(&self) -> bool {
        self.source.is_by_person()
    }
}

/// A member of staff who is active and not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staff {
    /// `staff.id`
    pub id: StaffId,
    /// The full name: one column, or first and last name with a blank between.
    pub name: String,
    /// The e-mail address, if there is one.
    pub email: Option<String>,
}

/// The active staff of one company, indexed by what strategies look for.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    staff: Vec<Staff>,
    by_email: HashMap<String, Vec<usize>>,
    by_name: HashMap<String, Vec<usize>>,
}

impl Roster {
    /// Indexes the staff of a company. Their order decides the order of suggestions.
    pub fn new(staff: Vec<Staff>) -> Self {
        let mut roster = Self { staff, ..Self::default() };
        for (index, member) in roster.staff.iter().enumerate() {
            if let Some(email) = member.email.as_deref().map(normal_email).filter(|email| !email.is_empty()) {
                roster.by_email.entry(email).or_default().push(index);
            }
            let name = normal_name(&member.name);
            if !name.is_empty() {
                roster.by_name.entry(name).or_default().push(index);
            }
        }
        roster
    }

    /// Everybody.
    pub fn staff(&self) -> &[Staff] {
        &self.staff
    }

    /// Those with this normalised address.
    pub fn with_email<'a>(&'a self, email: &str) -> impl Iterator<Item = &'a Staff> + use<'a> {
        self.by_email.get(email).into_iter().flatten().map(|index| &self.staff[*index])
    }

    /// Those with this normalised name.
    pub fn with_name<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Staff> + use<'a> {
        self.by_name.get(name).into_iter().flatten().map(|index| &self.staff[*index])
    }
}

/// A name for comparing: trimmed, blanks collapsed, NFC, Unicode-lower-cased.
pub fn normal_name(name: &str) -> String {
    let mut words = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_ascii() {
        words.make_ascii_lowercase();
        return words;
    }
    // Lower-casing can decompose (İ), so the composition comes after it as well.
    words.nfc().collect::<String>().to_lowercase().nfc().collect()
}
