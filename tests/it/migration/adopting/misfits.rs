//! A row that does not fit into the gateway's old columns is never truncated, whichever program wrote it, at
//! whatever time, and however the server is configured.

use std::time::Duration;

use migration::MigrateError;
use sea_orm::sqlx::Executor as _;
use sea_orm::{ConnectOptions, Database};

use crate::migration::adopting::gateway;
use crate::migration::adopting::interrupted::start_with_breakpoint;
use crate::migration::adopting::restored::{mapped, narrow, refused};
use crate::support::adopted::Variant;
use crate::support::breakpoint::Side;
use crate::support::{Backend, eventually};

on_engines!(an_audit_without_an_actor_is_not_truncated: mariadb, postgres);
async fn an_audit_without_an_actor_is_not_truncated(backend: Backend) {
    let test = gateway(backend, Variant::Live).await;
    test.run(&["ALTER TABLE calcom_host_mapping_audits ADD COLUMN actor VARCHAR(50) NULL"]).await;
    migration::adopt(test.db.connection()).await.unwrap();
    let long = "x".repeat(201);
    test.run(&[format!(
        "INSERT INTO calcom_host_mapping_audits (mapping_id, action, reason) VALUES (1, 'created', '{long}')"
    )])
    .await;
    refused(&test, &["audits.reason holds"]).await;
    test.run(&[format!("UPDATE calcom_host_mapping_audits SET reason = 'y' WHERE reason = '{long}'")]).await;
    migration::down(test.db.connection(), None).await.unwrap();
    let kept = "SELECT COUNT(*) FROM calcom_host_mapping_audits WHERE reason = 'y' AND actor IS NULL";
    assert_eq!(test.number(kept).await, 1, "{backend:?}");
}

/// An interrupted `down` does not check the rows again before it continues, and the server would only warn.
#[tokio::test]
async fn a_row_is_not_truncated_on_a_mariadb_without_strict_mode() {
    let test = gateway(Backend::MariaDb, Variant::Live).await;
    test.run(&narrow(Backend::MariaDb)).await;
    migration::adopt(test.db.connection()).await.unwrap();
    let interrupted = "UPDATE hostmatch_journal SET state = 'undoing' ORDER BY seq DESC LIMIT 1";
    test.run(&[mapped(6001, "From A List", "import"), interrupted.to_owned()]).await;
    let mut options = ConnectOptions::new(&test.url);
    options.map_sqlx_mysql_pool_opts(|pool| {
        pool.after_connect(|connection, _| {
            let lax = "SET SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'STRICT_TRANS_TABLES', '')";
            Box::pin(async move { connection.execute(lax).await.map(drop) })
        })
    });
    let lax = Database::connect(options).await.unwrap();
    for _ in 0..2 {
        let error = migration::down(&lax, None).await.unwrap_err();
        assert!(matches!(error, MigrateError::Raced(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("mapping_source holds") && text.contains("id 6\n"), "{text}");
        assert_eq!(
            test.strings("SELECT mapping_source FROM calcom_host_mappings WHERE id = 6").await,
            ["import"]
        );
    }
    test.run(&["UPDATE calcom_host_mappings SET mapping_source = 'admin' WHERE id = 6"]).await;
    migration::down(&lax, None).await.unwrap();
    assert_eq!(test.strings("SELECT mapping_source FROM calcom_host_mappings WHERE id = 6").await, ["admin"]);
}

on_engines!(a_row_written_after_the_check_is_not_truncated: mariadb, postgres);
async fn a_row_written_after_the_check_is_not_truncated(backend: Backend) {
    let said = if backend == Backend::MariaDb { "only partly done" } else { "nothing was changed" };
    let test = gateway(backend, Variant::Bare).await;
    migration::adopt(test.db.connection()).await.unwrap();
    let (breakpoint, mut child) =
        start_with_breakpoint(&test, &["migrate", "down", "--all", "--yes"], 1, Side::Before).await;
    breakpoint.wait_until_reached().await;
    test.run(&[mapped(6001, &"x".repeat(101), "manual")]).await;
    breakpoint.release();
    eventually("the program has ended", Duration::from_secs(120), async || child.try_wait().unwrap()).await;
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{backend:?}: {text}");
    for word in [said, "calcom_host_mappings.calcom_name holds", "id 6\n"] {
        assert!(text.contains(word), "{backend:?}: {word}: {text}");
    }
    let length = "SELECT CHAR_LENGTH(calcom_name) FROM calcom_host_mappings WHERE id = 6";
    assert_eq!(test.number(length).await, 101, "{backend:?}");
    test.run(&["UPDATE calcom_host_mappings SET calcom_name = 'x' WHERE id = 6"]).await;
    migration::down(test.db.connection(), None).await.unwrap();
    assert_eq!(test.count("calcom_host_mappings").await, 6, "{backend:?}");
}
