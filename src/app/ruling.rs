//! Determines from the facts about a host, without I/O, what a decision changes or why it is refused.

use std::collections::BTreeMap;

use super::decision::{Command, Decision, Effect, PreviousMapping, Refusal};
use crate::event::{self, CompanyId, StaffId};
use crate::matching::{AuditAction, Confidence, MappingSource, mapped_host};
use crate::store::{AuditRow, Change, HostFacts, MappingRow, MappingState, RowChange, RowTarget, StaffFact};

/// The confidence of a person's decision.
const CERTAIN: Confidence = Confidence(100);

/// The changes that a decision makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ruling {
    pub(super) effect: Effect,
    /// The changed rows; those that are switched off come first.
    pub(super) rows: Vec<RowChange>,
    /// The id of the decision's mapping. `None` for a new mapping.
    pub(super) mapping: Option<i64>,
    pub(super) staff: Option<StaffFact>,
    pub(super) before: Vec<PreviousMapping>,
    /// Whether the host has no mapping in force afterwards, so that a person has to decide.
    pub(super) needs_person: bool,
}

/// Determines what a person's decision changes. `staff` contains the members of staff that decisions name, by
/// id. `since` contains the audit rows that are newer than those to revert, oldest first.
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
        Command::SwitchOff(id) => host.set_mapping_active(*id, false),
        Command::SwitchOn(id) => host.set_mapping_active(*id, true),
        Command::Revert(change) => host.revert(change, since),
    }
}

/// A host, with its mappings in its own company.
struct Host<'a> {
    facts: &'a HostFacts,
    own_mappings: Vec<&'a MappingRow>,
}

impl<'a> Host<'a> {
    fn of(facts: &'a HostFacts) -> Self {
        let own_mappings =
            facts.mappings.iter().filter(|row| row.company() == Some(facts.key.company)).collect();
        Self { facts, own_mappings }
    }

    fn company(&self) -> CompanyId {
        self.facts.key.company
    }

    fn active_mappings(&self) -> impl Iterator<Item = &'a MappingRow> + '_ {
        self.own_mappings.iter().copied().filter(|row| row.state.is_active)
    }

    fn previous_mappings(&self) -> Vec<PreviousMapping> {
        self.active_mappings()
            .map(|row| PreviousMapping {
                mapping: row.id,
                staff: row.staff.id.clone(),
                staff_name: row.staff.name.clone(),
                source: row.state.source.clone(),
                confidence: row.state.confidence,
            })
            .collect()
    }

    /// Creates a ruling about this mapping with these changed rows.
    fn ruling(
        &self,
        effect: Effect,
        rows: Vec<RowChange>,
        mapping: Option<&MappingRow>,
        needs_person: bool,
    ) -> Ruling {
        let (mapping, staff) = mapping.map(|row| (row.id, row.staff.clone())).unzip();
        Ruling { effect, rows, mapping, staff, before: self.previous_mappings(), needs_person }
    }

    fn unchanged(&self, mapping: Option<&MappingRow>) -> Ruling {
        self.ruling(Effect::Unchanged, Vec::new(), mapping, self.active_mappings().next().is_none())
    }

    fn set(&self, decision: &Decision, staff: &StaffFact) -> Result<Ruling, Refusal> {
        check_staff(staff, self.company())?;
        if !self.facts.is_known && !decision.allow_unseen_host {
            return Err(Refusal::UnknownHost(self.facts.key.company, self.facts.key.host));
        }
        // The mapping may belong to another company, from which the member of staff has moved here.
        let existing = self.facts.mappings.iter().find(|row| row.staff.id == staff.id);
        let in_force = existing.filter(|row| row.state.is_active && row.company() == Some(self.company()));
        let others: Vec<&MappingRow> =
            self.active_mappings().filter(|row| row.staff.id != staff.id).collect();
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
            others.iter().map(|row| set_active(row, false, AuditAction::Deleted)).collect();
        rows.push(match existing {
            Some(row) => change(row, to, action),
            None => RowChange {
                row: RowTarget::New(Box::new(self.snapshot(decision))),
                staff: staff.id.clone(),
                from: None,
                to,
                action,
            },
        });
        let (mapping, staff) = (existing.map(|row| row.id), Some(staff.clone()));
        Ok(Ruling { effect, rows, mapping, staff, before: self.previous_mappings(), needs_person: false })
    }

    /// Returns the host's newest data: from its bookings, else from its newest mapping.
    fn snapshot(&self, decision: &Decision) -> event::Host {
        let from_bookings = || Some(self.facts.inbox.as_ref()?.host.clone());
        let from_mapping = || {
            let row = self.own_mappings.iter().max_by_key(|row| row.id)?;
            Some(event::Host {
                name: Some(row.name.clone()),
                email: Some(row.email.clone()),
                username: row.username.clone(),
                time_zone: row.time_zone.clone(),
                ..event::Host::default()
            })
        };
        let host = decision.snapshot.clone().or_else(from_bookings).or_else(from_mapping).unwrap_or_default();
        mapped_host(&host).0
    }

    fn set_mapping_active(&self, id: i64, on: bool) -> Result<Ruling, Refusal> {
        let row = self.own_mappings.iter().copied().find(|row| row.id == id);
        let row = row.ok_or(Refusal::NoMapping(self.company(), id))?;
        if row.state.is_active == on {
            return Ok(self.unchanged(Some(row)));
        }
        let other = self.active_mappings().find(|other| other.id != id);
        if on {
            check_staff(&row.staff, self.company())?;
            if let Some(other) = other {
                return Err(self.already_mapped(other));
            }
        }
        let (effect, action) = match on {
            true => (Effect::SwitchedOn, AuditAction::Created),
            false => (Effect::SwitchedOff, AuditAction::Deleted),
        };
        Ok(self.ruling(effect, vec![set_active(row, on, action)], Some(row), !on && other.is_none()))
    }

    /// Returns the refusal for a host that has this other mapping in force.
    fn already_mapped(&self, other: &MappingRow) -> Refusal {
        let (host, staff) = (self.facts.key.host, other.staff.id.clone());
        Refusal::AlreadyMapped { host, mapping: other.id, staff }
    }

    fn revert(&self, reverted: &Change, since: &[AuditRow]) -> Result<Ruling, Refusal> {
        let mut rows = Vec::new();
        let mut states: BTreeMap<i64, (&MappingRow, MappingState)> =
            self.own_mappings.iter().map(|row| (row.id, (*row, row.state.clone()))).collect();
        // A row may have belonged to another company before or after the change.
        for row in &self.facts.mappings {
            let is_affected = reverted.rows.iter().any(|audit| audit.mapping == Some(row.id));
            if is_affected {
                states.entry(row.id).or_insert_with(|| (row, row.state.clone()));
            }
        }
        for audit in reverted.rows.iter().rev() {
            let mapping = audit.mapping.ok_or(Refusal::NotRevertible(audit.id))?;
            let (row, state) = states.get_mut(&mapping).ok_or(Refusal::NoMapping(self.company(), mapping))?;
            match unreverted_changes(audit, since).as_slice() {
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
        let is_changed = |id: i64| rows.iter().any(|change| change.row == RowTarget::Row(id));
        if active.len() > 1
            && let Some((row, _)) = active.iter().find(|(row, _)| !is_changed(row.id))
        {
            return Err(self.already_mapped(row));
        }
        let in_force = active.first().map(|(row, _)| *row);
        if rows.is_empty() {
            return Ok(self.unchanged(in_force));
        }
        rows.sort_by_key(|change| change.to.is_active);
        Ok(self.ruling(Effect::Reverted, rows, in_force, in_force.is_none()))
    }
}

/// Returns the change of this audit row and the later changes of the same mapping, without reverted ones.
fn unreverted_changes<'a>(audit: &'a AuditRow, since: &'a [AuditRow]) -> Vec<&'a AuditRow> {
    let mut unreverted = vec![audit];
    for later in since.iter().filter(|later| later.mapping == audit.mapping && later.id > audit.id) {
        match unreverted.last() {
            Some(last) if later.undoes(last) => _ = unreverted.pop(),
            _ => unreverted.push(later),
        }
    }
    unreverted
}

/// Checks whether hosts of this company may be mapped to this member of staff.
pub(super) fn check_staff(staff: &StaffFact, company: CompanyId) -> Result<(), Refusal> {
    let id = || staff.id.clone();
    match staff {
        staff if staff.company != Some(company) => Err(Refusal::OtherCompany { staff: id(), company }),
        staff if staff.is_deleted => Err(Refusal::Deleted(id())),
        staff if !staff.is_active => Err(Refusal::Inactive(id())),
        _ => Ok(()),
    }
}

fn change(row: &MappingRow, to: MappingState, action: AuditAction) -> RowChange {
    let (staff, from) = (row.staff.id.clone(), Some(row.state.clone()));
    RowChange { row: RowTarget::Row(row.id), staff, from, to, action }
}

fn set_active(row: &MappingRow, is_active: bool, action: AuditAction) -> RowChange {
    change(row, MappingState { is_active, ..row.state.clone() }, action)
}
