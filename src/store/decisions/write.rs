//! Writes decisions: set-based, deactivations first, and an audit row for each changed row.

use std::collections::HashMap;

use sea_orm::sea_query::Value;
use serde_json::json;
use uuid::Uuid;

use super::audits::key_value;
use super::{HostChange, MappingState, RowChange, RowTarget};
use crate::matching::{Actor, Audit, HostKey, InboxState, MappingChange, MappingRef, MappingWrite};
use crate::store::commit::{insert_audits, mapping_rows, row_of};
use crate::store::entity::mapping::{Column, Entity};
use crate::store::entity::{inbox, mapping_audit};
use crate::store::mappings::read_inserted;
use crate::store::prelude::*;
use crate::store::statement::{any_host, chunk_rows, pad_in_list};
use crate::store::{DbId, GatewaySchema, StoreError};

/// Writes decisions in the transaction that locked the hosts and read the facts. Returns, for each change,
/// its rows in order: the ids of the mapping and its audit row. After an error the caller must roll back.
pub(crate) async fn write_changes(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    (action, actor): (Uuid, &Actor),
    changes: &[HostChange],
    now_ms: i64,
) -> Result<Vec<Vec<(i64, i64)>>> {
    let rows: Vec<&RowChange> = changes.iter().flat_map(|change| &change.rows).collect();
    let audits: Vec<Audit> = changes.iter().flat_map(|change| audits_of(action, change)).collect();
    let audits: Vec<&Audit> = audits.iter().collect();
    for is_active in [false, true] {
        let changed = rows.iter().filter_map(|row| match row.row {
            RowTarget::Row(id) if row.to.is_active == is_active => Some((id, &row.to)),
            _ => None,
        });
        for some in chunk_rows(&changed.collect::<Vec<_>>()) {
            update_mappings(tx, schema, some).await?;
        }
    }
    let new: Vec<MappingChange> =
        rows.iter().zip(&audits).filter_map(|(row, audit)| new_mapping(row, audit, now_ms)).collect();
    for some in chunk_rows(&new.iter().collect::<Vec<_>>()) {
        tx.execute(&mapping_rows(schema, some, Expr::null())?).await?;
    }
    let inserted = read_inserted(tx, schema, &new).await?;
    for some in chunk_rows(&audits) {
        insert_audits(tx, schema, some, &inserted, actor).await?;
    }
    let ids = audit_ids(tx, schema.backend, &audits).await?;
    update_inbox(tx, changes, now_ms).await?;
    let mut written = audits.iter().map(|audit| {
        let id = ids.get(&audit.change_key.to_string()).copied();
        let missing = || {
            StoreError::Rejected("a mapping or audit row that was just written cannot be read back".into())
        };
        row_of(audit.mapping, &inserted).zip(id).ok_or_else(missing)
    });
    changes.iter().map(|change| written.by_ref().take(change.rows.len()).collect()).collect()
}

/// Returns the audit rows of one decision.
fn audits_of(action: Uuid, change: &HostChange) -> impl Iterator<Item = Audit> {
    let first = if change.is_revert { REVERT } else { 0 };
    change.rows.iter().zip(first..).map(move |(row, position)| {
        let (old_values, new_values) = values(change.key, row);
        Audit {
            change_key: change_key(action, change.number, position),
            mapping: match row.row {
                RowTarget::Row(id) => MappingRef::Row(id),
                RowTarget::New(_) => MappingRef::New(change.key),
            },
            key: change.key,
            staff: row.staff.clone(),
            action: row.action,
            old_values,
            new_values,
            reason: change.reason.clone(),
        }
    })
}

/// Returns the changed fields, before and after; for a new row, all fields after.
fn values(key: HostKey, change: &RowChange) -> (Option<serde_json::Value>, serde_json::Value) {
    let RowChange { row, staff, from, to, .. } = change;
    if let Some(from) = from {
        let (old, new) = from.difference(to);
        return (Some(old.into()), new.into());
    }
    let mut fields = to.fields();
    if let RowTarget::New(host) = row {
        fields.extend([
            ("staff_id".to_owned(), json!(staff)),
            ("calcom_host_id".to_owned(), json!(key.host)),
            ("calcom_name".to_owned(), json!(host.name)),
            ("calcom_email".to_owned(), json!(host.email)),
            ("calcom_username".to_owned(), json!(host.username)),
            ("calcom_timezone".to_owned(), json!(host.time_zone)),
        ]);
    }
    (None, fields.into())
}

fn new_mapping(change: &RowChange, audit: &Audit, now_ms: i64) -> Option<MappingChange> {
    let RowTarget::New(host) = &change.row else { return None };
    let write = MappingWrite::Insert {
        host: host.clone(),
        source: change.to.source.known()?,
        confidence: change.to.confidence,
        metadata: json!({ "created_by_person_at_ms": now_ms, "change_key": audit.change_key }),
    };
    Some(MappingChange { audit: audit.clone(), write })
}

/// A flag in a row's position within a decision: the row undoes another one.
pub(super) const REVERT: u16 = 1 << 15;

/// Builds the key of a change of one row: the action, the number of the decision within it, and the row's
/// position within the decision. So the rows of an action, or of a decision, have consecutive keys.
pub(super) fn change_key(action: Uuid, number: u32, position: u16) -> Uuid {
    let mut bytes = *action.as_bytes();
    bytes[10..14].copy_from_slice(&number.to_be_bytes());
    bytes[14..].copy_from_slice(&position.to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

async fn update_mappings(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    rows: &[(i64, &MappingState)],
) -> Result<()> {
    let case = |value: fn(&MappingState) -> Value| -> Expr {
        let cases = rows.iter().fold(CaseStatement::new(), |cases, (row, state)| {
            cases.case(Column::Id.eq(*row), Expr::val(value(state)))
        });
        cases.into()
    };
    Entity::update_many()
        .col_expr(Column::CompanyId, case(|state| state.company.into()))
        .col_expr(Column::IsActive, case(|state| state.is_active.into()))
        .col_expr(Column::MappingSource, case(|state| state.source.as_ref().into()))
        .col_expr(Column::ConfidenceScore, case(|state| state.confidence.into()))
        .col_expr(Column::UpdatedAt, Expr::cust(schema.mapping_clocks.updated_at.clone()))
        .filter(Column::Id.is_in(rows.iter().map(|(row, _)| *row)))
        .exec(tx)
        .await?;
    Ok(())
}

async fn audit_ids(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    audits: &[&Audit],
) -> Result<HashMap<String, i64>> {
    use mapping_audit::Column;
    let mut ids = HashMap::new();
    for some in chunk_rows(audits) {
        let keys = pad_in_list(some.iter().map(|audit| key_value(backend, &audit.change_key.to_string())));
        let found: Vec<(String, DbId)> = mapping_audit::Entity::find()
            .select_only()
            .columns([Column::ChangeKey, Column::Id])
            .filter(Expr::col(Column::ChangeKey).is_in(keys))
            .into_tuple()
            .all(tx)
            .await?;
        ids.extend(found.into_iter().map(|(key, id)| (key, id.0)));
    }
    Ok(ids)
}

/// Resolves the inbox rows of hosts that are now mapped, and reopens those that need a person again. A host
/// that a person ignores stays ignored, unless it is mapped.
async fn update_inbox(tx: &impl ConnectionTrait, changes: &[HostChange], now_ms: i64) -> Result<()> {
    for (needs_person, from, to) in [
        (false, &[InboxState::Open, InboxState::Ignored][..], InboxState::Resolved),
        (true, &[InboxState::Resolved][..], InboxState::Open),
    ] {
        let keys: Vec<HostKey> = changes
            .iter()
            .filter(|change| change.needs_person == needs_person && !change.rows.is_empty())
            .map(|change| change.key)
            .collect();
        for some in chunk_rows(&keys) {
            let changed = inbox::ActiveModel {
                state: Set(to.as_str().to_owned()),
                state_changed_ms: Set(now_ms),
                ignored_until_ms: Set(None),
                ..Default::default()
            };
            inbox::Entity::update_many()
                .set(changed)
                .filter(inbox::Column::State.is_in(from.iter().copied().map(InboxState::as_str)))
                .filter(any_host(inbox::Column::CompanyId, inbox::Column::HostId, some.iter().copied()))
                .exec(tx)
                .await?;
        }
    }
    Ok(())
}
