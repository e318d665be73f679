//! Writing decisions: set-based, what is switched off first, each change of a row with its audit row.

use std::collections::{BTreeMap, HashMap};

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Value};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, EntityTrait as _, QueryFilter as _, QuerySelect as _, Set,
};
use serde_json::json;
use uuid::Uuid;

use super::audits::key_value;
use super::{HostChange, MappingState, RowChange, RowTarget, Snapshot};
use crate::event::{HostId, StaffId};
use crate::matching::{Actor, HostKey, InboxState};
use crate::store::entity::mapping::{Column, Entity};
use crate::store::entity::{inbox, mapping_audit};
use crate::store::statement::{any_host, chunk_rows, insert, pad_in_list};
use crate::store::{DbId, GatewaySchema, StoreError, bind_staff};

/// A change that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// `calcom_host_mappings.id`
    pub mapping: i64,
    /// `calcom_host_mapping_audits.id`
    pub audit: i64,
}

/// One change of a row, on its way.
struct Item<'a> {
    key: HostKey,
    change: &'a RowChange,
    reason: Option<&'a str>,
    change_key: String,
}

/// Writes what was decided, in the transaction that locked the hosts and read the facts. Gives, for each
/// change, its rows in their order.
///
/// # Errors
/// [`StoreError`]; then the transaction is to be rolled back.
pub async fn write_changes(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    (act, actor): (Uuid, &Actor),
    changes: &[HostChange],
    now_ms: i64,
) -> Result<Vec<Vec<Made>>, StoreError> {
    let items: Vec<Item<'_>> = changes.iter().flat_map(|change| items(act, change)).collect();
    for is_active in [false, true] {
        let rewritten: Vec<&Item<'_>> = items
            .iter()
            .filter(|item| {
                item.change.to.is_active == is_active && matches!(item.change.row, RowTarget::Row(_))
            })
            .collect();
        for some in chunk_rows(&rewritten) {
            rewrite(tx, schema, some).await?;
        }
    }
    let new: Vec<&Item<'_>> =
        items.iter().filter(|item| matches!(item.change.row, RowTarget::New(_))).collect();
    for some in chunk_rows(&new) {
        insert_mappings(tx, schema, some, now_ms).await?;
    }
    let rows = made(tx, &new).await?;
    for some in chunk_rows(&items) {
        insert_audits(tx, schema, some, &rows, actor).await?;
    }
    let audits = audit_ids(tx, schema.backend, &items).await?;
    set_inbox(tx, changes, now_ms).await?;
    let mut items = items.iter();
    let mut all = Vec::with_capacity(changes.len());
    for change in changes {
        let mut written = Vec::with_capacity(change.rows.len());
        for item in items.by_ref().take(change.rows.len()) {
            let lost = || StoreError::Rejected("a row that was just written is not there".into());
            let mapping = row_of(item, &rows).ok_or_else(lost)?;
            let audit = audits.get(&item.change_key).copied().ok_or_else(lost)?;
            written.push(Made { mapping, audit });
        }
        all.push(written);
    }
    Ok(all)
}

fn items(act: Uuid, change: &HostChange) -> impl Iterator<Item = Item<'_>> {
    let first = if change.is_revert { REVERT } else { 0 };
    change.rows.iter().zip(first..).map(move |(row, place)| Item {
        key: change.key,
        change: row,
        reason: change.reason.as_deref(),
        change_key: change_key(act, change.number, place).to_string(),
    })
}

/// In the place of a row within a decision: it takes another row back.
pub(super) const REVERT: u16 = 1 << 15;

/// The name of a change of one row: the act, the number of the decision within it, and the row's place
/// within the decision, so that both can be found by how it begins.
pub(super) fn change_key(act: Uuid, number: u32, place: u16) -> Uuid {
    let mut bytes = *act.as_bytes();
    bytes[10..14].copy_from_slice(&number.to_be_bytes());
    bytes[14..].copy_from_slice(&place.to_be_bytes());
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

async fn rewrite(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    items: &[&Item<'_>],
) -> Result<(), StoreError> {
    let rows: Vec<(i64, &MappingState)> = items
        .iter()
        .filter_map(|item| {
            if let RowTarget::Row(row) = item.change.row { Some((row, &item.change.to)) } else { None }
        })
        .collect();
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

async fn insert_mappings(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    items: &[&Item<'_>],
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let RowTarget::New(snapshot) = &item.change.row else { continue };
        let [name, email, username, time_zone] = columns(snapshot);
        let state = &item.change.to;
        let metadata = json!({ "created_by_person_at_ms": now_ms, "change_key": item.change_key });
        rows.push([
            (Column::CompanyId, state.company.into()),
            (Column::StaffId, bind_staff(&item.change.staff, schema.staff_key)?.into()),
            (Column::CalcomHostId, item.key.host.into()),
            (Column::CalcomName, name.unwrap_or_default().into()),
            (Column::CalcomEmail, email.unwrap_or_default().into()),
            (Column::CalcomUsername, username.into()),
            (Column::CalcomTimezone, time_zone.into()),
            (Column::MappingSource, state.source.as_ref().into()),
            (Column::ConfidenceScore, state.confidence.into()),
            (Column::IsActive, state.is_active.into()),
            (Column::Metadata, metadata.into()),
            (Column::CreatedAt, Expr::cust(schema.mapping_clocks.created_at.clone())),
            (Column::UpdatedAt, Expr::cust(schema.mapping_clocks.updated_at.clone())),
        ]);
    }
    tx.execute(&insert::<Entity, 13>(rows)).await?;
    Ok(())
}

/// The host cut to the columns of a mapping.
fn columns(host: &Snapshot) -> [Option<String>; 4] {
    let Snapshot { name, email, username, time_zone } = host;
    [(name, 255), (email, 255), (username, 255), (time_zone, 50)]
        .map(|(text, most)| text.as_ref().map(|text| text.chars().take(most).collect()))
}

/// The rows that were just made, by host and staff, which are unique.
async fn made(
    tx: &impl ConnectionTrait,
    items: &[&Item<'_>],
) -> Result<BTreeMap<(HostId, StaffId), i64>, StoreError> {
    let mut rows = BTreeMap::new();
    for some in chunk_rows(items) {
        let hosts = pad_in_list(some.iter().map(|item| item.key.host));
        let found: Vec<(HostId, StaffId, DbId)> = Entity::find()
            .select_only()
            .columns([Column::CalcomHostId, Column::StaffId, Column::Id])
            .filter(Column::CalcomHostId.is_in(hosts))
            .into_tuple()
            .all(tx)
            .await?;
        rows.extend(found.into_iter().map(|(host, staff, id)| ((host, staff), id.0)));
    }
    Ok(rows)
}

fn row_of(item: &Item<'_>, made: &BTreeMap<(HostId, StaffId), i64>) -> Option<i64> {
    match &item.change.row {
        RowTarget::Row(row) => Some(*row),
        RowTarget::New(_) => made.get(&(item.key.host, item.change.staff.clone())).copied(),
    }
}

async fn insert_audits(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    items: &[Item<'_>],
    made: &BTreeMap<(HostId, StaffId), i64>,
    actor: &Actor,
) -> Result<(), StoreError> {
    use mapping_audit::Column;
    let mut rows = Vec::with_capacity(items.len());
    for item in items {
        let (old, new) = values(item);
        rows.push([
            (Column::MappingId, row_of(item, made).into()),
            (Column::CompanyId, item.key.company.into()),
            (Column::CalcomHostId, item.key.host.into()),
            (Column::StaffId, bind_staff(&item.change.staff, schema.staff_key)?.into()),
            (Column::Action, item.change.action.as_str().into()),
            (Column::OldValues, old.into()),
            (Column::NewValues, new.into()),
            (Column::Actor, actor.as_str().into()),
            (Column::ChangedAt, Expr::cust(schema.mapping_clocks.changed_at.clone())),
            (Column::Reason, item.reason.map(str::to_owned).into()),
            (Column::ChangeKey, item.change_key.as_str().into()),
        ]);
    }
    tx.execute(&insert::<mapping_audit::Entity, 11>(rows)).await?;
    Ok(())
}

/// The fields before and after: of a new row all of them.
fn values(item: &Item<'_>) -> (Option<serde_json::Value>, serde_json::Value) {
    let RowChange { row, staff, from, to, .. } = item.change;
    match (from, row) {
        (Some(from), _) => {
            let (old, new) = from.difference(to);
            (Some(old.into()), new.into())
        }
        (None, RowTarget::Row(_)) => (None, to.fields().into()),
        (None, RowTarget::New(snapshot)) => {
            let [name, email, username, time_zone] = columns(snapshot);
            let mut fields = to.fields();
            fields.extend([
                ("staff_id".to_owned(), json!(staff)),
                ("calcom_host_id".to_owned(), json!(item.key.host)),
                ("calcom_name".to_owned(), json!(name.unwrap_or_default())),
                ("calcom_email".to_owned(), json!(email.unwrap_or_default())),
                ("calcom_username".to_owned(), json!(username)),
                ("calcom_timezone".to_owned(), json!(time_zone)),
            ]);
            (None, fields.into())
        }
    }
}

async fn audit_ids(
    tx: &impl ConnectionTrait,
    backend: DbBackend,
    items: &[Item<'_>],
) -> Result<HashMap<String, i64>, StoreError> {
    use mapping_audit::Column;
    let mut ids = HashMap::new();
    for some in chunk_rows(items) {
        let keys = pad_in_list(some.iter().map(|item| key_value(backend, &item.change_key)));
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

/// Closes the inbox rows of hosts that are mapped now, and opens those again that need a person once
/// more. One that a person ignores stays so, unless it is mapped.
async fn set_inbox(tx: &impl ConnectionTrait, changes: &[HostChange], now_ms: i64) -> Result<(), StoreError> {
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
