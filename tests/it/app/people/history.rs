//! Tests that the audit trail is complete: after any sequence of actions of people and workers, replaying it gives
//! the table; and each revert restores exactly the state before the change.

use std::collections::BTreeMap;

use hostmatch::app::{Command, Decision, Effect, decide_now};
use hostmatch::event::{CompanyId, HostId};
use hostmatch::matching::{Confidence, Stored};
use hostmatch::store::{
    AuditFilter, AuditRow, GatewaySchema, MappingFilter, MappingState, Scope, audits, change_of,
    list_mappings,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Map, Value, json};

use super::decisions::create_salon;
use super::{anna, staff_of};
use crate::support::{Backend, GatewayShape, World, event, host};

/// One action of a person, of a worker, or of the gateway.
#[derive(Clone, Debug)]
enum Act {
    Set(i64, u32),
    /// Switches off the nth mapping.
    SwitchOff(usize),
    SwitchOn(usize),
    /// Reverts the nth audit row.
    Revert(usize),
    /// Decides a batch of events: appointment, host, and the host's name and address (by number).
    Batch(Vec<(u32, u32, u8)>),
    /// Activates or deactivates a member of staff in the gateway.
    Staff(u32, bool),
}

fn actions() -> impl Strategy<Value = Vec<Act>> {
    let batch = prop::collection::vec((11u32..=13, 7u32..=9, 0u8..4), 1..4);
    let action = prop_oneof![
        4 => (7i64..=9, 11u32..=13).prop_map(|(host, staff)| Act::Set(host, staff)),
        2 => any::<usize>().prop_map(Act::SwitchOff),
        2 => any::<usize>().prop_map(Act::SwitchOn),
        4 => any::<usize>().prop_map(Act::Revert),
        4 => batch.prop_map(Act::Batch),
        2 => (11u32..=13, any::<bool>()).prop_map(|(staff, active)| Act::Staff(staff, active)),
    ];
    prop::collection::vec(action, 1..16)
}

type Table = BTreeMap<i64, Map<String, Value>>;

/// Returns the mappings in the database.
async fn table(world: &World, schema: &GatewaySchema) -> Table {
    let all =
        list_mappings(world.test.db.connection(), schema, &Scope::All, &MappingFilter::default(), 10_000)
            .await;
    let row = |row: hostmatch::store::MappingRow| {
        let mut fields = row.state.fields();
        let snapshot = json!({
            "staff_id": row.staff.id, "calcom_host_id": row.host, "calcom_name": row.name,
            "calcom_email": row.email, "calcom_username": row.username, "calcom_timezone": row.time_zone,
        });
        fields.extend(snapshot.as_object().unwrap().clone());
        (row.id, fields)
    };
    all.unwrap().into_iter().map(row).collect()
}

/// Returns the mappings that result from replaying the audit trail.
fn replay_trail(trail: &[AuditRow]) -> Table {
    let mut table = Table::new();
    for row in trail {
        let fields = table.entry(row.mapping.unwrap()).or_default();
        for (name, before) in row.old.iter().flatten() {
            assert_eq!(
                fields.get(name),
                Some(before),
                "{row:?}: the earlier rows of the trail have another value"
            );
        }
        fields.extend(row.new.clone().unwrap());
    }
    table
}

async fn trail(world: &World, schema: &GatewaySchema) -> Vec<AuditRow> {
    let rows = audits(world.test.db.connection(), schema, &Scope::All, &AuditFilter::default(), 10_000).await;
    let mut rows = rows.unwrap();
    rows.reverse();
    rows
}

/// Performs one action. If it was a revert, returns the reverted audit rows.
async fn perform(world: &World, schema: &GatewaySchema, n: usize, action: &Act) -> Option<Vec<AuditRow>> {
    let all = table(world, schema).await;
    let nth = |n: usize| all.keys().nth(n % all.len().max(1)).copied();
    let host_of = |id: i64| all[&id]["calcom_host_id"].as_i64().unwrap();
    let (host, command) = match action {
        Act::Set(host, staff) => (*host, Command::Set(staff_of(world, *staff))),
        Act::SwitchOff(n) => nth(*n).map(|id| (host_of(id), Command::SwitchOff(id)))?,
        Act::SwitchOn(n) => nth(*n).map(|id| (host_of(id), Command::SwitchOn(id)))?,
        Act::Revert(n) => {
            let trail = trail(world, schema).await;
            let row = trail.get(n % trail.len().max(1))?;
            let change = change_of(world.test.db.connection(), schema, &Scope::All, row.id).await.unwrap()?;
            (change.key.host.0, Command::Revert(change))
        }
        Act::Batch(batch) => {
            let reported = |kind: u8| match kind {
                0 => ("A", "anna@salon.example"),
                1 => ("boris kamm", ""),
                2 => ("C", "carla@salon.example"),
                _ => ("Nobody", ""),
            };
            let events: Vec<Value> = batch
                .iter()
                .enumerate()
                .map(|(k, (appointment, id, kind))| {
                    let (name, email) = reported(*kind);
                    let at = u32::try_from(n).unwrap();
                    event(&format!("e{n}-{k}"), &format!("B{appointment}"), at, host(*id, name, email))
                })
                .collect();
            world.send(&events).await;
            return None;
        }
        Act::Staff(staff, active) => {
            world.set_staff_active(*staff, *active).await;
            return None;
        }
    };
    let reverted_rows = if let Command::Revert(change) = &command { Some(change.rows.clone()) } else { None };
    let decision = Decision { allow_unseen_host: true, ..Decision::new(CompanyId(1), HostId(host), command) };
    let done = decide_now(&world.test.db, schema, &anna(), &[decision]).await.unwrap().remove(0);
    let decided = done.ok()?;
    if decided.effect == Effect::Unchanged {
        assert!(decided.audits.is_empty());
    }
    reverted_rows
}

/// Checks that each row of a reverted change has the state from before the change.
fn assert_restored(reverted_rows: &[AuditRow], before: &Table, now: &Table) -> Result<(), TestCaseError> {
    for audit in reverted_rows {
        let id = audit.mapping.unwrap();
        let mut expected = before[&id].clone();
        match &audit.old {
            Some(old) => expected.extend(old.clone()),
            // A created row stays, deactivated.
            None => _ = expected.insert("is_active".into(), json!(false)),
        }
        prop_assert_eq!(&now[&id], &expected);
    }
    Ok(())
}

#[test]
fn the_replayed_trail_equals_the_table_and_every_revert_restores() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let has_case_count = std::env::var_os("PROPTEST_CASES").is_some();
    for (backend, cases) in [(Backend::Sqlite, 40), (Backend::MariaDb, 8), (Backend::Postgres, 8)] {
        let world = runtime.block_on(create_salon(backend, GatewayShape::Live));
        let schema = runtime.block_on(world.test.schema());
        let default = Config { failure_persistence: None, max_shrink_iters: 100, ..Config::default() };
        let config = if has_case_count { default } else { Config { cases, ..default } };
        let reverted = std::cell::Cell::new(0);
        let result = TestRunner::new(config).run(&actions(), |actions| {
            runtime.block_on(async {
                world.delete_decisions().await;
                for staff in 11..=13 {
                    world.set_staff_active(staff, true).await;
                }
                for (n, action) in actions.iter().enumerate() {
                    let before = table(&world, &schema).await;
                    let reverted_rows = perform(&world, &schema, n, action).await;
                    let (now, trail) = (table(&world, &schema).await, trail(&world, &schema).await);
                    prop_assert_eq!(&replay_trail(&trail), &now, "after {:?}", action);
                    if let Some(reverted_rows) = reverted_rows {
                        assert_restored(&reverted_rows, &before, &now)?;
                        reverted.set(reverted.get() + 1);
                    }
                }
                Ok(())
            })
        });
        result.unwrap_or_else(|error| panic!("{backend:?}: {error}"));
        assert!(reverted.get() > 0, "{backend:?}: no sequence reverted anything");
    }
}

#[test]
fn fields_of_an_audit_row_lead_from_one_state_to_the_other_and_back() {
    let state = |company: Option<i64>, is_active, source: &str, confidence| MappingState {
        company: company.map(CompanyId),
        is_active,
        source: Stored::read(source),
        confidence: Confidence(confidence),
    };
    let before = state(None, false, "auto_email", 95);
    let after = state(Some(1), true, "admin", 100);
    let (old, new) = before.difference(&after);
    assert_eq!(before.clone().with(&new), Some(after.clone()));
    assert_eq!(after.with(&old), Some(before.clone()));
    assert!(before.difference(&before).1.is_empty());
    let invalid = json!({ "confidence_score": "much" });
    assert_eq!(before.with(invalid.as_object().unwrap()), None);
}
