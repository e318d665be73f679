//! Records a host after a decision: its mapping, or its row in the inbox.
//!
//! Many bookings may name the same unknown host. The row of the host is written only if a newer event has new
//! data or falls into a later hour, so workers that process the same host at the same time do not wait for
//! each other.

use serde_json::{Value, json};
use uuid::Uuid;

use super::changes::{Audit, HostEvent, InboxRow, InboxState, MappingChange, MappingRef, MappingWrite};
use super::directory::{HostKey, Mapping};
use super::plan::Plan;
use super::resolver::{Review, Suggestion};
use super::strategy::Candidate;
use super::values::{AuditAction, MappingSource};
use crate::event::{EventOrder, Host, StaffId};

/// The length of the columns of a host, in characters, except those for its time zone.
const MAX_TEXT: usize = 255;
/// The length of the column for the time zone: in a mapping, and in an inbox row.
const MAX_ZONE: usize = 50;
const MAX_INBOX_ZONE: usize = 64;

/// The namespace of change keys. It must never change.
const NAMESPACE: Uuid = Uuid::from_u128(0x4c6e_5d0a_9a0b_4f3e_8f53_6d1f_2b7a_90c4);

impl Plan<'_> {
    /// Creates (or switches on again) the mapping of a host to the candidate, supersedes the one
    /// whose member of staff is no longer valid, and closes the inbox row.
    pub(super) fn learn(
        &mut self,
        key: HostKey,
        candidate: &Candidate,
        source: MappingSource,
        host: &Host,
    ) -> MappingRef {
        let last_audit = self.state.directory.last_audit(key);
        let mappings = self.state.directory.mappings_mut(key);
        let mut active = mappings.iter_mut().filter(|mapping| mapping.is_active);
        if let Some(mapping) = active.find(|mapping| mapping.staff == candidate.staff) {
            // The member of staff has become active again, so the mapping is valid again.
            mapping.staff_is_valid = true;
            return mapping.row;
        }
        for old in mappings.iter_mut().filter(|mapping| mapping.is_active) {
            old.is_active = false;
            if let MappingRef::Row(_) = old.row {
                let audit = Audit {
                    change_key: change_key(key, &old.staff, AuditAction::Updated, last_audit),
                    mapping: old.row,
                    key,
                    staff: old.staff.clone(),
                    action: AuditAction::Updated,
                    old_values: Some(json!({ "is_active": true })),
                    new_values: json!({ "is_active": false }),
                    reason: Some(format!(
                        "Superseded: staff {} is inactive, deleted, or in another company; host matched to staff {}",
                        old.staff, candidate.staff
                    )),
                };
                self.changes.mappings.push(MappingChange { audit, write: MappingWrite::Supersede });
            }
        }
        let reason = format!("Auto-matched via {source} with {}% confidence", candidate.confidence.0);
        let mut audit = Audit {
            change_key: change_key(key, &candidate.staff, AuditAction::AutoMatched, last_audit),
            mapping: MappingRef::New(key),
            key,
            staff: candidate.staff.clone(),
            action: AuditAction::AutoMatched,
            old_values: None,
            new_values: Value::Null,
            reason: Some(reason),
        };
        let mappings = self.state.directory.mappings_mut(key);
        let row = if let Some(known) = mappings.iter_mut().find(|mapping| mapping.staff == candidate.staff) {
            let after = json!({
                "company_id": key.company, "is_active": true, "mapping_source": source.as_str(),
                "confidence_score": candidate.confidence,
            });
            audit.old_values = Some(json!({
                "company_id": known.made_for, "is_active": false, "mapping_source": known.source,
                "confidence_score": known.confidence,
            }));
            audit.new_values = after;
            audit.mapping = known.row;
            (known.source, known.confidence) = (source.into(), candidate.confidence);
            (known.is_active, known.staff_is_valid, known.made_for) = (true, true, key.company);
            if let MappingRef::Row(_) = known.row {
                let write = MappingWrite::Reactivate { source, confidence: candidate.confidence };
                self.changes.mappings.push(MappingChange { audit, write });
            }
            known.row
        } else {
            mappings.push(Mapping {
                row: MappingRef::New(key),
                made_for: key.company,
                company: key.company,
                host: key.host,
                staff: candidate.staff.clone(),
                source: source.into(),
                confidence: candidate.confidence,
                is_active: true,
                staff_is_valid: true,
                switched_off_by_person: false,
            });
            let (snapshot, cut) = mapped_host(host);
            let mut metadata = json!({
                "auto_created_at_ms": self.policy.now_ms, "original_host_data": host, "change_key": audit.change_key,
            });
            // `original_host_data` has the full values of the fields that were cut.
            if !cut.is_empty() {
                metadata["cut"] = json!(cut);
            }
            audit.new_values = json!({
                "staff_id": candidate.staff, "company_id": key.company, "calcom_host_id": key.host,
                "calcom_name": snapshot.name, "calcom_email": snapshot.email,
                "calcom_username": snapshot.username, "calcom_timezone": snapshot.time_zone,
                "mapping_source": source.as_str(), "confidence_score": candidate.confidence, "is_active": true,
            });
            let (host, confidence) = (Box::new(snapshot), candidate.confidence);
            let write = MappingWrite::Insert { host, source, confidence, metadata };
            self.changes.mappings.push(MappingChange { audit, write });
            MappingRef::New(key)
        };
        self.close_inbox(key);
        row
    }
}

/// Derives the key of a change from the change and the state that it starts from.
fn change_key(key: HostKey, staff: &StaffId, action: AuditAction, last_audit: i64) -> Uuid {
    let name = format!("{}/{}/{staff}/{action}/{last_audit}", key.company, key.host);
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// Cuts the host to the columns of a mapping, with `''` for absent values where the column must not be null;
/// also returns the columns whose values were cut.
pub fn mapped_host(host: &Host) -> (Host, Vec<&'static str>) {
    let (mut host, cut) = cut_to_columns(host, MAX_ZONE);
    host.name.get_or_insert_default();
    host.email.get_or_insert_default();
    (host, cut)
}

/// Cuts the host's values to the lengths of their columns, so that comparisons use the stored values.
fn cut_to_columns(host: &Host, max_zone: usize) -> (Host, Vec<&'static str>) {
    let mut cut = Vec::new();
    let mut fit = |column, text: Option<&String>, max: usize| {
        if text.is_some_and(|text| text.chars().count() > max) {
            cut.push(column);
        }
        text.map(|text| text.chars().take(max).collect::<String>())
    };
    let email = host.email.as_ref().or(host.display_email.as_ref());
    let host = Host {
        id: host.id,
        name: fit("calcom_name", host.name.as_ref(), MAX_TEXT),
        email: fit("calcom_email", email, MAX_TEXT),
        display_email: None,
        username: fit("calcom_username", host.username.as_ref(), MAX_TEXT),
        time_zone: fit("calcom_timezone", host.time_zone.as_ref(), max_zone),
    };
    (host, cut)
}

/// The first and the last time of an inbox row are rounded down to the hour.
const HOUR_MS: i64 = 3_600_000;

impl Plan<'_> {
    /// Adds a host to the inbox, or updates its row. A host that a person ignores stays ignored.
    pub(super) fn add_to_inbox(
        &mut self,
        key: HostKey,
        host: &Host,
        host_event: &HostEvent,
        review: Option<Review>,
        suggestions: &[Suggestion],
    ) {
        let hour_ms = host_event.time.ms - host_event.time.ms.rem_euclid(HOUR_MS);
        let fresh = InboxRow {
            key,
            host: cut_to_columns(host, MAX_INBOX_ZONE).0,
            event: host_event.event.clone(),
            time: host_event.time,
            first_seen_ms: hour_ms,
            last_seen_ms: hour_ms,
            review,
            suggestions: suggestions.to_vec(),
            state: InboxState::Open,
            state_changed_ms: self.policy.now_ms,
        };
        let row = match self.state.inbox.get(&key) {
            None => fresh,
            Some(old) => {
                let row = merge_inbox_rows(old, fresh);
                if row == *old {
                    return;
                }
                row
            }
        };
        self.state.inbox.insert(key, row);
        self.inbox.insert(key);
    }

    /// Closes the row of a host that now has a mapping. A host that a person ignores stays ignored.
    pub(super) fn close_inbox(&mut self, key: HostKey) {
        let now_ms = self.policy.now_ms;
        if let Some(row) = self.state.inbox.get_mut(&key).filter(|row| row.state == InboxState::Open) {
            (row.state, row.state_changed_ms) = (InboxState::Resolved, now_ms);
            self.inbox.insert(key);
        }
    }
}

fn merge_inbox_rows(old: &InboxRow, fresh: InboxRow) -> InboxRow {
    let reopens = old.state == InboxState::Resolved;
    let (state, state_changed_ms) =
        if reopens { (fresh.state, fresh.state_changed_ms) } else { (old.state, old.state_changed_ms) };
    let (first_seen_ms, last_seen_ms) =
        (old.first_seen_ms.min(fresh.first_seen_ms), old.last_seen_ms.max(fresh.last_seen_ms));
    let order = |row: &InboxRow| EventOrder::new(row.time, &row.event);
    let is_news = fresh.host != old.host
        || fresh.review != old.review
        || fresh.suggestions != old.suggestions
        || fresh.last_seen_ms > old.last_seen_ms;
    // The data of a resolved row is obsolete, so the event that reopens the row replaces it.
    let row = if reopens || is_news && order(&fresh) >= order(old) { fresh } else { old.clone() };
    InboxRow { state, state_changed_ms, first_seen_ms, last_seen_ms, ..row }
}
