//! Tests two people, or a person and workers, who change one host at the same time.

use std::time::Duration;

use hostmatch::app::{Command, Decision, decide_now};
use hostmatch::event::{CompanyId, HostId};
use hostmatch::matching::HostKey;
use hostmatch::store;
use sea_orm::DatabaseTransaction;

use super::decisions::create_salon;
use super::{anna, staff_of};
use crate::support::program::command;
use crate::support::{Backend, GatewayShape, Process, World, event, eventually, host};

/// Locks the host until the transaction ends.
async fn lock_host(world: &World, host: i64) -> DatabaseTransaction {
    let tx = world.test.db.begin().await.unwrap();
    store::lock_hosts(&tx, &world.test.schema().await, &[HostKey::new(CompanyId(1), HostId(host))].into())
        .await
        .unwrap();
    tx
}

on_engines!(of_two_concurrent_decisions_one_is_made_and_the_other_gets_an_error);
async fn of_two_concurrent_decisions_one_is_made_and_the_other_gets_an_error(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    let directory = tempfile::tempdir().unwrap();
    // Both people have read the state, and neither has decided yet.
    let tx = lock_host(&world, 7).await;
    let mut people: Vec<Process> = [("anna", 11), ("boris", 12)]
        .map(|(name, staff)| {
            let staff = staff_of(&world, staff).to_string();
            let set =
                ["-v", "mappings", "set", "--company", "1", "--host", "7", "--unseen", "--staff", &staff];
            let mut command = command(&set);
            command.env("HOSTMATCH_DATABASE__URL", &world.test.url);
            Process::start(command, directory.path(), name)
        })
        .into();
    for person in &mut people {
        eventually("the process has read the state", Duration::from_secs(60), async || {
            person.stderr().contains("decision confirmed, carrying it out").then_some(())
        })
        .await;
    }
    tx.rollback().await.unwrap();
    let mut codes = Vec::new();
    for person in &mut people {
        codes.push((person.wait().await.code(), person.stderr()));
    }
    codes.sort();
    assert_eq!((codes[0].0, codes[1].0), (Some(0), Some(6)), "{backend:?}: {codes:?}");
    let reported = &codes[1].1;
    assert!(reported.contains("somebody else has changed the mapping of host 7"), "{backend:?}: {reported}");
    assert!(reported.contains("the host is now mapped to staff"), "{backend:?}: {reported}");
    assert_eq!(world.count("calcom_host_mappings").await, 1, "{backend:?}");
    assert_eq!(world.count("calcom_host_mapping_audits").await, 1, "{backend:?}");
}

on_engines!(a_person_and_workers_at_once_leave_one_consistent_mapping);
async fn a_person_and_workers_at_once_leave_one_consistent_mapping(backend: Backend) {
    let world = create_salon(backend, GatewayShape::Live).await;
    let schema = world.test.schema().await;
    for id in 101..113_u32 {
        let boris = Decision {
            allow_unseen_host: true,
            ..Decision::new(CompanyId(1), HostId(id.into()), Command::Set(staff_of(&world, 12)))
        };
        let (act, decisions) = (anna(), [boris]);
        let person = decide_now(&world.test.db, &schema, &act, &decisions);
        let sent = |n: u32| {
            event(&format!("e{id}-{n}"), &format!("B{}", 10 + n), id, host(id, "A", "anna@salon.example"))
        };
        let (one, two) = ([sent(1)], [sent(2)]);
        let (decided, _, _) = tokio::join!(person, world.send(&one), world.send(&two));
        decided.unwrap().remove(0).unwrap();
        let rows = world
            .rows(&format!("calcom_host_mappings WHERE is_active AND calcom_host_id = {id}"), &["staff_id"])
            .await;
        assert_eq!(rows, ["12"], "{backend:?}: the person's decision must remain");
        let audits = format!("calcom_host_mapping_audits WHERE calcom_host_id = {id}");
        let trail = world.rows(&audits, &["staff_id", "action", "actor"]).await;
        let first = ["12|created|cli:anna@office"];
        let second =
            ["11|auto_matched|worker", "11|deleted|cli:anna@office", "12|manual_override|cli:anna@office"];
        assert!(trail == first || trail == second, "{backend:?}: {trail:?}");
    }
    let replayed = "SELECT COUNT(*) FROM calcom_host_mappings WHERE is_active";
    assert_eq!(world.test.number(replayed).await, 12, "{backend:?}");
}
