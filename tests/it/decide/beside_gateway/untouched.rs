//! A few hundred events on a gateway as in production: bookings are found through their reference in every
//! one of its columns, and every other row is unchanged.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Backend, GatewayShape, TestDatabase, UpdatedAt, World, event, host};

const TABLES: [&str; 4] = ["companies", "staff", "appointments", "appointment_phases"];
/// The gateway's columns that we write.
pub(super) const OUR_COLUMNS: [&str; 3] = ["staff_id", "calcom_host_id", "updated_at"];
/// Columns that do not exist before our migrations.
const NEW_COLUMNS: [&str; 1] = ["calcom_host_id"];
const APPOINTMENTS: u32 = 60;
pub(super) const ROUNDS: u32 = 6;

on_engines!(every_other_row_is_unchanged: mariadb, postgres);
async fn every_other_row_is_unchanged(backend: Backend) {
    for updated_at in [UpdatedAt::Instant, UpdatedAt::Local] {
        let test = TestDatabase::fresh(backend, GatewayShape::Production(updated_at)).await;
        insert_rows(&test).await;
        let before = dump(&test, &NEW_COLUMNS).await;
        let unchanged = dump(&test, &OUR_COLUMNS).await;
        migration::up(test.db.connection()).await.unwrap();
        assert_eq!(dump(&test, &NEW_COLUMNS).await, before, "{test:?}: migrating changes no row");

        let world = World::in_database(test, &[]).await;
        let earlier = staff_and_times(&world).await;
        for round in 1..=ROUNDS {
            world.send(&events(round)).await;
        }
        assert_newest_events_count(&world, &earlier).await;
        assert_eq!(dump(&world.test, &OUR_COLUMNS).await, unchanged, "{:?}", world.test);
        // The triggers ran for each of our writes.
        let logged = world.count("appointment_log").await;
        let counted =
            world.test.strings("SELECT CAST(SUM(changes) AS CHAR(20)) FROM appointment_counters").await;
        assert_eq!(counted[0].trim(), logged.to_string());
        assert!(logged > 30, "{logged}");

        migration::down(world.test.db.connection(), None).await.unwrap();
        assert_eq!(dump(&world.test, &OUR_COLUMNS).await, unchanged, "{:?}", world.test);
    }
}

on_engines!(optional_columns_may_be_missing: mariadb, postgres);
/// Without e-mail addresses only names are left to match; without an `updated_at` column none is set.
async fn optional_columns_may_be_missing(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Production(UpdatedAt::Missing)).await;
    test.run(&[
        "INSERT INTO companies (id, name) VALUES (1, 'Salon 1')",
        "INSERT INTO staff (id, company_id, name) VALUES ('00000000-0000-4000-8000-000000000001', 1, 'Frida Spitz')",
        "INSERT INTO appointments (id, company_id, calcom_v2_booking_id) VALUES (1, 1, 'Uid1')",
    ])
    .await;
    let world = World::in_database(test, &[("matching.auto_accept", "75")]).await;
    let who = host(1001, "frida  SPITZ", "frida@salon.example");
    assert_eq!(world.outcome_of(event("e1", "uid1", 1, who.clone())).await, "retry: appointment_not_found");
    assert_eq!(world.outcome_of(event("e1", "Uid1", 1, who)).await, "assigned", "{:?}", world.test);
    assert_eq!(world.assigned(1).await, "1/1001");
}

/// Inserts two companies, people of every kind, and an appointment for each way to reference a booking.
pub(super) async fn insert_rows(test: &TestDatabase) {
    let id = |n: u32| format!("'00000000-0000-4000-8000-{n:012}'");
    let mut sql = Vec::new();
    for company in [1, 2] {
        // JSON in JSON, as an array cast creates it from text that is already encoded.
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
        // Some already have a member of staff, whom the gateway has chosen.
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

/// Returns the column and the value by which a booking is referenced.
fn reference(n: u32) -> (&'static str, String) {
    match n % 4 {
        0 => ("calcom_booking_id", format!("{}", 900_000 + n)),
        1 => ("calcom_v2_booking_id", format!("Uid{n}")),
        2 => ("calcom_v2_booking_id", format!("{}", 800_000 + n)),
        // Two references differ only in case: this one, and the one four numbers further.
        _ if n % 8 == 3 => ("calcom_v2_booking_uid", format!("case{}", n / 8)),
        _ => ("calcom_v2_booking_uid", format!("CASE{}", n / 8)),
    }
}

pub(super) fn events(round: u32) -> Vec<Value> {
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

/// Returns the values that we may write in every appointment: `staff/host`, and the time of the last change.
pub(super) async fn staff_and_times(world: &World) -> BTreeMap<u32, (String, String)> {
    let rows = world.rows("appointments", &["id", "staff_id", "calcom_host_id", "updated_at"]).await;
    let one = |row: &String| {
        let parts: Vec<&str> = row.split('|').collect();
        (parts[0].parse().unwrap(), (format!("{}/{}", parts[1], parts[2]), parts[3].to_owned()))
    };
    rows.iter().map(one).collect()
}

/// Checks that the newest event of each appointment counts, and that each was found by its reference. Other
/// appointments are unchanged, and `updated_at` changes exactly where something changed.
pub(super) async fn assert_newest_events_count(world: &World, before: &BTreeMap<u32, (String, String)>) {
    let rows = world.rows("hostmatch_assignments", &["appointment_id", "event_id", "outcome"]).await;
    let rows: BTreeMap<u32, (&str, &str)> = rows
        .iter()
        .map(|row| row.split('|').collect::<Vec<_>>())
        .map(|row| (row[0].parse().unwrap(), (row[1], row[2])))
        .collect();
    let now = staff_and_times(world).await;
    for n in 1..=APPOINTMENTS + 10 {
        // The host is from the newest event that has one, which may be the previous round's.
        let (event, who, host) = match (n + ROUNDS) % 6 {
            0 => (ROUNDS, "-", 4004),
            1 => (ROUNDS, "-", 3003),
            2 => (ROUNDS - 1, "-", 3003),
            3 => (ROUNDS, "2", 2002),
            _ => (ROUNDS, "1", 1001),
        };
        let what = format!("{:?}: {n}: {:?}", world.test, rows.get(&n));
        match n {
            // The event is a cancellation, is another company's, or has no booking; or there was no event.
            57 | 58 | 60.. => {
                assert_eq!(now[&n], before[&n], "{what}");
                continue;
            }
            59 => assert_eq!(now[&n].0, format!("-/{host}"), "{what}: no member of staff of another company"),
            // The gateway's decision stays. The host of the booking is a fact, and is written.
            _ if n % 10 == 0 => {
                assert_eq!((&*now[&n].0, rows[&n].1), (&*format!("4/{host}"), "kept"), "{what}");
            }
            _ => assert_eq!(now[&n].0, format!("{who}/{host}"), "{what}"),
        }
        assert_eq!(rows[&n].0, format!("r{event}-{n}"), "{what}");
    }
    for (id, state) in &now {
        let (changed, moved) = (state.0 != before[id].0, state.1 != before[id].1);
        assert_eq!(moved, changed, "{:?}: {id}: {state:?}, before {:?}", world.test, before[id]);
    }
}

/// Returns the rows of the gateway's tables as text, appointments without these columns.
pub(super) async fn dump(test: &TestDatabase, without: &[&str]) -> BTreeMap<&'static str, Vec<String>> {
    let mut dump = BTreeMap::new();
    for table in TABLES {
        let schema = if test.backend == Backend::MariaDb { "DATABASE()" } else { "'public'" };
        let columns = test
            .strings(&format!(
                "SELECT TRIM(CAST(column_name AS CHAR(64))) FROM information_schema.columns \
                 WHERE table_schema = {schema} AND table_name = '{table}' ORDER BY ordinal_position"
            ))
            .await;
        let left_out = |column: &&String| table == "appointments" && without.contains(&column.as_str());
        let values: Vec<String> = columns
            .iter()
            .filter(|column| !left_out(column))
            .map(|column| format!("COALESCE(CAST({column} AS CHAR(255)), '-')"))
            .collect();
        let rows = format!("SELECT CONCAT_WS('|', {}) FROM {table} ORDER BY id", values.join(", "));
        dump.insert(table, test.strings(&rows).await);
    }
    dump
}
