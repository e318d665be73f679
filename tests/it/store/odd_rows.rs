//! Rows with values that hostmatch would never write, and rows that a trigger or rule protects from changes:
//! neither affects other rows.

use std::time::Duration;

use hostmatch::event::HostId;
use hostmatch::matching::{MappingSource, Stored};
use hostmatch::store::entity::{import, mapping, mapping_audit};
use hostmatch::store::{Period, Scope, begin_import, decided, imports, purge_events, purge_payloads};
use sea_orm::{EntityTrait as _, Set};
use uuid::Uuid;

use crate::support::{Backend, GatewayShape, TestDatabase, World, event, host};

/// Creates a salon in which two bookings were assigned to Anna.
async fn salon(backend: Backend) -> World {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(1).await;
    world.staff(11, 1, "Anna Berg", "anna@salon.example").await;
    for (id, reference) in [(101, "uid-1"), (102, "uid-2")] {
        world.appointment(id, 1, reference).await;
        let anna = host(7, "Anna Berg", "anna@salon.example");
        assert_eq!(world.outcome_of(event(reference, reference, 1, anna)).await, "assigned");
    }
    world
}

on_engines!(a_row_with_an_unreadable_value_does_not_hide_other_rows);
async fn a_row_with_an_unreadable_value_does_not_hide_other_rows(backend: Backend) {
    let world = salon(backend).await;
    let db = world.test.db.connection();
    let import = || import::ActiveModel {
        token: Set(Uuid::new_v4().to_string()),
        file: Set("mappings.csv".to_owned()),
        line_count: Set(1),
        changed: Set(0),
        failed: Set(0),
        made_by: Set("cli:anna".to_owned()),
        at_ms: Set(1),
        ..Default::default()
    };
    for _ in 0..2 {
        begin_import(db, import()).await.unwrap();
    }
    world.run("UPDATE hostmatch_imports SET token = 'of another program' WHERE id = 1").await;
    world.run("UPDATE hostmatch_assignments SET host_id = -1 WHERE appointment_id = 101").await;

    assert_eq!(imports(db, &Scope::All, 10).await.unwrap().len(), 2, "{backend:?}");
    let period = Period { since_ms: 0, until_ms: i64::MAX };
    let mut hosts: Vec<_> = decided(db, &Scope::All, period, (i64::MIN, i64::MIN), 10).await.unwrap();
    hosts.sort_by_key(|one| one.appointment);
    let hosts: Vec<_> = hosts.into_iter().map(|one| one.host).collect();
    assert_eq!(hosts, [None, Some(HostId(7))], "{backend:?}: -1 is not a valid Cal.com host id");
}

on_engines!(a_stored_value_is_read_unchanged_except_for_char_padding);
async fn a_stored_value_is_read_unchanged_except_for_char_padding(backend: Backend) {
    let world = salon(backend).await;
    world.run("UPDATE calcom_host_mappings SET mapping_source = 'manual '").await;
    let source = async |test: &TestDatabase| {
        let found = mapping::Entity::find().one(test.db.connection()).await.unwrap();
        found.unwrap().mapping_source.unwrap()
    };
    assert_eq!(source(&world.test).await, Stored::Unknown("manual ".to_owned()), "{backend:?}");
    // A gateway may have created these columns as CHAR.
    let retype = match backend {
        Backend::Sqlite => return,
        Backend::MariaDb => ["MODIFY mapping_source CHAR(32)", "MODIFY actor CHAR(255)"],
        Backend::Postgres => {
            ["ALTER COLUMN mapping_source TYPE CHAR(32)", "ALTER COLUMN actor TYPE CHAR(255)"]
        }
    };
    world.run(&format!("ALTER TABLE calcom_host_mappings {}", retype[0])).await;
    world.run(&format!("ALTER TABLE calcom_host_mapping_audits {}", retype[1])).await;
    let test = world.test.reconnected().await;
    assert_eq!(source(&test).await, Stored::Known(MappingSource::Manual), "{backend:?}");
    let audit = mapping_audit::Entity::find().one(test.db.connection()).await.unwrap().unwrap();
    assert_eq!(audit.actor.unwrap().as_str(), "worker", "{backend:?}");
}

on_engines!(rows_that_cannot_be_deleted_are_not_counted_and_do_not_keep_the_purge_running: sqlite, postgres);
async fn rows_that_cannot_be_deleted_are_not_counted_and_do_not_keep_the_purge_running(backend: Backend) {
    let world = salon(backend).await;
    for (n, act, table) in [(1, "DELETE", "hostmatch_events"), (2, "UPDATE", "hostmatch_assignments")] {
        let keep = match backend {
            Backend::Sqlite => {
                format!("CREATE TRIGGER kept_{n} BEFORE {act} ON {table} BEGIN SELECT RAISE(IGNORE); END")
            }
            _ => format!("CREATE RULE kept_{n} AS ON {act} TO {table} DO INSTEAD NOTHING"),
        };
        world.run(&keep).await;
    }
    let purge = async {
        let events = purge_events(&world.test.db, i64::MAX).await.unwrap();
        (events, purge_payloads(&world.test.db, i64::MAX).await.unwrap())
    };
    let purged = tokio::time::timeout(Duration::from_secs(20), purge).await;
    assert_eq!(purged.expect("the purge did not end within 20 s"), (0, 0), "{backend:?}");
    let release = |n: u32, table: &str| match backend {
        Backend::Sqlite => format!("DROP TRIGGER kept_{n}"),
        _ => format!("DROP RULE kept_{n} ON {table}"),
    };
    world.run(&release(1, "hostmatch_events")).await;
    world.run(&release(2, "hostmatch_assignments")).await;
    // PostgreSQL caches the plan that the rule turned into a no-op, so this needs a new connection.
    let test = world.test.reconnected().await;
    assert_eq!(purge_events(&test.db, i64::MAX).await.unwrap(), 2, "{backend:?}");
    assert_eq!(purge_payloads(&test.db, i64::MAX).await.unwrap(), 2, "{backend:?}");
}
