//! A few hundred events beside tables of ours that the gateway's own migrations created: inspected,
//! adopted, used by a worker process, and returned unchanged.

use serde_json::Value;

use super::untouched::{
    OUR_COLUMNS, ROUNDS, assert_newest_events_count, dump, events, insert_rows, staff_and_times,
};
use crate::migration::adopting;
use crate::support::adopted::{Variant, staff};
use crate::support::program::{command, json, stderr};
use crate::support::{Backend, GatewayShape, Stack, TestDatabase, UpdatedAt, World, amqp_url, event, host};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adopted_tables_on_mariadb_are_returned_unchanged() {
    for variant in [Variant::Plan, Variant::Live] {
        adopt_use_and_return(Backend::MariaDb, variant).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn adopted_tables_on_postgresql_are_returned_unchanged() {
    for variant in [Variant::Plan, Variant::Live] {
        adopt_use_and_return(Backend::Postgres, variant).await;
    }
}

async fn adopt_use_and_return(backend: Backend, variant: Variant) {
    let test = TestDatabase::fresh(backend, GatewayShape::Production(UpdatedAt::Local)).await;
    insert_rows(&test).await;
    let test = test.with_existing_tables(variant).await;
    insert_host_bookings(&test).await;
    let what = format!("{test:?}/{variant:?}");
    let (before, unchanged) = (adopting::state(&test).await, dump(&test, &OUR_COLUMNS).await);
    let inspect = run(&test.url, &["gateway", "inspect"]);
    assert_eq!(inspect["verdict"], "ready_with_notes", "{inspect}");
    let adoptions = inspect["migration"]["adoptions"].as_array().unwrap();
    assert_eq!(adoptions.len(), 3, "{inspect}");
    adopting::same("inspecting changes nothing", &adopting::state(&test).await, &before);
    run(&test.url, &["migrate", "up", "--adopt"]);

    let stack = Stack::on(World::in_database(test, &[]).await, Some(amqp_url())).await;
    let world = &stack.world;
    let earlier = staff_and_times(world).await;
    publish_rounds(&stack, 1..=ROUNDS / 2, ("Omar Falk", "omar@salon.example")).await;
    assert_eq!(world.assigned(9004).await, "902/5002", "{what}");
    // One person goes on leave and another returns, so that the superseded mapping counts again.
    set_active(world, "FALSE", "TRUE").await;
    publish_rounds(&stack, ROUNDS / 2 + 1..=ROUNDS, ("Lena Brandt", "lena@salon.example")).await;
    set_active(world, "TRUE", "FALSE").await;
    assert_newest_events_count(world, &earlier).await;
    assert_hosts_decided(world, &what).await;
    assert_eq!(
        staff_and_times(world).await[&9001],
        earlier[&9001],
        "{what}: kept, and its host was already known"
    );
    assert_eq!(staff_and_times(world).await[&9002], earlier[&9002], "{what}: no event is about it");
    assert_eq!(dump(&world.test, &OUR_COLUMNS).await, unchanged, "{what}");

    run(&world.test.url, &["migrate", "down", "--all", "--yes"]);
    let after = adopting::state(&world.test).await;
    assert_eq!(dump(&world.test, &OUR_COLUMNS).await, unchanged, "{what}");
    // Assignments stay, and so do the rows that the gateway's own triggers wrote about them.
    let settled = |lines: &[String]| -> Vec<String> {
        let moved = ["appointments: ", "appointment_log: ", "appointment_counters: "];
        lines.iter().filter(|line| !moved.iter().any(|table| line.starts_with(table))).cloned().collect()
    };
    adopting::same(&what, &settled(&after), &settled(&before));
}

fn run(url: &str, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    let output = command(&arguments).env("HOSTMATCH_DATABASE__URL", url).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 10)), "{arguments:?}: {}", stderr(&output));
    json(&output)
}

/// Adds bookings with the hosts of the adopted mappings, beside the existing ones (9001 and 9002).
async fn insert_host_bookings(test: &TestDatabase) {
    let mut sql = vec![format!("UPDATE appointments SET staff_id = {} WHERE id = 9001", staff(902))];
    for (id, company, somebody) in [
        (9003, 901, "NULL".to_owned()),
        (9004, 901, "NULL".to_owned()),
        (9005, 901, "NULL".to_owned()),
        (9006, 901, "NULL".to_owned()),
        (9007, 902, "NULL".to_owned()),
        (9008, 902, staff(904)),
    ] {
        sql.push(format!(
            "INSERT INTO appointments (id, company_id, calcom_v2_booking_id, staff_id) VALUES ({id}, {company}, \
             'bk-{id}', {somebody})"
        ));
    }
    test.run(&sql).await;
}

/// Sets whether Omar and Lena are active.
async fn set_active(world: &World, omar: &str, lena: &str) {
    for (active, who) in [(omar, 902), (lena, 903)] {
        world.run(&format!("UPDATE staff SET is_active = {active} WHERE id = {}", staff(who))).await;
    }
}

/// Publishes all events of these rounds and waits for their decisions. `who` is the person behind the host
/// whose mapping does not apply.
async fn publish_rounds(stack: &Stack, rounds: std::ops::RangeInclusive<u32>, who: (&str, &str)) {
    let last = *rounds.end();
    for round in rounds {
        if round == last {
            // Locked rows may defer older events, but the last event of each appointment must be decided last.
            stack.drain().await;
        }
        let one = |id: u32, host: Value| {
            let booking = if id == 9001 { "bk-old".to_owned() } else { format!("bk-{id}") };
            event(&format!("a{round}-{id}"), &booking, round, host)
        };
        let mut hosts = vec![
            one(9001, host(5001, "Jana Ruiz", "jana@salon.example")),
            one(9004, host(5002, who.0, who.1)),
            one(9006, host(5001, "J.", "j@elsewhere.example")),
            one(9007, host(5001, "M.", "m@elsewhere.example")),
            one(9008, host(5001, "M.", "m@elsewhere.example")),
        ];
        if round <= ROUNDS / 2 {
            // These hosts get no bookings while their person is on leave.
            hosts.push(one(9003, host(5004, "O.", "omar@elsewhere.example")));
            hosts.push(one(9005, host(5003, "Omar Falk", "omar@salon.example")));
        }
        stack.publish(&events(round)).await;
        stack.publish(&hosts).await;
    }
    stack.drain().await;
}

/// Checks that the adopted mappings were used, that one was superseded and came back, and that one that a
/// person deactivated stays inactive.
async fn assert_hosts_decided(world: &World, what: &str) {
    let columns = ["appointment_id", "staff_id", "strategy", "confidence", "outcome"];
    let rows = world.rows("hostmatch_assignments WHERE appointment_id > 9000", &columns).await;
    assert_eq!(
        rows,
        [
            "9001|-|existing|95|kept",
            "9003|902|existing|75|unchanged",
            "9004|903|existing|95|unchanged",
            "9005|-|-|-|needs_review",
            "9006|901|existing|95|unchanged",
            "9007|904|manual|100|unchanged",
            "9008|-|manual|100|unchanged",
        ],
        "{what}"
    );
    let states = world.appointments().await;
    let states: Vec<&str> = (9003..=9008).map(|id| states[&id].as_str()).collect();
    assert_eq!(states, ["902/5004", "903/5002", "-/5003", "901/5001", "904/5001", "904/5001"], "{what}");
    let columns = ["company_id", "calcom_host_id", "staff_id", "mapping_source", "is_active"];
    let rows = world.rows("calcom_host_mappings WHERE company_id > 900", &columns).await;
    let flag = |active: bool| match world.test.backend {
        Backend::MariaDb => u8::from(active).to_string(),
        _ => active.to_string(),
    };
    let (on, off) = (flag(true), flag(false));
    let expected = [
        format!("901|5001|901|auto_email|{on}"),
        format!("901|5002|902|auto_email|{off}"),
        format!("901|5002|903|auto_email|{on}"),
        format!("901|5003|902|manual|{off}"),
        format!("901|5004|902|auto_name|{on}"),
        format!("902|5001|904|admin|{on}"),
    ];
    assert_eq!(rows, expected, "{what}");
    let columns = ["calcom_host_id", "staff_id", "action"];
    let audits = "calcom_host_mapping_audits WHERE company_id > 900 AND actor = 'worker'";
    let rows = world.rows(audits, &columns).await;
    // Lena's is deactivated and Omar's created; then Omar's is deactivated and Lena's reactivated.
    let expected = ["5002|902|auto_matched", "5002|902|updated", "5002|903|auto_matched", "5002|903|updated"];
    assert_eq!(rows, expected, "{what}");
}
