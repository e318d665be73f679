//! A few hundred events on a gateway as in production: bookings are found by what they are called in
//! every one of its columns, and every row that was not to change is as it was.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::adopting;
use crate::program::{command, json, stderr};
use crate::support::{Backend, GatewayShape, Stack, TestDatabase, UpdatedAt, World, amqp_url, event, host};

const TABLES: [&str; 4] = ["companies", "staff", "appointments", "appointment_phases"];
/// What we write of the gateway's.
const OURS: [&str; 3] = ["staff_id", "calcom_host_id", "updated_at"];
const APPOINTMENTS: u32 = 60;
const ROUNDS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_row_is_as_it_was() {
    for backend in [Backend::MariaDb, Backend::Postgres] {
        for updated_at in [UpdatedAt::Instant, UpdatedAt::Local] {
            let test = TestDatabase::fresh(backend, GatewayShape::Production(updated_at)).await;
            furnish(&test).await;
            let before = dump(&test, &[]).await;
            let to_stay = dump(&test, &OURS).await;
            migration::up(test.db.connection()).await.unwrap();
            assert_eq!(dump(&test, &[]).await, before, "{test:?}: migrating changes no row");

            let world = World::of(test, &[]).await;
            for round in 1..=ROUNDS {
                world.send(&events(round)).await;
            }
            decided(&world).await;
            assert_eq!(dump(&world.test, &OURS).await, to_stay, "{:?}", world.test);
            let now = dump(&world.test, &[]).await;
            let (first, others) = (58, APPOINTMENTS as usize);
            let unasked = |rows: &[String]| (rows[first - 1].clone(), rows[others..].to_vec());
            assert_eq!(unasked(&now["appointments"]), unasked(&before["appointments"]), "{:?}", world.test);
            // The triggers have seen each of our writes, and wrote what they write.
            let logged = world.count("appointment_log").await;
            let counted =
                world.test.texts("SELECT CAST(SUM(changes) AS CHAR(20)) FROM appointment_counters").await;
            assert_eq!(counted[0].trim(), logged.to_string());
            assert!(logged > 30, "{logged}");

            migration::down(world.test.db.connection(), None).await.unwrap();
            assert_eq!(dump(&world.test, &OURS).await, to_stay, "{:?}", world.test);
        }
    }
}

/// The same way with a worker process, beside tables of ours that the gateway's own migrations made:
/// looked at, adopted, used, and given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_adopted_is_given_back_as_it_was() {
    for backend in [Backend::MariaDb, Backend::Postgres] {
        let test = TestDatabase::fresh(backend, GatewayShape::Production(UpdatedAt::Local)).await;
        furnish(&test).await;
        let test = test.with_tables_of_ours().await;
        let (before, to_stay) = (adopting::state(&test).await, dump(&test, &OURS).await);
        let inspect = run(&test.url, &["gateway", "inspect"]);
        assert_eq!(inspect["verdict"], "ready_with_notes", "{inspect}");
        let adoptions = inspect["migration"]["adoptions"].as_array().unwrap();
        assert_eq!(adoptions.len(), 3, "{inspect}");
        adopting::same("looking changes nothing", &adopting::state(&test).await, &before);
        run(&test.url, &["migrate", "up", "--adopt"]);

        let stack = Stack::on(World::of(test, &[]).await, Some(amqp_url())).await;
        let all: Vec<Value> = (1..=ROUNDS).flat_map(events).collect();
        for events in all.chunks(60) {
            stack.publish(events).await;
        }
        stack.drain().await;
        decided(&stack.world).await;
        assert_eq!(dump(&stack.world.test, &OURS).await, to_stay, "{:?}", stack.world.test);

        run(&stack.world.test.url, &["migrate", "down", "--all", "--yes"]);
        let after = adopting::state(&stack.world.test).await;
        assert_eq!(dump(&stack.world.test, &OURS).await, to_stay, "{:?}", stack.world.test);
        // Who was assigned stays; and what the gateway's own triggers wrote of it.
        let settled = |lines: &[String]| -> Vec<String> {
            let moved = ["appointments: ", "appointment_log: ", "appointment_counters: "];
            lines.iter().filter(|line| !moved.iter().any(|table| line.starts_with(table))).cloned().collect()
        };
        adopting::same(&format!("{backend:?}"), &settled(&after), &settled(&before));
    }
}

fn run(url: &str, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    let output = command(&arguments).env("HOSTMATCH_DATABASE__URL", url).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 10)), "{arguments:?}: {}", stderr(&output));
    json(&output)
}

/// Without e-mail addresses names are left; without a time of the last change there is none to set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_that_can_be_done_without_may_be_missing() {
    for backend in [Backend::MariaDb, Backend::Postgres] {
        let test = TestDatabase::migrated(backend, GatewayShape::Production(UpdatedAt::Missing)).await;
        test.run(&[
            "INSERT INTO companies (id, name) VALUES (1, 'Salon 1')",
            "INSERT INTO staff (id, company_id, name) VALUES ('00000000-0000-4000-8000-000000000001', 1, 'Frida Spitz')",
            "INSERT INTO appointments (id, company_id, calcom_v2_booking_id) VALUES (1, 1, 'Uid1')",
        ])
        .await;
        let world = World::of(test, &[("matching.auto_accept", "75")]).await;
        let who = host(1001, "frida  SPITZ", "frida@salon.example");
        assert_eq!(world.one(event("e1", "uid1", 1, who.clone())).await, "again: appointment_not_found");
        assert_eq!(world.one(event("e1", "Uid1", 1, who)).await, "assigned", "{:?}", world.test);
        assert_eq!(world.assigned(1).await, "1/1001");
    }
}

/// Two companies; people of every kind; an appointment for each way to call a booking.
async fn furnish(test: &TestDatabase) {
    let id = |n: u32| format!("'00000000-0000-4000-8000-{n:012}'");
    let mut sql = Vec::new();
    for company in [1, 2] {
        // JSON in JSON, as an array cast makes it of what was encoded already.
        sql.push(format!(
            "INSERT INTO companies (id, name, settings) VALUES ({company}, 'Salon {company}', '\"[1, 2]\"')"
        ));
    }
    for (n, name, email, active, deleted) in [
        (1, "Frida Spitz", "frida@salon.example", "TRUE", "NULL"),
        (2, "Jürgen Öztürk", "JUERGEN@Salon.example", "TRUE", "NULL"),
        (3, "Nadja Okafor", "nadja@salon.example", "FALSE", "NULL"),
        (4, "Boris Kamm", "boris@salon.example", "TRUE", "'2025-01-01 00:00:00'"),
    ] {
        sql.push(format!(
            "INSERT INTO staff (id, company_id, name, email, is_active, deleted_at, calcom_user_id) \
             VALUES ({}, 1, '{name}', '{email}', {active}, {deleted}, 'c{n}')",
            id(n)
        ));
    }
    for n in 1..=APPOINTMENTS + 10 {
        let (column, reference) = reference(n);
        let company = if n == 59 { 2 } else { 1 };
        // Some have somebody already: the gateway decided so.
        let staff = if n % 10 == 0 { id(4) } else { "NULL".to_owned() };
        sql.push(format!(
            "INSERT INTO appointments (id, company_id, staff_id, {column}, metadata, starts_at, updated_at, deleted_at) \
             VALUES ({n}, {company}, {staff}, '{reference}', '\"[1, {n}]\"', '2026-03-02 09:00:00', \
             '2026-01-01 00:00:00', {})",
            if n % 7 == 0 { "'2026-02-01 00:00:00'" } else { "NULL" }
        ));
        sql.push(format!(
            "INSERT INTO appointment_phases (appointment_id, calcom_booking_uid) VALUES ({n}, 'P{n}')"
        ));
    }
    test.run(&sql).await;
}

/// What a booking is called, and in which column.
fn reference(n: u32) -> (&'static str, String) {
    match n % 4 {
        0 => ("calcom_booking_id", format!("{}", 900_000 + n)),
        1 => ("calcom_v2_booking_id", format!("Uid{n}")),
        2 => ("calcom_v2_booking_id", format!("{}", 800_000 + n)),
        // Two that differ only in case: this one, and that of its neighbour four further on.
        _ if n % 8 == 3 => ("calcom_v2_booking_uid", format!("case{}", n / 8)),
        _ => ("calcom_v2_booking_uid", format!("CASE{}", n / 8)),
    }
}

fn events(round: u32) -> Vec<Value> {
    let one = |n: u32| {
        let who = match (n + round) % 6 {
            0 => host(4004, "Nobody", "nobody@elsewhere.example"),
            1 => host(3003, "Nadja Okafor", "nadja@salon.example"),
            2 => json!([]),
            3 => host(2002, "J.", "juergen@salon.example"),
            _ => host(1001, "Frida S.", "frida@salon.example"),
        };
        let (column, name) = reference(n);
        let mut event = event(&format!("r{round}-{n}"), &name, round, who);
        if column == "calcom_booking_id" {
            event["calcom_booking"]["id"] = json!(name.parse::<u64>().unwrap());
            event["calcom_booking"]["uid"] = json!(format!("unknown-{n}"));
        }
        match n {
            57 => event["event"] = json!("appointment.cancelled"),
            58 => event["company_id"] = json!(2),
            60 => event["calcom_booking"] = json!("no booking"),
            _ => {}
        }
        event
    };
    (1..=APPOINTMENTS).map(one).collect()
}

/// The newest event of each counts, and each was found as what it is called.
async fn decided(world: &World) {
    let rows = world.rows("appointment_assignments", &["appointment_id", "event_id", "outcome"]).await;
    let rows: BTreeMap<u32, (&str, &str)> = rows
        .iter()
        .map(|row| row.split('|').collect::<Vec<_>>())
        .map(|row| (row[0].parse().unwrap(), (row[1], row[2])))
        .collect();
    let appointments = world.appointments().await;
    for n in 1..=56 {
        let (who, hosted) = match (n + ROUNDS) % 6 {
            0 => (None, true),
            1 => (None, true),
            2 => (None, false),
            3 => (Some("2/2002"), true),
            _ => (Some("1/1001"), true),
        };
        if hosted {
            assert_eq!(rows[&n].0, format!("r{ROUNDS}-{n}"), "{:?}: {n}", world.test);
        }
        let state = &appointments[&n];
        if n % 10 == 0 {
            assert!(state.starts_with("4/"), "{:?}: {n}: kept, {state}", world.test);
        } else if let Some(who) = who {
            assert_eq!(state, who, "{:?}: {n}", world.test);
        }
    }
    assert_eq!(appointments[&58], "-/-", "{:?}: another company's event", world.test);
    assert!(appointments[&59].starts_with("-/"), "{:?}: nobody of another company", world.test);
}

/// The rows of the gateway's tables as text, of appointments without these columns.
async fn dump(test: &TestDatabase, without: &[&str]) -> BTreeMap<&'static str, Vec<String>> {
    let mut dump = BTreeMap::new();
    for table in TABLES {
        let schema = if test.backend == Backend::MariaDb { "DATABASE()" } else { "'public'" };
        let columns = test
            .texts(&format!(
                "SELECT TRIM(CAST(column_name AS CHAR(64))) FROM information_schema.columns \
                 WHERE table_schema = {schema} AND table_name = '{table}' ORDER BY ordinal_position"
            ))
            .await;
        let left_out = |column: &&String| table == "appointments" && without.contains(&column.as_str());
        let values: Vec<String> = columns
            .iter()
            .filter(|column| column.as_str() != "calcom_host_id" && !left_out(column))
            .map(|column| format!("COALESCE(CAST({column} AS CHAR(255)), '-')"))
            .collect();
        let rows = format!("SELECT CONCAT_WS('|', {}) FROM {table} ORDER BY id", values.join(", "));
        dump.insert(table, test.texts(&rows).await);
    }
    dump
}
