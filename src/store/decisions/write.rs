//! Writing decisions: set-based, what is switched off first, each change of a row with its audit row.

use migration::names;
use std::collections::{BTreeMap, HashMap};

use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, Query, Value};
use sea_orm::{ConnectionTrait, DbBackend};
use serde_json::json;
use uuid::Uuid;

use super::audits::key_value;
use super::{HostChange, MappingState, RowChange, RowTarget, Snapshot};
use crate::event::{HostId, StaffId};
use crate::matching::{Actor, HostKey, InboxState};
use crate::store::statement::{any_host, chunk_rows, pad_in_list};
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
        insert(tx, schema, some, now_ms).await?;
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
    let mut update = Query::update();
    update.table(names::MAPPINGS);
    let case = |value: fn(&MappingState) -> Value| {
        let is_this = |row: i64| Expr::col("id").eq(row);
        rows.iter().fold(CaseStatement::new(), |case, (row, state)| {
            case.case(is_this(*row), Expr::val(value(state)))
        })
    };
    update
        .value("company_id", case(|state| state.company.map(|id| id.0).into()))
        .value("is_active", case(|state| state.is_active.into()))
        .value("mapping_source", case(|state| state.source.as_ref().into()))
        .value("confidence_score", case(|state| i16::from(state.confidence.0).into()));
    update.value("updated_at", Expr::cust(schema.mapping_clocks.updated_at.clone()));
    update.and_where(Expr::col("id").is_in(rows.iter().map(|(row, _)| *row)));
    tx.execute(&update).await?;
    Ok(())
}

async fn insert(
    tx: &impl ConnectionTrait,
    schema: &GatewaySchema,
    items: &[&Item<'_>],
    now_ms: i64,
) -> Result<(), StoreError> {
    let mut insert = Query::insert();
    insert.into_table(names::MAPPINGS).columns([
        "company_id",
        "staff_id",
        "calcom_host_id",
        "calcom_name",
        "calcom_email",
        "calcom_username",
        "calcom_timezone",
        "mapping_source",
        "confidence_score",
        "is_active",
        "metadata",
        "created_at",
        "updated_at",
    ]);
    let clocks = &schema.mapping_clocks;
    for item in items {
        let RowTarget::New(snapshot) = &item.change.row else { continue };
        let [name, email, username, time_zone] = columns(snapshot);
        let state = &item.change.to;
        let metadata = json!({ "created_by_person_at_ms": now_ms, "change_key": item.change_key });
        insert.values_panic([
            state.company.map(|id| id.0).into(),
            bind_staff(&item.change.staff, schema.staff_key)?.into(),
            item.key.host.0.into(),
            name.unwrap_or_default().into(),
            email.unwrap_or_default().into(),
            username.into(),
            time_zone.into(),
            state.source.as_ref().into(),
            i16::from(state.confidence.0).into(),
            state.is_active.into(),
            metadata.into(),
            Expr::cust(clocks.created_at.clone()),
            Expr::cust(clocks.updated_at.clone()),
        ]);
    }
    tx.execute(&insert).await?;
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
        let mut select = Query::select();
        select.columns(["id", "calcom_host_id", "staff_id"]).from(names::MAPPINGS).and_where(
            Expr::col("calcom_host_id").is_in(pad_in_list(some.iter().map(|item| item.key.host.0))),
        );
        for row in tx.query_all(&select).await? {
            let host = HostId(row.try_get::<DbId>("", "calcom_host_id")?.0);
            rows.insert((host, row.try_get("", "staff_id")?), row.try_get::<DbId>("", "id")?.0);
        }
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
    let mut insert = Query::insert();
    insert.into_table(names::AUDITS).columns([
        "mapping_id",
        "company_id",
        "calcom_host_id",
        "staff_id",
        "action",
        "old_values",
        "new_values",
        "actor",
        "changed_at",
        "reason",
        "change_key",
    ]);
    for item in items {
        let (old, new) = values(item);
        insert.values_panic([
            row_of(item, made).into(),
            item.key.company.0.into(),
            item.key.host.0.into(),
            bind_staff(&item.change.staff, schema.staff_key)?.into(),
            item.change.action.as_str().into(),
            old.into(),
            new.into(),
            actor.as_str().into(),
            Expr::cust(schema.mapping_clocks.changed_at.clone()),
            item.reason.map(str::to_owned).into(),
            item.change_key.as_str().into(),
        ]);
    }
    tx.execute(&insert).await?;
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
    let mut ids = HashMap::new();
    for some in chunk_rows(items) {
        let mut select = Query::select();
        select.columns(["id", "change_key"]).from(names::AUDITS).and_where(
            Expr::col("change_key")
                .is_in(pad_in_list(some.iter().map(|item| key_value(backend, &item.change_key)))),
        );
        for row in tx.query_all(&select).await? {
            ids.insert(row.try_get("", "change_key")?, row.try_get::<DbId>("", "id")?.0);
        }
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
            let mut update = Query::update();
            update
                .table(names::INBOX)
                .value("state", to.as_str())
                .value("state_changed_ms", now_ms)
                .value("ignored_until_ms", Option::<i64>::None)
                .and_where(Expr::col("state").is_in(from.iter().copied().map(InboxState::as_str)))
                .cond_where(any_host("company_id", "host_id", some.iter().copied()));
            tx.execute(&update).await?;
        }
    }
    Ok(())
}
