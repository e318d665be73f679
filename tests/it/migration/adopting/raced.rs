//! After the check for rows that prevent adoption, the gateway writes such a row: every run reports the row,
//! and both remedies work. Also tests which rows the gateway can no longer write after adoption.

use std::time::Duration;

use migration::MigrateError;
use sea_orm::ConnectionTrait as _;

use crate::migration::adopting::interrupted::start_with_breakpoint;
use crate::migration::adopting::{gateway, same, state};
use crate::support::adopted::{Variant, staff};
use crate::support::breakpoint::Side;
use crate::support::{Backend, TestDatabase, eventually};

const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// A second active mapping of host 5001, next to mapping 1; it becomes mapping 6.
fn second() -> String {
    format!(
        "INSERT INTO calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, \
         mapping_source, created_at, updated_at) VALUES (901, {}, 5001, 'x', 'x@salon.example', 'manual', \
         '2026-02-02 10:00:00', '2026-02-02 10:00:00')",
        staff(902)
    )
}

const NAMED: &str = "company 901, host 5001: mappings 1, 6";
const OFF: &str =
    "UPDATE calcom_host_mappings SET is_active = FALSE, updated_at = '2026-02-02 11:00:00' WHERE id = 6";

/// Holds the program's first statement until the gateway has written; returns the program's output.
async fn adopt_during_write(test: &TestDatabase) -> String {
    let (breakpoint, mut child) =
        start_with_breakpoint(test, &["migrate", "up", "--adopt"], 1, Side::Before).await;
    breakpoint.wait_until_reached().await;
    test.run(&[second()]).await;
    breakpoint.release();
    eventually("the program has ended", WAIT_TIMEOUT, async || child.try_wait().unwrap()).await;
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{test:?}: {text}");
    assert!(text.contains(NAMED) && text.contains("what to do"), "{test:?}: {text}");
    assert!(!text.contains("@salon.example"), "{text}");
    text
}

#[tokio::test]
async fn on_mariadb_a_stopped_adoption_continues_after_the_row_is_corrected() {
    let test = gateway(Backend::MariaDb, Variant::Live).await;
    let text = adopt_during_write(&test).await;
    assert!(text.contains("only partly done") && text.contains("migrate down --all"), "{text}");
    for _ in 0..2 {
        let again = migration::adopt(test.db.connection()).await.unwrap_err();
        assert!(matches!(again, MigrateError::Raced(_)), "{again}");
        assert!(again.to_string().contains(NAMED), "{again}");
    }
    test.run(&[OFF]).await;
    migration::adopt(test.db.connection()).await.unwrap();
    assert_eq!(test.count("calcom_host_mappings").await, 6);
    let on = "UPDATE calcom_host_mappings SET is_active = TRUE WHERE id = 6";
    let refused = test.db.connection().execute_unprepared(on).await.unwrap_err().to_string();
    assert!(refused.contains("one_active_mapping"), "{refused}");
}

#[tokio::test]
async fn on_mariadb_a_stopped_adoption_can_be_undone() {
    let test = gateway(Backend::MariaDb, Variant::Live).await;
    let before = state(&test).await;
    adopt_during_write(&test).await;
    migration::down(test.db.connection(), None).await.unwrap();
    let (row, shape): (Vec<_>, Vec<_>) =
        state(&test).await.into_iter().partition(|line| line.starts_with("calcom_host_mappings: [6,"));
    same("restored", &shape, &before);
    assert_eq!(row.len(), 1, "the gateway's row stays");
}

#[tokio::test]
async fn on_postgresql_a_refused_adoption_changes_nothing() {
    let test = gateway(Backend::Postgres, Variant::Live).await;
    let before = state(&test).await;
    let text = adopt_during_write(&test).await;
    assert!(text.contains("nothing was changed"), "{text}");
    test.run(&["DELETE FROM calcom_host_mappings WHERE id = 6"]).await;
    same("rolled back", &state(&test).await, &before);
    migration::adopt(test.db.connection()).await.unwrap();
}

on_engines!(after_adoption_the_gateway_cannot_write_a_second_active_mapping: mariadb, postgres);
/// The gateway continues to map hosts itself: the keys refuse the rows that docs/adopting.md lists.
async fn after_adoption_the_gateway_cannot_write_a_second_active_mapping(backend: Backend) {
    let test = gateway(backend, Variant::Live).await;
    migration::adopt(test.db.connection()).await.unwrap();
    let same_again = second().replace(&staff(902), &staff(901));
    for (insert, key) in [(second(), "one_active_mapping"), (same_again, "unique_host_staff")] {
        let refused = test.db.connection().execute_unprepared(&insert).await.unwrap_err().to_string();
        assert!(refused.contains(key), "{backend:?}: {refused}");
    }
    // Deactivate the old mapping first, then add the new one; or map a host in another company.
    test.run(&[
        "UPDATE calcom_host_mappings SET is_active = FALSE WHERE id = 1".to_owned(),
        second(),
        second().replace("901,", "902,").replace(&staff(902), &staff(904)).replace("5001", "5002"),
    ])
    .await;
    assert_eq!(test.count("calcom_host_mappings").await, 7, "{backend:?}");
}
