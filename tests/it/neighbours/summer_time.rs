//! A server in Europe/Berlin while the clocks change: `appointments.updated_at` is what the gateway's
//! own code would have written, and which event is the newer one does not depend on any clock.

use serde_json::{Value, json};

use crate::support::mariadb::MariaDb;
use crate::support::{Backend, GatewayShape, TestDatabase, UpdatedAt, World, host};

/// Moments around both changes, and what a clock on the wall in Berlin shows then.
const MOMENTS: [(&str, &str); 6] = [
    ("2026-03-29T00:59:59Z", "2026-03-29 01:59:59"),
    ("2026-03-29T01:00:00Z", "2026-03-29 03:00:00"),
    ("2026-07-01T12:00:00Z", "2026-07-01 14:00:00"),
    ("2026-10-25T00:30:00Z", "2026-10-25 02:30:00"),
    ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00"),
    ("2026-10-25T02:00:00Z", "2026-10-25 03:00:00"),
];

fn booked(id: &str, updated_at: &str, who: Value) -> Value {
    json!({
        "event": "appointment.updated", "event_id": id,
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
    let world = World::of(test, &[]).await;
    world.company(1).await;
    world.staff(1, 1, "Frida Spitz", "frida@salon.example").await;
    world.staff(2, 1, "Nadja Okafor", "nadja@salon.example").await;
    world.appointment(1, 1, "ABC123").await;
    world
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_mariadb_the_time_of_a_change_is_what_the_gateway_would_have_written() {
    let Some(server) = MariaDb::start_in("Europe/Berlin").await else { return };
    for (moment, on_the_wall) in MOMENTS {
        let url = server.at(moment).await;
        for updated_at in [UpdatedAt::Instant, UpdatedAt::Local] {
            let shape = GatewayShape::Production(updated_at);
            let test = TestDatabase::migrated_on(url.clone(), Backend::MariaDb, shape).await;
            let world = salon(test).await;
            assert_eq!(world.one(booked("e1", "2026-01-01T00:00:00Z", frida())).await, "assigned");
            let sql = "SELECT CONCAT(updated_at, ' ', UNIX_TIMESTAMP(updated_at) = UNIX_TIMESTAMP()) FROM appointments";
            // As the gateway sees it: its sessions have the server's zone.
            let written = world.test.texts_in("SYSTEM", sql).await.remove(0);
            let (written, exact) = written.rsplit_once(' ').unwrap();
            assert_eq!(written, on_the_wall, "{updated_at:?} {moment}");
            // In the hour that comes twice, a column without a zone cannot tell; one with a zone does.
            let ambiguous = updated_at == UpdatedAt::Local && on_the_wall.starts_with("2026-10-25 02:");
            assert!(exact == "1" || ambiguous, "{updated_at:?} {moment}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgresql_the_time_of_a_change_is_what_the_gateway_would_have_written() {
    for (moment, on_the_wall) in MOMENTS {
        for updated_at in [UpdatedAt::Instant, UpdatedAt::Local] {
            let shape = GatewayShape::Production(updated_at);
            let test = TestDatabase::migrated(Backend::Postgres, shape).await;
            let name = test.url.rsplit('/').next().unwrap();
            test.run(&[
                // A clock that stands, found before the server's own.
                "CREATE SCHEMA clock".to_owned(),
                format!(
                    "CREATE FUNCTION clock.now() RETURNS timestamptz LANGUAGE sql STABLE AS \
                     $$ SELECT timestamptz '{moment}' $$"
                ),
                format!("ALTER DATABASE {name} SET search_path = public, clock, pg_catalog"),
                format!("ALTER DATABASE {name} SET timezone = 'Europe/Berlin'"),
            ])
            .await;
            let test = test.reconnected().await;
            let world = salon(test).await;
            assert_eq!(world.one(booked("e1", "2026-01-01T00:00:00Z", frida())).await, "assigned");
            let sql = "SELECT to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS') FROM appointments";
            let written = world.test.texts_in("Europe/Berlin", sql).await.remove(0);
            assert_eq!(written, on_the_wall, "{updated_at:?} {moment}");
        }
    }
}

/// On the wall the older of these is an hour later, or at the same time.
#[tokio::test]
async fn which_event_is_newer_does_not_depend_on_a_clock_on_the_wall() {
    for (older, newer) in [
        ("2026-10-25T02:45:00+02:00", "2026-10-25T02:15:00+01:00"),
        ("2026-10-25T00:59:59Z", "2026-10-25T01:00:00Z"),
        ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
        ("2026-03-29T01:59:59+01:00", "2026-03-29T03:00:00+02:00"),
    ] {
        for backend in [Backend::MariaDb, Backend::Postgres] {
            let shape = GatewayShape::Production(UpdatedAt::Local);
            let world = salon(TestDatabase::migrated(backend, shape).await).await;
            assert_eq!(world.one(booked("new", newer, frida())).await, "assigned", "{newer}");
            assert_eq!(world.one(booked("old", older, nadja())).await, "stale", "{older} after {newer}");
            assert_eq!(world.assigned(1).await, "1/1001");
            world.forget().await;
            assert_eq!(world.one(booked("old", older, nadja())).await, "assigned", "{older}");
            assert_eq!(world.one(booked("new", newer, frida())).await, "assigned", "{newer} after {older}");
            assert_eq!(world.assigned(1).await, "1/1001");
        }
    }
}
