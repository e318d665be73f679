//! Tests what people's decisions about mappings change, on every engine.

use hostmatch::app::{Command, Decision, Effect, Refusal};
use hostmatch::event::{CompanyId, HostId, StaffId};
use hostmatch::store::{AuditFilter, Scope, audits, change_of, changes_of_batch};

use super::{anna, decide_as_anna, make_decision, staff_of};
use crate::support::adopted::{Variant, gateway_continues};
use crate::support::{Backend, GatewayShape, TestDatabase, World, event, host};

const MAPPINGS: [&str; 6] =
    ["company_id", "calcom_host_id", "staff_id", "mapping_source", "confidence_score", "is_active"];
const AUDITS: [&str; 4] = ["calcom_host_id", "staff_id", "action", "actor"];

pub(super) async fn create_salon(backend: Backend, shape: GatewayShape) -> World {
    let world = World::new(backend, shape).await;
    for company in [1, 2] {
        world.company(company).await;
        let base = company * 10;
        world.staff(base + 1, company, "Anna Blum", "anna@salon.example").await;
        world.staff(base + 2, company, "Boris Kamm", "").await;
        world.staff(base + 3, company, "Carla Diehl", "carla@salon.example").await;
        for n in 1..=3 {
            world.appointment(base + n, company, &format!("B{}", base + n)).await;
        }
    }
    world
}

fn sql_bool(on: bool, backend: Backend) -> &'static str {
    match (backend, on) {
        (Backend::Postgres, true) => "true",
        (Backend::Postgres, false) => "false",
        (_, true) => "1",
        (_, false) => "0",
    }
}

on_engines!(people_map_replace_switch_and_revert);
async fn people_map_replace_switch_and_revert(backend: Backend) {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = create_salon(backend, shape).await;
    let (on, off) = (sql_bool(true, backend), sql_bool(false, backend));
    let set = async |n: u32| decide_as_anna(&world, 7, Command::Set(staff_of(&world, n))).await.unwrap();
    let rows = async || world.rows("calcom_host_mappings", &MAPPINGS).await;

    let made = set(12).await;
    assert_eq!((made.effect, made.audits.len(), &made.before), (Effect::Made, 1, &vec![]));
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{on}")]);
    assert_eq!(set(12).await.effect, Effect::Unchanged);

    let replaced = set(13).await;
    assert_eq!((replaced.effect, replaced.audits.len()), (Effect::Replaced, 2));
    assert_eq!(Some(replaced.before[0].mapping), made.mapping);
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{off}"), format!("1|7|13|admin|100|{on}")]);

    // A change of two rows is reverted in both rows, whichever audit row is given.
    let schema = world.test.schema().await;
    let db = world.test.db.connection();
    for audit in &replaced.audits {
        assert_eq!(change_of(db, &schema, &Scope::All, *audit).await.unwrap().unwrap().rows.len(), 2);
    }
    let change = change_of(db, &schema, &Scope::All, replaced.audits[0]).await.unwrap().unwrap();
    let reverted = decide_as_anna(&world, 7, Command::Revert(change.clone())).await.unwrap();
    assert_eq!((reverted.effect, reverted.mapping), (Effect::Reverted, made.mapping));
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{on}"), format!("1|7|13|admin|100|{off}")]);
    let again = decide_as_anna(&world, 7, Command::Revert(change.clone())).await.unwrap();
    assert_eq!(
        (again.effect, again.audits.len()),
        (Effect::Unchanged, 0),
        "the mapping already has the earlier state"
    );
    // The revert itself can be reverted.
    let revert = change_of(db, &schema, &Scope::All, reverted.audits[0]).await.unwrap().unwrap();
    assert_eq!(decide_as_anna(&world, 7, Command::Revert(revert)).await.unwrap().effect, Effect::Reverted);
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{off}"), format!("1|7|13|admin|100|{on}")]);
    let mapping = replaced.mapping.unwrap();
    assert_eq!(
        decide_as_anna(&world, 7, Command::SwitchOff(mapping)).await.unwrap().effect,
        Effect::SwitchedOff
    );
    assert_eq!(
        decide_as_anna(&world, 7, Command::SwitchOff(mapping)).await.unwrap().effect,
        Effect::Unchanged
    );
    // No match reactivates what a person deactivated.
    assert_eq!(
        world.outcome_of(event("e1", "B11", 1, host(7, "C", "carla@salon.example"))).await,
        "needs_review"
    );
    assert_eq!(
        decide_as_anna(&world, 7, Command::SwitchOn(mapping)).await.unwrap().effect,
        Effect::SwitchedOn
    );
    assert_eq!(
        world.outcome_of(event("e1", "B11", 1, host(7, "C", "carla@salon.example"))).await,
        "assigned"
    );
    let refusal = decide_as_anna(&world, 7, Command::SwitchOn(made.mapping.unwrap())).await.unwrap_err();
    assert!(matches!(refusal, Refusal::AlreadyMapped { .. }), "{refusal}");

    // A change cannot be reverted after a newer one, even if both led to the same mapping. It can be reverted
    // once the newer changes have been reverted.
    let mut changes = Vec::new();
    for n in [12, 13, 12, 13] {
        let audits = decide_as_anna(&world, 9, Command::Set(staff_of(&world, n))).await.unwrap().audits;
        changes.push(change_of(db, &schema, &Scope::All, audits[0]).await.unwrap().unwrap());
    }
    let refusal = decide_as_anna(&world, 9, Command::Revert(changes[1].clone())).await.unwrap_err();
    let newest = changes[3].rows.iter().map(|row| row.id).max();
    assert!(matches!(refusal, Refusal::ChangedSince { by, .. } if by == newest), "{refusal}");
    for change in changes.into_iter().rev() {
        assert_eq!(
            decide_as_anna(&world, 9, Command::Revert(change)).await.unwrap().effect,
            Effect::Reverted
        );
    }
    assert!(!rows().await.iter().any(|row| row.starts_with("1|9|") && row.ends_with(on)), "{backend:?}");

    // A person confirms a mapping that a match created.
    assert_eq!(world.outcome_of(event("e2", "B12", 1, host(8, "A", "anna@salon.example"))).await, "assigned");
    let confirmed = decide_as_anna(&world, 8, Command::Set(staff_of(&world, 11))).await.unwrap();
    assert_eq!((confirmed.effect, confirmed.before[0].source.as_ref()), (Effect::Confirmed, "auto_email"));
    assert!(rows().await.contains(&format!("1|8|11|admin|100|{on}")));
    let audits = world.rows("calcom_host_mapping_audits", &AUDITS).await;
    for audit in [
        "7|12|created|cli:anna@office",
        "7|12|deleted|cli:anna@office",
        "7|13|manual_override|cli:anna@office",
        "8|11|auto_matched|worker",
        "8|11|manual_override|cli:anna@office",
    ] {
        assert!(audits.iter().any(|row| row == audit), "{audit}: {audits:#?}");
    }
}

on_engines!(invalid_decisions_are_refused_with_a_reason_and_write_nothing);
async fn invalid_decisions_are_refused_with_a_reason_and_write_nothing(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    world.set_staff_active(13, false).await;
    world
        .run(&format!(
            "UPDATE staff SET deleted_at = '2026-01-01 00:00:00' WHERE id = {}",
            world.staff_id(12)
        ))
        .await;
    let set = async |n: u32| decide_as_anna(&world, 7, Command::Set(staff_of(&world, n))).await.unwrap_err();
    assert!(matches!(set(21).await, Refusal::OtherCompany { .. }));
    assert!(matches!(set(13).await, Refusal::Inactive(_)));
    assert!(matches!(set(12).await, Refusal::Deleted(_)));
    assert!(matches!(set(99).await, Refusal::NoStaff(_)));
    for unknown_id in [StaffId::Integer(11), StaffId::Text("x'--".into())] {
        assert!(matches!(
            decide_as_anna(&world, 7, Command::Set(unknown_id)).await,
            Err(Refusal::NoStaff(_))
        ));
    }
    let unseen = Decision::new(CompanyId(1), HostId(7), Command::Set(staff_of(&world, 11)));
    assert_eq!(
        make_decision(&world, unseen.clone()).await,
        Err(Refusal::UnknownHost(CompanyId(1), HostId(7)))
    );
    let without_company = Decision::new(CompanyId(9), HostId(7), Command::Set(staff_of(&world, 11)));
    assert_eq!(make_decision(&world, without_company).await, Err(Refusal::NoCompany(CompanyId(9))));
    assert_eq!(world.count("calcom_host_mapping_audits").await, 0);

    let made = decide_as_anna(&world, 7, Command::Set(staff_of(&world, 11))).await.unwrap();
    let foreign = Decision::new(CompanyId(2), HostId(7), Command::SwitchOff(made.mapping.unwrap()));
    assert!(matches!(make_decision(&world, foreign).await, Err(Refusal::NoMapping(..))));
    let late = Decision { expected_audit: Some(0), ..unseen };
    assert_eq!(make_decision(&world, late).await, Err(Refusal::ChangedMeanwhile(HostId(7))));
    assert_eq!(world.count("calcom_host_mapping_audits").await, 1);
}

on_engines!(a_repeated_request_with_many_decisions_changes_nothing_and_can_be_reverted);
async fn a_repeated_request_with_many_decisions_changes_nothing_and_can_be_reverted(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    let schema = world.test.schema().await;
    let many: Vec<Decision> = (1..=600)
        .map(|n| {
            let command = Command::Set(staff_of(
                &world,
                if n % 100 == 0 { 99 } else { 11 + u32::try_from(n % 3).unwrap() },
            ));
            Decision { allow_unseen_host: true, ..Decision::new(CompanyId(1), HostId(n), command) }
        })
        .collect();
    let act = anna();
    let results = hostmatch::app::decide_now(&world.test.db, &schema, &act, &many).await.unwrap();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 6);
    assert_eq!(world.count("calcom_host_mappings").await, 594);
    let again = hostmatch::app::decide_now(&world.test.db, &schema, &act, &many).await.unwrap();
    assert!(again.iter().flatten().all(|decided| decided.effect == Effect::Unchanged));
    let changes = changes_of_batch(world.test.db.connection(), &schema, act.id).await.unwrap();
    assert_eq!(changes.len(), 594);
    let revert: Vec<Decision> = changes
        .into_iter()
        .map(|change| Decision::new(change.key.company, change.key.host, Command::Revert(change)))
        .collect();
    let revert = hostmatch::app::decide_now(&world.test.db, &schema, &anna(), &revert).await.unwrap();
    assert!(
        revert.iter().all(|result| result.as_ref().is_ok_and(|decided| decided.effect == Effect::Reverted))
    );
    assert_eq!(world.count("calcom_host_mappings WHERE is_active").await, 0);
}

on_engines!(mappings_without_a_company_can_be_changed_and_restored: mariadb, postgres);
/// A gateway whose tables were adopted continues to write mappings without a company.
async fn mappings_without_a_company_can_be_changed_and_restored(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await.with_adopted().await;
    test.run(&gateway_continues(backend, Variant::Plan)).await;
    let world = World::in_database(test, &[]).await;
    let schema = world.test.schema().await;
    let on = sql_bool(true, backend);
    let row = async || {
        let of = "calcom_host_mappings WHERE calcom_host_id = 5102";
        world.rows(of, &["company_id", "staff_id", "mapping_source", "is_active"]).await
    };
    assert_eq!(row().await, [format!("-|904|auto_email|{on}")], "{backend:?}");
    let foreign = Decision::new(CompanyId(901), HostId(5102), Command::Set(staff_of(&world, 904)));
    assert!(matches!(make_decision(&world, foreign).await, Err(Refusal::OtherCompany { .. })));
    let set = Decision::new(CompanyId(902), HostId(5102), Command::Set(staff_of(&world, 904)));
    let confirmed = make_decision(&world, set).await.unwrap();
    assert_eq!(confirmed.effect, Effect::Confirmed, "{backend:?}");
    assert_eq!(row().await, [format!("902|904|admin|{on}")], "{backend:?}");
    let db = world.test.db.connection();
    let change =
        change_of(db, &schema, &Scope::of(Some(CompanyId(902))), confirmed.audits[0]).await.unwrap().unwrap();
    let revert = Decision::new(CompanyId(902), HostId(5102), Command::Revert(change));
    assert_eq!(make_decision(&world, revert).await.unwrap().effect, Effect::Reverted);
    assert_eq!(
        row().await,
        [format!("-|904|auto_email|{on}")],
        "{backend:?}: the row must be as the gateway wrote it"
    );
    // The gateway's own audit rows are listed, and cannot be reverted.
    let all = audits(db, &schema, &Scope::All, &AuditFilter::default(), 100).await.unwrap();
    let gateways_row = all.iter().find(|row| row.company.is_none()).unwrap();
    assert_eq!(change_of(db, &schema, &Scope::All, gateways_row.id).await.unwrap(), None);
    let age = all[0].at;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    assert!((now - age).abs() < 120_000, "{backend:?}: {} ms ago", now - age);
}
