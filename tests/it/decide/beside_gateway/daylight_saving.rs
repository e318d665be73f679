//! A server in Europe/Berlin while the clocks change: `appointments.updated_at` and the times of adopted
//! mappings are those that the gateway's own code would have written, and which event is newer does not
//! depend on local time.

use serde_json::{Value, json};

use crate::migration::adopting::gateway;
use crate::support::adopted::{Variant, rows, tables};
use crate::support::mariadb::MariaDb;
use crate::support::{Backend, GatewayShape, TestDatabase, UpdatedAt, World, event, host};

/// Times (UTC) around both changes, with the local time in Berlin.
const MOMENTS: [(&str, &str); 6] = [
    ("2026-03-29T00:59:59Z", "2026-03-29 01:59:59"),
    ("2026-03-29T01:00:00Z", "2026-03-29 03:00:00"),
    ("2026-07-01T12:00:00Z", "2026-07-01 14:00:00"),
    ("2026-10-25T00:30:00Z", "2026-10-25 02:30:00"),
    ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00"),
    ("2026-10-25T02:00:00Z", "2026-10-25 03:00:00"),
];

fn booking_event(id: &str, updated_at: &str, who: Value) -> Value {
    json!({
        "event": "appointment.updated", "event_id": id, "first_seen": 1_793_000_000_000_i64,
        "calcom_booking": {
            "uid": "ABC123", "start": "2026-10-25T02:30:00+01:00", "updatedAt": updated_at, "hosts": who,
        }
    })
}

fn frida() -> Value {
    host(1001, "Frida S.", "frida@salon.example")
}

fn nadja() -> Value {
    host(2002, "Nadja O.", "nadja@salon.example")
}

async fn salon(test: TestDatabase) -> World {
    let world = World::in_database(test, &[]).await;
    world.company(1).await;
    world.staff(1, 1, "Frida Spitz", "frida@salon.example").await;
    world.staff(2, 1, "Nadja Okafor", "nadja@salon.example").await;
    world.appointment(1, 1, "ABC123").await;
    world
}

/// Returns the times of adopted mappings, one superseded and one created, in Berlin's local time.
async fn times_of_mappings(test: TestDatabase) -> Vec<String> {
    migration::adopt(test.db.connection()).await.unwrap();
    let world = World::in_database(test, &[]).await;
    world.appointment(9003, 901, "bk-9003").await;
    assert_eq!(
        world.outcome_of(event("e1", "bk-9003", 1, host(5002, "", "omar@salon.example"))).await,
        "assigned"
    );
    let (zone, text) = match world.test.backend {
        Backend::MariaDb => ("SYSTEM", "CAST({} AS CHAR)"),
        _ => ("Europe/Berlin", "to_char({}, 'YYYY-MM-DD HH24:MI:SS')"),
    };
    let mut times = Vec::new();
    for (column, of) in [
        ("updated_at", "calcom_host_mappings WHERE id = 2"),
        ("created_at", "calcom_host_mappings WHERE id > 5"),
        ("updated_at", "calcom_host_mappings WHERE id > 5"),
        ("last_synced_at", "calcom_host_mappings WHERE id > 5"),
        ("changed_at", "calcom_host_mapping_audits WHERE action = 'auto_matched' AND actor = 'worker'"),
        ("changed_at", "calcom_host_mapping_audits WHERE action = 'updated' AND actor = 'worker'"),
    ] {
        let sql = format!("SELECT {} FROM {of}", text.replace("{}", column));
        times.extend(world.test.strings_in_zone(zone, &sql).await);
    }
    times
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_the_time_of_a_change_is_the_one_the_gateway_would_write() {
    let Some(server) = MariaDb::start_in("Europe/Berlin").await else { return };
    for (n, (moment, local_time)) in MOMENTS.into_iter().enumerate() {
        let url = server.at(moment).await;
        for updated_at in [UpdatedAt::Instant, UpdatedAt::Local] {
            let shape = GatewayShape::Production(updated_at);
            let test = TestDatabase::migrated_on(url.clone(), Backend::MariaDb, shape).await;
            let world = salon(test).await;
            assert_eq!(
                world.outcome_of(booking_event("e1", "2026-01-01T00:00:00Z", frida())).await,
                "assigned"
            );
            let sql = "SELECT CONCAT(updated_at, ' ', UNIX_TIMESTAMP(updated_at) = UNIX_TIMESTAMP()) FROM appointments";
            // Read as the gateway reads it: its sessions use the server's zone.
            let written = world.test.strings_in_zone("SYSTEM", sql).await.remove(0);
            let (written, exact) = written.rsplit_once(' ').unwrap();
            assert_eq!(written, local_time, "{updated_at:?} {moment}");
            // In the hour that occurs twice, a column without a zone is ambiguous; one with a zone is not.
            let ambiguous = updated_at == UpdatedAt::Local && local_time.starts_with("2026-10-25 02:");
            assert!(exact == "1" || ambiguous, "{updated_at:?} {moment}");
        }
        let kind = if n % 2 == 0 { "DATETIME" } else { "TIMESTAMP" };
        let test = TestDatabase::fresh_on(url.clone(), Backend::MariaDb, GatewayShape::Live).await;
        let tables = tables(Backend::MariaDb, Variant::Live).into_iter();
        test.run(&tables.map(|sql| sql.replace("TIMESTAMP N", &format!("{kind} N"))).collect::<Vec<_>>())
            .await;
        test.run(&rows(Backend::MariaDb, Variant::Live)).await;
        assert_eq!(times_of_mappings(test).await, [local_time; 6], "{kind} {moment}");
    }
}

/// Sets the database to Berlin's time, with a stopped clock.
async fn database_at(test: TestDatabase, moment: &str) -> TestDatabase {
    let name = test.name();
    test.run(&[
        // This function is found before the server's own one.
        "CREATE SCHEMA clock".to_owned(),
        format!(
            "CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS \
             $$ SELECT timestamptz '{moment}' $$"
        ),
        format!("ALTER DATABASE {name} SET search_path = public, clock, pg_catalog"),
        format!("ALTER DATABASE {name} SET timezone = 'Europe/Berlin'"),
    ])
    .await;
    test.reconnected().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_the_time_of_a_change_is_the_one_the_gateway_would_write() {
    for (n, (moment, local_time)) in MOMENTS.into_iter().enumerate() {
        for updated_at in [UpdatedAt::Instant, UpdatedAt::Local] {
            let shape = GatewayShape::Production(updated_at);
            let test = database_at(TestDatabase::migrated(Backend::Postgres, shape).await, moment).await;
            let world = salon(test).await;
            assert_eq!(
                world.outcome_of(booking_event("e1", "2026-01-01T00:00:00Z", frida())).await,
                "assigned"
            );
            let sql = "SELECT to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS') FROM appointments";
            let written = world.test.strings_in_zone("Europe/Berlin", sql).await.remove(0);
            assert_eq!(written, local_time, "{updated_at:?} {moment}");
        }
        // Times without a zone, and with one.
        let variant = if n % 2 == 0 { Variant::Live } else { Variant::Plan };
        let test = database_at(gateway(Backend::Postgres, variant).await, moment).await;
        assert_eq!(times_of_mappings(test).await, [local_time; 6], "{moment}");
    }
}

on_engines!(which_event_is_newer_does_not_depend_on_local_time: mariadb, postgres);
/// In local time the older of these events is an hour later than the newer one, or at the same time.
async fn which_event_is_newer_does_not_depend_on_local_time(backend: Backend) {
    for (older, newer) in [
        ("2026-10-25T02:45:00+02:00", "2026-10-25T02:15:00+01:00"),
        ("2026-10-25T00:59:59Z", "2026-10-25T01:00:00Z"),
        ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"),
    ] {
        let shape = GatewayShape::Production(UpdatedAt::Local);
        let world = salon(TestDatabase::migrated(backend, shape).await).await;
        assert_eq!(world.outcome_of(booking_event("new", newer, frida())).await, "assigned", "{newer}");
        assert_eq!(
            world.outcome_of(booking_event("old", older, nadja())).await,
            "stale",
            "{older} after {newer}"
        );
        assert_eq!(world.assigned(1).await, "1/1001");
        world.delete_decisions().await;
        assert_eq!(world.outcome_of(booking_event("old", older, nadja())).await, "assigned", "{older}");
        assert_eq!(
            world.outcome_of(booking_event("new", newer, frida())).await,
            "assigned",
            "{newer} after {older}"
        );
        assert_eq!(world.assigned(1).await, "1/1001");
    }
}
