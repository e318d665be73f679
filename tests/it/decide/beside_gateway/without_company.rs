//! A gateway whose mappings were adopted continues to write some of its own, as before: without their
//! company, so that no unique key prevents two active ones for a host.

use hostmatch::event::{CompanyId, Host, HostId, StaffId};
use hostmatch::matching::{
    Audit, AuditAction, ChangeSet, Confidence, HostKey, MappingChange, MappingRef, MappingSource,
    MappingWrite,
};
use hostmatch::store;
use serde_json::json;

use crate::migration::adopting::gateway;
use crate::support::adopted::{Variant, staff};
use crate::support::{Backend, World, event, host};

const JANA: u32 = 901;
const OMAR: u32 = 902;
/// An inactive member of staff.
const LENA: u32 = 903;
/// A member of staff of another company.
const MARA: u32 = 904;

/// Returns adopted tables: mapping 1 gives host 5001 to Jana, the other company gives it to Mara.
async fn create_adopted_gateway(backend: Backend) -> World {
    let test = gateway(backend, Variant::Live).await;
    migration::adopt(test.db.connection()).await.unwrap();
    let world = World::in_database(test, &[]).await;
    for id in 9010..9020 {
        let company = if id == 9019 { 902 } else { 901 };
        world.appointment(id, company, &format!("bk-{id}")).await;
    }
    world
}

/// Inserts a mapping of the gateway without a company.
async fn insert_gateway_mapping(world: &World, host: u32, whom: u32, source: &str) {
    let sql = format!(
        "INSERT INTO calcom_host_mappings (staff_id, calcom_host_id, calcom_name, calcom_email, mapping_source) \
         VALUES ({}, {host}, 'X', '', '{source}')",
        staff(whom)
    );
    world.run(&sql).await;
}

/// Decides a booking of the appointment with a host that only a mapping resolves.
async fn decide_booking(world: &World, appointment: u32, with: u32) -> String {
    let (id, booking) = (format!("e-{appointment}"), format!("bk-{appointment}"));
    world.outcome_of(event(&id, &booking, 1, host(with, "Somebody Else", "else@elsewhere.example"))).await
}

async fn redecide(world: &World) {
    hostmatch::decide::redecide_waiting(&world.processor).await.unwrap();
}

on_engines!(two_conflicting_mappings_need_a_person_and_no_other_company_sees_them: mariadb, postgres);
async fn two_conflicting_mappings_need_a_person_and_no_other_company_sees_them(backend: Backend) {
    let world = create_adopted_gateway(backend).await;
    insert_gateway_mapping(&world, 5001, OMAR, "auto_email").await;
    assert_eq!(decide_booking(&world, 9010, 5001).await, "needs_review", "{backend:?}");
    assert_eq!(world.assigned(9010).await, "-/5001", "{backend:?}");
    let inbox = world.rows("hostmatch_inbox", &["company_id", "host_id", "kind", "suggestions"]).await;
    assert_eq!(inbox.len(), 1, "{backend:?}: {inbox:?}");
    assert!(inbox[0].starts_with("901|5001|ambiguous"), "{backend:?}: {inbox:?}");
    let places =
        [JANA, OMAR].map(|n| inbox[0].find(staff(n).trim_matches('\'')).or(inbox[0].find(&n.to_string())));
    assert!(places[0].is_some() && places[0] < places[1], "{backend:?}: {inbox:?}");
    // The appointment is not read again while nothing has changed.
    let waiting = store::waiting_appointments(world.test.db.connection(), &world.test.schema().await, 10)
        .await
        .unwrap();
    assert_eq!(waiting, [], "{backend:?}");
    redecide(&world).await;
    assert_eq!(world.assigned(9010).await, "-/5001", "{backend:?}");
    assert_eq!(decide_booking(&world, 9019, 5001).await, "assigned", "{backend:?}");
    assert_eq!(world.assigned(9019).await, "904/5001", "{backend:?}: the other company's");
    // The remaining person is used, and the waiting appointment follows.
    world
        .run(&format!("UPDATE calcom_host_mappings SET is_active = FALSE WHERE staff_id = {}", staff(OMAR)))
        .await;
    redecide(&world).await;
    assert_eq!(world.assigned(9010).await, "901/5001", "{backend:?}");
}

on_engines!(a_mapping_without_a_company_counts_for_the_company_of_its_staff: mariadb, postgres);
async fn a_mapping_without_a_company_counts_for_the_company_of_its_staff(backend: Backend) {
    let world = create_adopted_gateway(backend).await;
    // A mapping of the other company does not count here; and a waiting appointment is decided when a
    // mapping is created later.
    insert_gateway_mapping(&world, 6001, MARA, "auto_email").await;
    assert_eq!(decide_booking(&world, 9010, 6001).await, "unmatched", "{backend:?}");
    redecide(&world).await;
    assert_eq!(world.assigned(9010).await, "-/6001", "{backend:?}");
    // An unknown source counts as a match if it begins like one.
    insert_gateway_mapping(&world, 6001, OMAR, "auto_phone").await;
    redecide(&world).await;
    assert_eq!(world.assigned(9010).await, "902/6001", "{backend:?}");

    // A person's mapping takes precedence over that of a match, in whatever order they were written.
    insert_gateway_mapping(&world, 5001, OMAR, "manual").await;
    assert_eq!(decide_booking(&world, 9011, 5001).await, "assigned", "{backend:?}");
    assert_eq!(world.assigned(9011).await, "902/5001", "{backend:?}");
    insert_gateway_mapping(&world, 6002, OMAR, "admin").await;
    insert_gateway_mapping(&world, 6002, JANA, "auto_email").await;
    assert_eq!(decide_booking(&world, 9012, 6002).await, "assigned", "{backend:?}");
    assert_eq!(world.assigned(9012).await, "902/6002", "{backend:?}");

    // Mappings that no longer count make room for one that does.
    for whom in [LENA, OMAR] {
        insert_gateway_mapping(&world, 6003, whom, "auto_email").await;
    }
    world.set_staff_active(OMAR, false).await;
    let sent = event("e-9013", "bk-9013", 1, host(6003, "", "jana@salon.example"));
    assert_eq!(world.outcome_of(sent).await, "assigned", "{backend:?}");
    let rows =
        world.rows("calcom_host_mappings WHERE calcom_host_id = 6003", &["staff_id", "company_id"]).await;
    assert_eq!(rows, ["901|901", "902|-", "903|-"], "{backend:?}");
    let active = "calcom_host_mappings WHERE calcom_host_id = 6003 AND is_active";
    assert_eq!(world.rows(active, &["staff_id"]).await, ["901"], "{backend:?}");
    let audits = "calcom_host_mapping_audits WHERE calcom_host_id = 6003";
    let audits = world.rows(audits, &["action", "staff_id", "company_id"]).await;
    assert_eq!(audits, ["auto_matched|901|901", "updated|902|901", "updated|903|901"], "{backend:?}");
}

on_engines!(a_mapping_that_the_gateway_created_first_stays_the_gateways: mariadb, postgres);
/// Between our read and our INSERT the gateway creates the same mapping: it belongs to the gateway, we do not
/// record it as ours, and so `down` keeps it.
async fn a_mapping_that_the_gateway_created_first_stays_the_gateways(backend: Backend) {
    let world = create_adopted_gateway(backend).await;
    insert_gateway_mapping(&world, 6001, JANA, "auto_email").await;
    let schema = world.test.schema().await;
    let changes = ChangeSet { mappings: vec![insert(6001), insert(6002)], ..ChangeSet::default() };
    let tx = world.test.db.begin().await.unwrap();
    store::commit(&tx, &schema, &changes).await.unwrap();
    tx.commit().await.unwrap();
    let audits = "calcom_host_mapping_audits WHERE actor = 'worker'";
    assert_eq!(world.rows(audits, &["calcom_host_id", "staff_id"]).await, ["6002|901"], "{backend:?}");
    migration::down(world.test.db.connection(), None).await.unwrap();
    let left = "calcom_host_mappings WHERE calcom_host_id > 6000";
    assert_eq!(world.rows(left, &["calcom_host_id", "calcom_name"]).await, ["6001|X"], "{backend:?}");
}

fn insert(host: i64) -> MappingChange {
    let key = HostKey::new(CompanyId(901), HostId(host));
    let jana = StaffId::Text(staff(JANA).trim_matches('\'').to_owned());
    let change_key = uuid::Uuid::new_v4();
    MappingChange {
        write: MappingWrite::Insert {
            host: Box::new(Host { name: Some("Ours".into()), ..Host::default() }),
            source: MappingSource::AutoEmail,
            confidence: Confidence(95),
            metadata: json!({ "change_key": change_key }),
        },
        audit: Audit {
            change_key,
            mapping: MappingRef::New(key),
            key,
            staff: jana,
            action: AuditAction::AutoMatched,
            old_values: None,
            new_values: json!({}),
            reason: Some("a test".into()),
        },
    }
}
