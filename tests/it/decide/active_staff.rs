//! A member of staff is active or not, whatever the gateway's columns look like, and in every statement alike.

use hostmatch::app::{Command, Refusal};

use crate::app::people::{decide_as_anna, staff_of};
use crate::support::{Backend, GatewayShape, TestDatabase, World, event, host};

/// Columns for soft deletes: the type, the value of somebody who is not deleted, and a time of deletion.
fn deleted_at_columns(backend: Backend) -> Vec<(&'static str, &'static str, &'static str)> {
    match backend {
        Backend::MariaDb => vec![
            ("DATETIME NULL", "NULL", "'2026-01-01 00:00:00'"),
            ("DATETIME NOT NULL DEFAULT '0000-00-00 00:00:00'", "'0000-00-00 00:00:00'", "'2026-01-01'"),
            ("TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00'", "'0000-00-00 00:00:00'", "'2026-01-01'"),
            ("DATE NOT NULL DEFAULT '0000-00-00'", "'0000-00-00'", "'2026-01-01'"),
            ("DATE NULL", "'0000-00-00'", "'2026-01-01'"),
            ("BIGINT NOT NULL DEFAULT 0", "0", "1767225600"),
            ("VARCHAR(32) NOT NULL DEFAULT ''", "''", "'2026-01-01 00:00:00'"),
        ],
        Backend::Postgres => vec![
            ("timestamp(0) NULL", "NULL", "'2026-01-01'"),
            ("timestamptz NULL", "NULL", "'2026-01-01'"),
            ("date NULL", "NULL", "'2026-01-01'"),
            ("bigint NOT NULL DEFAULT 0", "0", "1767225600"),
            ("varchar(32) NOT NULL DEFAULT '0000-00-00 00:00:00'", "'0000-00-00 00:00:00'", "'2026-01-01'"),
        ],
        Backend::Sqlite => vec![
            ("datetime NULL", "NULL", "'2026-01-01 00:00:00'"),
            ("datetime NOT NULL DEFAULT '0000-00-00 00:00:00'", "'0000-00-00 00:00:00'", "'2026-01-01'"),
            ("integer NOT NULL DEFAULT 0", "0", "1767225600"),
            ("text NOT NULL DEFAULT ''", "''", "'2026-01-01'"),
        ],
    }
}

on_engines!(deleted_staff_are_recognised_in_every_kind_of_column);
async fn deleted_staff_are_recognised_in_every_kind_of_column(backend: Backend) {
    for (kind, not_deleted, deleted) in deleted_at_columns(backend) {
        let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
        test.run(&[format!("ALTER TABLE staff ADD COLUMN deleted_at {kind}")]).await;
        let world = World::in_database(test, &[]).await;
        world.company(1).await;
        world.staff(1, 1, "Frida Spitz", "frida@salon.example").await;
        for n in 1..=4 {
            world.appointment(n, 1, &format!("B{n}")).await;
        }
        let set = async |value| {
            world.test.run(&[format!("UPDATE staff SET deleted_at = {value} WHERE id = 1")]).await;
        };
        let outcome_of = async |n: u32| {
            let frida = host(7, "Frida Spitz", "frida@salon.example");
            world.outcome_of(event(&format!("e{n}"), &format!("B{n}"), n, frida)).await
        };
        set(not_deleted).await;
        assert_eq!(outcome_of(1).await, "assigned", "{kind}: by e-mail");
        assert_eq!(outcome_of(2).await, "assigned", "{kind}: by the mapping");
        let strategies = world.rows("hostmatch_assignments", &["strategy"]).await;
        assert_eq!(strategies, ["email", "existing"], "{kind}");
        let person_sets = async || decide_as_anna(&world, 8, Command::Set(staff_of(&world, 1))).await;
        assert!(person_sets().await.is_ok(), "{kind}: by a person");
        set(deleted).await;
        assert_eq!(outcome_of(3).await, "unmatched", "{kind}: neither by the mapping nor by e-mail");
        assert!(matches!(person_sets().await, Err(Refusal::Deleted(_))), "{kind}: by a person");
        set(not_deleted).await;
        assert_eq!(outcome_of(4).await, "assigned", "{kind}");
    }
}
