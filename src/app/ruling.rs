//! Determines from the facts about a host, without I/O, what a decision changes or why it is refused.

use std::collections::BTreeMap;

use super::decision::{Before, Command, Decision, Effect, Refusal};
use crate::event::{self, CompanyId, StaffId};
use crate::matching::{AuditAction, Confidence, MappingSource, mapped_host};
use crate::store::{AuditRow, Change, HostFacts, MappingRow, MappingState, RowChange, RowTarget, StaffFact};

/// The confidence of a person's decision.
const CERTAIN: Confidence = Confidence(100);

/// The changes that a decision makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) effect: Effect,
    /// The changed rows, those that are switched off first.
    pub(super) rows: Vec<RowChange>,
    /// The mapping of the decision. `None` for a new one.
    pub(super) mapping: Option<i64>,
    pub(super) staff: Option<StaffFact>,
    pub(super) before: Vec<Before>,
    /// Whether the host has no mapping in force afterwards.
    pub(super) needs_person: bool,
}

/// Decides what a person's decision changes. `staff` contains the members of staff in decisions, by id.
/// `since` contains the audit rows that are newer than those to revert, oldest first.
pub(super) fn rule(
    decision: &Decision,
    facts: &HostFacts,
    staff: &BTreeMap<StaffId, StaffFact>,
    since: &[AuditRow],
) -> Result<Ruling, Refusal> {
    if decision.expected_audit.is_some_and(|expected| expected != facts.last_audit) {
        return Err(Refusal::ChangedMeanwhile(facts.key.host));
    }
    let host = Host::of(facts);
    match &decision.command {
        Command::Set(id) => host.set(decision, staff.get(id).ok_or_else(|| Refusal::NoStaff(id.clone()))?),
        Command::SwitchOff(id) => host.switch(*id, false),
        Command::SwitchOn(id) => host.switch(*id, true),
        Command::Revert(change) => host.revert(change, since),
    }
}

/// A host, with the mappings of its own company.
struct Host<'a> {
    facts: &'a HostFacts,
    own: Vec<&'a MappingRow>,
}

impl<'a> Host<'a> {
    fn of(facts: &'a HostFacts) -> Self {
        let own = facts.mappings.iter().filter(|row| row.company() == Some(facts.key.company)).collect();
        Self { facts, own }
    }

    fn company(&self) -> CompanyId {
        self.facts.key.company
    }

    fn active(&self) -> impl Iterator<Item = &'a MappingRow> + '_ {
        self.own.iter().copied().filter(|row| row.state.is_active)
    }

    fn before(&self) -> Vec<Before> {
        self.active()
            .map(|row| Before {
                mapping: row.id,
                staff: row.staff.id.clone(),
                staff_name: row.staff.name.clone(),
                source: row.state.source.clone(),
                confidence: row.state.confidence,
            })
            .collect()
    }

    /// Creates a ruling about this mapping with these changed rows.
    fn ruled(
        &self,
        effect: Effect,
        rows: Vec<RowChange>,
        about: Option<&MappingRow>,
        needs_person: bool,
    ) -> Ruling {
        let (mapping, staff) = about.map(|row| (row.id, row.staff.clone())).unzip();
        Ruling { effect, rows, mapping, staff, before: self.before(), needs_person }
    }

    fn unchanged(&self, about: Option<&MappingRow>) -> Ruling {
        self.ruled(Effect::Unchanged, Vec::new(), about, self.active().next().is_none())
    }

    fn set(&self, decision: &Decision, staff: &StaffFact) -> Result<Ruling, Refusal> {
        valid(staff, self.company())?;
        if !self.facts.is_known && !decision.may_be_new {
            return Err(Refusal::UnknownHost(self.facts.key.company, self.facts.key.host));
        }
        // The mapping may belong to another company, from which the member of staff has moved here.
        let mine = self.facts.mappings.iter().find(|row| row.staff.id == staff.id);
        let in_force = mine.filter(|row| row.state.is_active && row.company() == Some(self.company()));
        let others: Vec<&MappingRow> = self.active().filter(|row| row.staff.id != staff.id).collect();
        if let Some(row) = in_force.filter(|row| row.state.is_by_person() && others.is_empty()) {
            return Ok(self.unchanged(Some(row)));
        }
        let effect = match (others.is_empty(), in_force) {
            (false, _) => Effect::Replaced,
            (true, Some(_)) => Effect::Confirmed,
            (true, None) => Effect::Made,
        };
        let (source, action) = if effect == Effect::Made {
            (MappingSource::Manual, AuditAction::Created)
        } else {
            (MappingSource::Admin, AuditAction::ManualOverride)
        };
        let to = MappingState {
            company: Some(self.company()),
            is_active: true,
            source: source.into(),
            confidence: CERTAIN,
        };
        let mut rows: Vec<RowChange> =
            others.iter().map(|row| switched(row, false, AuditAction::Deleted)).collect();
        rows.push(match mine {
            Some(row) => change(row, to, action),
            None => RowChange {
                row: RowTarget::New(Box::new(self.snapshot(decision))),
                staff: staff.id.clone(),
                from: None,
                to,
                action,
            },
        });
        let (mapping, staff) = (mine.map(|row| row.id), Some(staff.clone()));
        Ok(Ruling { effect, rows, mapping, staff, before: self.before(), needs_person: false })
    }

    /// Returns the host's newest data: from its bookings, else from its newest mapping.
    fn snapshot(&self, decision: &Decision) -> event::Host {
        let booked = || Some(self.facts.inbox.as_ref()?.host.clone());
        let mapped = || {
            let row = self.own.iter().max_by_key(|row| row.id)?;
            Some(event::Host {
                name: Some(row.name.clone()),
                email: Some(row.email.clone()),
                username: row.username.clone(),
                time_zone: row.time_zone.clone(),
                ..event::Host::default()
            })
        };
        let host = decision.snapshot.clone().or_else(booked).or_else(mapped).unwrap_or_default();
        mapped_host(&host).0
    }

    fn switch(&self, id: i64, on: bool) -> Result<Ruling, Refusal> {
        let row = self.own.iter().copied().find(|row| row.id == id);
        let row = row.ok_or(Refusal::NoMapping(self.company(), id))?;
        if row.state.is_active == on {
            return Ok(self.unchanged(Some(row)));
        }
        let other = self.active().find(|other| other.id != id);
        if on {
            valid(&row.staff, self.company())?;
            if let Some(other) = other {
                return Err(self.taken(other));
            }
        }
        let (effect, action) = match on {
            true => (Effect::SwitchedOn, AuditAction::Created),
            false => (Effect::SwitchedOff, AuditAction::Deleted),
        };
        Ok(self.ruled(effect, vec![switched(row, on, action)], Some(row), !on && other.is_none()))
    }

    /// Returns the refusal because this other mapping is in force.
    fn taken(&self, other: &MappingRow) -> Refusal {
        let (host, staff) = (self.facts.key.host, other.staff.id.clone());
        Refusal::Taken { host, mapping: other.id, staff }
    }

    fn revert(&self, taken_back: &Change, since: &[AuditRow]) -> Result<Ruling, Refusal> {
        let mut rows = Vec::new();
        let mut states: BTreeMap<i64, (&MappingRow, MappingState)> =
            self.own.iter().map(|row| (row.id, (*row, row.state.clone()))).collect();
        // A row may have been another company's before the change, or after it.
        for row in &self.facts.mappings {
            let is_affected = taken_back.rows.iter().any(|audit| audit.mapping == Some(row.id));
            if is_affected {
                states.entry(row.id).or_insert_with(|| (row, row.state.clone()));
            }
        }
        for audit in taken_back.rows.iter().rev() {
            let mapping = audit.mapping.ok_or(Refusal::NotRevertible(audit.id))?;
            let (row, state) = states.get_mut(&mapping).ok_or(Refusal::NoMapping(self.company(), mapping))?;
            match still_in_force(audit, since).as_slice() {
                [] => continue, // It was reverted before.
                [only] if only.id == audit.id => {}
                [.., newest] => return Err(Refusal::ChangedSince { mapping, by: Some(newest.id) }),
            }
            let new = audit.new.as_ref().ok_or(Refusal::NotRevertible(audit.id))?;
            let after = state.with(new).ok_or(Refusal::NotRevertible(audit.id))?;
            if after != *state {
                // The gateway changed the row without an audit row.
                return Err(Refusal::ChangedSince { mapping, by: None });
            }
            let to = match &audit.old {
                Some(old) => state.with(old).ok_or(Refusal::NotRevertible(audit.id))?,
                // This change created the row; rows are never deleted.
                None => MappingState { is_active: false, ..state.clone() },
            };
            if to != *state {
                let action = match (state.is_active, to.is_active) {
                    (true, false) => AuditAction::Deleted,
                    (false, true) => AuditAction::Created,
                    _ => AuditAction::Updated,
                };
                rows.push(change(row, to.clone(), action));
                *state = to;
            }
        }
        let company = self.company();
        let of_company = |(row, state): &&(&MappingRow, MappingState)| {
            state.company.or(row.staff.company) == Some(company)
        };
        let active: Vec<_> =
            states.values().filter(of_company).filter(|(_, state)| state.is_active).collect();
        let touched = |id: i64| rows.iter().any(|change| change.row == RowTarget::Row(id));
        if active.len() > 1
            && let Some((row, _)) = active.iter().find(|(row, _)| !touched(row.id))
        {
            return Err(self.taken(row));
        }
        let in_force = active.first().map(|(row, _)| *row);
        if rows.is_empty() {
            return Ok(self.unchanged(in_force));
        }
        rows.sort_by_key(|change| change.to.is_active);
        Ok(self.ruled(Effect::Reverted, rows, in_force, in_force.is_none()))
    }
}

/// Returns a change of a row and the later changes of that row, without the reverted ones.
fn still_in_force<'a>(audit: &'a AuditRow, since: &'a [AuditRow]) -> Vec<&'a AuditRow> {
    let mut still_in_force = vec![audit];
    for later in since.iter().filter(|later| later.mapping == audit.mapping && later.id > audit.id) {
        match still_in_force.last() {
            Some(last) if later.takes_back(last) => _ = still_in_force.pop(),
            _ => still_in_force.push(later),
        }
    }
    still_in_force
}

/// Checks whether hosts of this company may be mapped to this member of staff.
pub(super) fn valid(staff: &StaffFact, company: CompanyId) -> Result<(), Refusal> {
    let id = || staff.id.clone();
    match staff {
        staff if staff.company != Some(company) => Err(Refusal::Foreign { staff: id(), company }),
        staff if staff.is_deleted => Err(Refusal::Deleted(id())),
        staff if !staff.is_active => Err(Refusal::Inactive(id())),
        _ => Ok(()),
    }
}

fn change(row: &MappingRow, to: MappingState, action: AuditAction) -> RowChange {
    let (staff, from) = (row.staff.id.clone(), Some(row.state.clone()));
    RowChange { row: RowTarget::Row(row.id), staff, from, to, action }
}

fn switched(row: &MappingRow, is_active: bool, action: AuditAction) -> RowChange {
    change(row, MappingState { is_active, ..row.state.clone() }, action)
}
