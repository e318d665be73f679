//! The data that was loaded for a batch: the mappings of its hosts, and the staff of those companies
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
    /// Returns the key of this host in this company.
    pub const fn new(company: CompanyId, host: HostId) -> Self {
        Self { company, host }
    }
}

/// Everything that the strategies may use.
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

    /// Removes the loaded mappings of a host (before they are read again under its lock).
    pub fn forget_mappings(&mut self, key: HostKey) {
        self.mappings.remove(&key);
    }

    /// Adds what another directory has and this one does not.
    pub(super) fn add_missing(&mut self, more: Self) {
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

    /// Sets the newest audit row of a host.
    pub fn set_last_audit(&mut self, key: HostKey, id: i64) {
        self.last_audits.insert(key, id);
    }

    /// Returns the newest audit row of a host; 0 if there is none. The id distinguishes one change of its
    /// mappings from the next, even after a mapping's row was deleted.
    pub fn last_audit(&self, key: HostKey) -> i64 {
        self.last_audits.get(&key).copied().unwrap_or(0)
    }

    /// Returns the active staff of a company, if they were loaded.
    pub fn roster(&self, company: CompanyId) -> Option<&Roster> {
        self.rosters.get(&company)
    }

    /// Returns the mappings of a host, active or not.
    pub fn mappings(&self, key: HostKey) -> &[Mapping] {
        self.mappings.get(&key).map_or(&[], Vec::as_slice)
    }

    /// Returns the active mappings of a host that a person created or, with `by_person` false, those that a
    /// match created, valid or not. hostmatch leaves at most one active, but a gateway may write more.
    pub(super) fn active_mappings(&self, key: HostKey, by_person: bool) -> impl Iterator<Item = &Mapping> {
        let active = self.mappings(key).iter().filter(|mapping| mapping.is_active);
        active.filter(move |mapping| mapping.is_by_person() == by_person)
    }

    /// Returns the member of staff to whom a person has mapped the host, if the mapping is valid.
    pub fn mapped_by_person(&self, key: HostKey) -> Option<&StaffId> {
        self.active_mappings(key, true).find(|mapping| mapping.staff_is_valid).map(|mapping| &mapping.staff)
    }

    /// Returns whether the host has a valid mapping and no other that contradicts it.
    pub fn is_mapped(&self, key: HostKey) -> bool {
        let count_staff = |by_person| {
            let valid = self.active_mappings(key, by_person).filter(|mapping| mapping.staff_is_valid);
            valid.map(|mapping| &mapping.staff).collect::<BTreeSet<_>>().len()
        };
        // A mapping by a person takes precedence over one by a match.
        match count_staff(true) {
            0 => count_staff(false) == 1,
            count => count == 1,
        }
    }

    pub(super) fn mappings_mut(&mut self, key: HostKey) -> &mut Vec<Mapping> {
        self.mappings.entry(key).or_default()
    }
}

/// One row of `calcom_host_mappings`, with the facts that decisions need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The row, or the key if this batch creates the mapping.
    pub row: MappingRef,
    /// The company for which the mapping was created. It differs from `company` if the member of staff has
    /// moved; in that case the mapping is not valid, but still prevents a new row.
    pub made_for: CompanyId,
    /// The company for which it was loaded.
    pub company: CompanyId,
    /// The Cal.com user.
    pub host: HostId,
    /// The member of staff.
    pub staff: StaffId,
    /// The way in which the mapping was created.
    pub source: Stored<MappingSource>,
    /// The confidence with which it was created.
    pub confidence: Confidence,
    /// Whether the mapping is active, that is, not switched off.
    pub is_active: bool,
    /// Whether the member of staff is active, not deleted, and in this company.
    pub staff_is_valid: bool,
    /// Whether a person (or an unknown actor) switched the mapping off, so that no match switches it on
    /// again.
    pub switched_off_by_person: bool,
}

impl Mapping {
    /// Returns the key for which it was loaded.
    pub fn key(&self) -> HostKey {
        HostKey::new(self.company, self.host)
    }

    /// Returns whether a person created it (strategy `manual`), not a match (`existing`).
    pub fn is_by_person(&self) -> bool {
        self.source.is_by_person()
    }
}

/// A member of staff who is active and not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staff {
    /// `staff.id`
    pub id: StaffId,
    /// The full name: one column, or first and last name with a space between them.
    pub name: String,
    /// The e-mail address, if there is one.
    pub email: Option<String>,
}

/// The active staff of one company, indexed by what strategies search for.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    staff: Vec<Staff>,
    by_email: HashMap<String, Vec<usize>>,
    by_name: HashMap<String, Vec<usize>>,
}

impl Roster {
    /// Indexes the staff of a company. Their order determines the order of suggestions.
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

    /// Returns all members of staff.
    pub fn staff(&self) -> &[Staff] {
        &self.staff
    }

    /// Returns the members of staff with this normalised address.
    pub fn with_email<'a>(&'a self, email: &str) -> impl Iterator<Item = &'a Staff> + use<'a> {
        self.by_email.get(email).into_iter().flatten().map(|index| &self.staff[*index])
    }

    /// Returns the members of staff with this normalised name.
    pub fn with_name<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Staff> + use<'a> {
        self.by_name.get(name).into_iter().flatten().map(|index| &self.staff[*index])
    }
}

/// Normalises a name for comparison: trims it, collapses spaces, and converts it to NFC and lower case
/// (Unicode).
pub fn normal_name(name: &str) -> String {
    let mut words = name.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_ascii() {
        words.make_ascii_lowercase();
        return words;
    }
    // Lower-casing can decompose (İ), so compose again afterwards.
    words.nfc().collect::<String>().to_lowercase().nfc().collect()
}
