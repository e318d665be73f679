//! What people's decisions about mappings change, on every engine.

use hostmatch::app::{Command, Decision, Effect, Refusal};
use hostmatch::event::{CompanyId, HostId, StaffId};
use hostmatch::store::{AuditFilter, Scope, audits, change_of, changes_of_act};

use super::{anna, decides, decides_on, staff_of};
use crate::support::adopted::{Variant, gateway_continues};
use crate::support::{Backend, GatewayShape, TestDatabase, World, event, host};

const MAPPINGS: [&str; 6] =
    ["company_id", "calcom_host_id", "staff_id", "mapping_source", "confidence_score", "is_active"];
const AUDITS: [&str; 4] = ["calcom_host_id", "staff_id", "action", "actor"];

pub(super) async fn salon(backend: Backend, shape: GatewayShape) -> World {
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

fn active(on: bool, backend: Backend) -> &'static str {
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
    let world = salon(backend, shape).await;
    let (on, off) = (active(true, backend), active(false, backend));
    let set = async |n: u32| decides(&world, 7, Command::Set(staff_of(&world, n))).await.unwrap();
    let rows = async || world.rows("calcom_host_mappings", &MAPPINGS).await;

    let made = set(12).await;
    assert_eq!((made.effect, made.audits.len(), &made.before), (Effect::Made, 1, &vec![]));
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{on}")]);
    assert_eq!(set(12).await.effect, Effect::Unchanged);

    let replaced = set(13).await;
    assert_eq!((replaced.effect, replaced.audits.len()), (Effect::Replaced, 2));
    assert_eq!(Some(replaced.before[0].mapping), made.mapping);
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{off}"), format!("1|7|13|admin|100|{on}")]);

    // A change that touched two rows is reverted in both, whichever audit row is named.
    let schema = world.test.schema().await;
    let db = world.test.db.connection();
    for audit in &replaced.audits {
        assert_eq!(change_of(db, &schema, &Scope::All, *audit).await.unwrap().unwrap().rows.len(), 2);
    }
    let change = change_of(db, &schema, &Scope::All, replaced.audits[0]).await.unwrap().unwrap();
    let reverted = decides(&world, 7, Command::Revert(change.clone())).await.unwrap();
    assert_eq!((reverted.effect, reverted.mapping), (Effect::Reverted, made.mapping));
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{on}"), format!("1|7|13|admin|100|{off}")]);
    let again = decides(&world, 7, Command::Revert(change.clone())).await.unwrap();
    assert_eq!(
        (again.effect, again.audits.len()),
        (Effect::Unchanged, 0),
        "the mapping already has its earlier state"
    );
    // The revert itself can be reverted.
    let back = change_of(db, &schema, &Scope::All, reverted.audits[0]).await.unwrap().unwrap();
    assert_eq!(decides(&world, 7, Command::Revert(back)).await.unwrap().effect, Effect::Reverted);
    assert_eq!(rows().await, [format!("1|7|12|manual|100|{off}"), format!("1|7|13|admin|100|{on}")]);
    let mapping = replaced.mapping.unwrap();
    assert_eq!(decides(&world, 7, Command::SwitchOff(mapping)).await.unwrap().effect, Effect::SwitchedOff);
    assert_eq!(decides(&world, 7, Command::SwitchOff(mapping)).await.unwrap().effect, Effect::Unchanged);
    // No match reactivates what a person deactivated.
    assert_eq!(
        world.outcome_of(event("e1", "B11", 1, host(7, "C", "carla@salon.example"))).await,
        "needs_review"
    );
    assert_eq!(decides(&world, 7, Command::SwitchOn(mapping)).await.unwrap().effect, Effect::SwitchedOn);
    assert_eq!(
        world.outcome_of(event("e1", "B11", 1, host(7, "C", "carla@salon.example"))).await,
        "assigned"
    );
    let taken = decides(&world, 7, Command::SwitchOn(made.mapping.unwrap())).await.unwrap_err();
    assert!(matches!(taken, Refusal::Taken { .. }), "{taken}");

    // A change cannot be reverted after a newer one, even if both led to the same mapping. It can be reverted
    // once the newer changes have been reverted.
    let mut changes = Vec::new();
    for n in [12, 13, 12, 13] {
        let audits = decides(&world, 9, Command::Set(staff_of(&world, n))).await.unwrap().audits;
        changes.push(change_of(db, &schema, &Scope::All, audits[0]).await.unwrap().unwrap());
    }
    let refusal = decides(&world, 9, Command::Revert(changes[1].clone())).await.unwrap_err();
    let newest = changes[3].rows.iter().map(|row| row.id).max();
    assert!(matches!(refusal, Refusal::ChangedSince { by, .. } if by == newest), "{refusal}");
    for change in changes.into_iter().rev() {
        assert_eq!(decides(&world, 9, Command::Revert(change)).await.unwrap().effect, Effect::Reverted);
    }
    assert!(!rows().await.iter().any(|row| row.starts_with("1|9|") && row.ends_with(on)), "{backend:?}");

    // A person confirms the mapping of a match.
    assert_eq!(world.outcome_of(event("e2", "B12", 1, host(8, "A", "anna@salon.example"))).await, "assigned");
    let confirmed = decides(&world, 8, Command::Set(staff_of(&world, 11))).await.unwrap();
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

on_engines!(bad_decisions_are_refused_with_a_reason_and_write_nothing);
async fn bad_decisions_are_refused_with_a_reason_and_write_nothing(backend: Backend) {
    let world = salon(backend, GatewayShape::Live).await;
    world.staff_active(13, false).await;
    world
        .run(&format!(
            "UPDATE staff SET deleted_at = '2026-01-01 00:00:00' WHERE id = {}",
            world.staff_id(12)
        ))
        .await;
    let set = async |n: u32| decides(&world, 7, Command::Set(staff_of(&world, n))).await.unwrap_err();
    assert!(matches!(set(21).await, Refusal::Foreign { .. }));
    assert!(matches!(set(13).await, Refusal::Inactive(_)));
    assert!(matches!(set(12).await, Refusal::Deleted(_)));
    assert!(matches!(set(99).await, Refusal::NoStaff(_)));
    for odd in [StaffId::Integer(11), StaffId::Text("x'--".into())] {
        assert!(matches!(decides(&world, 7, Command::Set(odd)).await, Err(Refusal::NoStaff(_))));
    }
    let unseen = Decision::new(CompanyId(1), HostId(7), Command::Set(staff_of(&world, 11)));
    assert_eq!(decides_on(&world, unseen.clone()).await, Err(Refusal::UnknownHost(CompanyId(1), HostId(7))));
    let nowhere = Decision::new(CompanyId(9), HostId(7), Command::Set(staff_of(&world, 11)));
    assert_eq!(decides_on(&world, nowhere).await, Err(Refusal::NoCompany(CompanyId(9))));
    assert_eq!(world.count("calcom_host_mapping_audits").await, 0);

    let made = decides(&world, 7, Command::Set(staff_of(&world, 11))).await.unwrap();
    let foreign = Decision::new(CompanyId(2), HostId(7), Command::SwitchOff(made.mapping.unwrap()));
    assert!(matches!(decides_on(&world, foreign).await, Err(Refusal::NoMapping(..))));
    let late = Decision { expected_audit: Some(0), ..unseen };
    assert_eq!(decides_on(&world, late).await, Err(Refusal::ChangedMeanwhile(HostId(7))));
    assert_eq!(world.count("calcom_host_mapping_audits").await, 1);
}

on_engines!(a_request_with_many_decisions_is_written_once_and_found_again);
async fn a_request_with_many_decisions_is_written_once_and_found_again(backend: Backend) {
    let world = salon(backend, GatewayShape::Live).await;
    let schema = world.test.schema().await;
    let many: Vec<Decision> = (1..=600)
        .map(|n| {
            let command = Command::Set(staff_of(
                &world,
                if n % 100 == 0 { 99 } else { 11 + u32::try_from(n % 3).unwrap() },
            ));
            Decision { may_be_new: true, ..Decision::new(CompanyId(1), HostId(n), command) }
        })
        .collect();
    let act = anna();
    let answers = hostmatch::app::decide_now(&world.test.db, &schema, &act, &many).await.unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.is_err()).count(), 6);
    assert_eq!(world.count("calcom_host_mappings").await, 594);
    let again = hostmatch::app::decide_now(&world.test.db, &schema, &act, &many).await.unwrap();
    assert!(again.iter().flatten().all(|decided| decided.effect == Effect::Unchanged));
    let changes = changes_of_act(world.test.db.connection(), &schema, act.id).await.unwrap();
    assert_eq!(changes.len(), 594);
    let back: Vec<Decision> = changes
        .into_iter()
        .map(|change| Decision::new(change.key.company, change.key.host, Command::Revert(change)))
        .collect();
    let back = hostmatch::app::decide_now(&world.test.db, &schema, &anna(), &back).await.unwrap();
    assert!(
        back.iter().all(|answer| answer.as_ref().is_ok_and(|decided| decided.effect == Effect::Reverted))
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
    let on = active(true, backend);
    let row = async || {
        let of = "calcom_host_mappings WHERE calcom_host_id = 5102";
        world.rows(of, &["company_id", "staff_id", "mapping_source", "is_active"]).await
    };
    assert_eq!(row().await, [format!("-|904|auto_email|{on}")], "{backend:?}");
    let foreign = Decision::new(CompanyId(901), HostId(5102), Command::Set(staff_of(&world, 904)));
    assert!(matches!(decides_on(&world, foreign).await, Err(Refusal::Foreign { .. })));
    let set = Decision::new(CompanyId(902), HostId(5102), Command::Set(staff_of(&world, 904)));
    let confirmed = decides_on(&world, set).await.unwrap();
    assert_eq!(confirmed.effect, Effect::Confirmed, "{backend:?}");
    assert_eq!(row().await, [format!("902|904|admin|{on}")], "{backend:?}");
    let db = world.test.db.connection();
    let change =
        change_of(db, &schema, &Scope::of(Some(CompanyId(902))), confirmed.audits[0]).await.unwrap().unwrap();
    let back = Decision::new(CompanyId(902), HostId(5102), Command::Revert(change));
    assert_eq!(decides_on(&world, back).await.unwrap().effect, Effect::Reverted);
    assert_eq!(row().await, [format!("-|904|auto_email|{on}")], "{backend:?}: as the gateway wrote it");
    // The gateway's own audit rows are listed, and cannot be reverted.
    let all = audits(db, &schema, &Scope::All, &AuditFilter::default(), 100).await.unwrap();
    let theirs = all.iter().find(|row| row.company.is_none()).unwrap();
    assert_eq!(change_of(db, &schema, &Scope::All, theirs.id).await.unwrap(), None);
    let age = all[0].at;
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap();
    assert!((now - age).abs() < 120_000, "{backend:?}: {} ms ago", now - age);
}
