//! Tests connecting, classes of errors, ids and clocks.

use std::time::Duration;

use hostmatch::config::GatewayConfig;
use hostmatch::event::StaffId;
use hostmatch::store::{Database, DbId, GatewaySchema, StoreError, StoreErrorKind, bind_staff};
use migration::gateway::KeyKind;
use sea_orm::{ConnectionTrait as _, DatabaseTransaction, Statement};

use crate::support::{Backend, GatewayShape, TestDatabase, config};

async fn refused_by(test: &TestDatabase, statement: &str) -> StoreError {
    test.db.connection().execute_unprepared(statement).await.unwrap_err().into()
}

on_engines!(sessions_have_the_required_settings);
async fn sessions_have_the_required_settings(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    let (queries, wanted): (&[&str], &[&str]) = match backend {
        Backend::MariaDb => (
            &[
                "SELECT @@time_zone",
                "SELECT @@tx_isolation",
                "SELECT CAST(@@innodb_lock_wait_timeout AS CHAR)",
                "SELECT CAST(CAST(@@max_statement_time AS SIGNED) AS CHAR)",
                "SELECT IF(@@sql_mode LIKE '%STRICT_TRANS_TABLES%', 'strict', 'lax')",
            ],
            &["+00:00", "READ-COMMITTED", "10", "10", "strict"],
        ),
        Backend::Postgres => (
            &[
                "SHOW timezone",
                "SHOW default_transaction_isolation",
                "SHOW lock_timeout",
                "SHOW statement_timeout",
            ],
            &["UTC", "read committed", "10s", "10s"],
        ),
        Backend::Sqlite => (
            &[
                "PRAGMA journal_mode",
                "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous",
                "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys",
                "SELECT CAST(timeout AS TEXT) FROM pragma_busy_timeout",
            ],
            &["wal", "2", "1", "10000"],
        ),
    };
    let mut found = Vec::new();
    for query in queries {
        found.extend(test.strings(query).await);
    }
    assert_eq!(found, wanted, "{test:?}");
}

#[tokio::test]
async fn migrations_have_no_statement_timeout() {
    let test = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Empty).await;
    let migrator = Database::connect_for_migrations(&config(&test.url)).await.unwrap();
    let query =
        Statement::from_string(migrator.backend(), "SELECT CAST(@@max_statement_time AS SIGNED) AS n");
    let row = migrator.connection().query_one_raw(query).await.unwrap().unwrap();
    assert_eq!(row.try_get::<i64>("", "n").unwrap(), 0);
    migrator.close().await;
}

#[tokio::test]
async fn an_unreachable_server_is_reported_with_its_address_and_the_reason() {
    // Nothing listens on this port, which the test has just released.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for scheme in ["mysql", "postgres"] {
        let url = format!("{scheme}://somebody:hunter2@127.0.0.1:{port}/gateway");
        let error = Database::connect(&config(&url)).await.unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), StoreErrorKind::Unavailable);
        assert!(text.contains("refused") && text.contains(&port.to_string()), "{text}");
        assert!(!format!("{error:?}{text}").contains("hunter2"), "{text}");
    }
    for url in ["oracle://x", "nonsense", "sqlite::memory:"] {
        let error = Database::connect(&config(url)).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Schema, "{url}: {error}");
    }
    let nowhere = Database::connect(&config("sqlite:///nowhere/at/all.db")).await.unwrap_err().to_string();
    assert!(nowhere.contains("/nowhere/at/all.db"), "{nowhere}");
    let missing = TestDatabase::fresh(Backend::MariaDb, GatewayShape::Empty).await.url;
    let text = Database::connect(&config(&missing)).await.unwrap_err().to_string();
    assert!(text.contains("Unknown database"), "{text}");
}

on_engines!(refused_data_has_its_own_error_class_and_is_never_quoted);
async fn refused_data_has_its_own_error_class_and_is_never_quoted(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    test.run(&[
        "CREATE TABLE people (id INT NOT NULL PRIMARY KEY, email VARCHAR(40) NOT NULL, \
         parent INT NULL, FOREIGN KEY (parent) REFERENCES people (id))",
        "CREATE UNIQUE INDEX one_address ON people (email)",
        "INSERT INTO people VALUES (1, 'jane.secret@salon.example', NULL)",
    ])
    .await;
    let mut all = vec![
        "INSERT INTO people VALUES (2, 'jane.secret@salon.example', NULL)",
        "INSERT INTO people VALUES (2, NULL, NULL)",
        "INSERT INTO people VALUES (2, 'other', 99)",
    ];
    if backend != Backend::Sqlite {
        all.push("INSERT INTO people VALUES (2, 'jane.secret.jane.secret.jane.secret.jane.secret', NULL)");
        all.push("INSERT INTO people VALUES ('jane.secret', 'other', NULL)");
    }
    for statement in all {
        let error = refused_by(&test, statement).await;
        assert_eq!(error.kind(), StoreErrorKind::Rejected, "{statement}: {error}");
        assert!(!format!("{error} {error:?}").contains("jane.secret"), "{statement}: {error:?}");
        assert!(std::error::Error::source(&error).is_none());
    }
    for statement in ["SELECT * FROM nobody", "SELECT nowhere FROM people"] {
        let error = refused_by(&test, statement).await;
        assert_eq!(error.kind(), StoreErrorKind::Schema, "{statement}: {error}");
    }
    let duplicate =
        refused_by(&test, "INSERT INTO people VALUES (2, 'jane.secret@salon.example', NULL)").await;
    let place = if backend == Backend::Sqlite { "people.email" } else { "one_address" };
    assert!(duplicate.to_string().contains(place), "{duplicate}");
}

on_engines!(a_deadlock_is_a_conflict: mariadb, postgres);
async fn a_deadlock_is_a_conflict(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    test.run(&[
        "CREATE TABLE counters (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)",
        "INSERT INTO counters VALUES (1, 0), (2, 0)",
    ])
    .await;
    let one = test.db.begin().await.unwrap();
    let two = test.db.begin().await.unwrap();
    add(&one, 1).await.unwrap();
    add(&two, 2).await.unwrap();
    let crossed = tokio::join!(cross(one, 2), cross(two, 1));
    let error = crossed.0.err().or(crossed.1.err()).unwrap();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{error}");
}

async fn cross(transaction: DatabaseTransaction, id: i32) -> Result<(), StoreError> {
    let result = add(&transaction, id).await;
    transaction.rollback().await?;
    result
}

async fn add(transaction: &DatabaseTransaction, id: i32) -> Result<(), StoreError> {
    let statement = format!("UPDATE counters SET n = n + 1 WHERE id = {id}");
    transaction.execute_unprepared(&statement).await?;
    Ok(())
}

on_engines!(a_lock_or_statement_that_takes_too_long_is_a_conflict);
async fn a_lock_or_statement_that_takes_too_long_is_a_conflict(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    test.run(&[
        "CREATE TABLE counters (id INT NOT NULL PRIMARY KEY, n INT NOT NULL)",
        "INSERT INTO counters VALUES (1, 0), (2, 0)",
    ])
    .await;
    let mut hasty = config(&test.url);
    hasty.statement_timeout = Duration::from_secs(1);
    let hasty = Database::connect(&hasty).await.unwrap();

    let holder = test.db.begin().await.unwrap();
    add(&holder, 1).await.unwrap();
    let waited = async { add(&hasty.begin().await?, 1).await }.await.unwrap_err();
    assert_eq!(waited.kind(), StoreErrorKind::Conflict, "{backend:?}: {waited}");
    holder.rollback().await.unwrap();

    let slow = match backend {
        Backend::Sqlite => return,
        Backend::MariaDb => "SELECT SLEEP(20) FROM counters, counters AS b, counters AS c",
        Backend::Postgres => "SELECT pg_sleep(20)",
    };
    let error: StoreError = hasty.connection().execute_unprepared(slow).await.unwrap_err().into();
    assert_eq!(error.kind(), StoreErrorKind::Conflict, "{backend:?}: {error}");
}

on_engines!(a_connection_that_was_cut_is_an_outage: mariadb, postgres);
async fn a_connection_that_was_cut_is_an_outage(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    let victim = test.db.begin().await.unwrap();
    let whoami = match backend {
        Backend::MariaDb => "SELECT CONNECTION_ID() AS id",
        _ => "SELECT pg_backend_pid() AS id",
    };
    let row = victim.query_one_raw(Statement::from_string(test.db.backend(), whoami)).await.unwrap().unwrap();
    let id = row.try_get::<DbId>("", "id").unwrap().0;
    let kill = match backend {
        Backend::MariaDb => format!("KILL {id}"),
        _ => format!("SELECT pg_terminate_backend({id}, 5000)"),
    };
    test.run(&[kill]).await;
    let error: StoreError = victim.execute_unprepared("SELECT 1").await.unwrap_err().into();
    assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{backend:?}: {error}");
    test.db.ping().await.unwrap();
}

#[tokio::test]
async fn sqlite_writers_wait_for_each_other() {
    let test = TestDatabase::fresh(Backend::Sqlite, GatewayShape::Empty).await;
    test.run(&["CREATE TABLE counters (id INT PRIMARY KEY, n INT)", "INSERT INTO counters VALUES (1, 0)"])
        .await;
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let db = test.db.clone();
        writers.spawn(async move {
            let transaction = db.begin().await?;
            let read = Statement::from_string(db.backend(), "SELECT n FROM counters");
            let row = transaction.query_one_raw(read).await?.unwrap();
            let n: i64 = row.try_get("", "n")?;
            let write = format!("UPDATE counters SET n = {}", n + 1);
            transaction.execute_unprepared(&write).await?;
            transaction.commit().await?;
            Ok::<_, StoreError>(())
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(test.number("SELECT n FROM counters").await, 40);
}

on_engines!(ids_of_every_kind_are_read_and_bound);
async fn ids_of_every_kind_are_read_and_bound(backend: Backend) {
    let uuid = StaffId::Text("6f1c2b34-0000-4000-8000-00000000000a".into());
    let mut kinds = vec![
        ("BIGINT", StaffId::Integer(i64::MAX), KeyKind::Integer),
        ("INT", StaffId::Integer(7), KeyKind::Integer),
        ("SMALLINT", StaffId::Integer(7), KeyKind::Integer),
        ("CHAR(36)", uuid.clone(), KeyKind::Text),
        ("VARCHAR(40)", StaffId::Text("01HZX".into()), KeyKind::Text),
    ];
    match backend {
        Backend::MariaDb => kinds.extend([
            ("BIGINT UNSIGNED", StaffId::Integer(i64::MAX), KeyKind::Integer),
            ("INT UNSIGNED", StaffId::Integer(4_000_000_000), KeyKind::Integer),
            ("VARCHAR(40) COLLATE utf8mb4_bin", StaffId::Text("01HZX".into()), KeyKind::Text),
            ("UUID", uuid.clone(), KeyKind::Text),
        ]),
        Backend::Postgres => kinds.push(("UUID", uuid.clone(), KeyKind::Uuid)),
        Backend::Sqlite => {}
    }
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    for (n, (kind, id, key)) in kinds.into_iter().enumerate() {
        let table = format!("ids_{n}");
        test.run(&[format!("CREATE TABLE {table} (id {kind} NULL)")]).await;
        let mark = if backend == Backend::Postgres { "$1" } else { "?" };
        for value in [bind_staff(Some(&id), key).unwrap(), bind_staff(None, key).unwrap()] {
            let sql = format!("INSERT INTO {table} VALUES ({mark})");
            let insert = Statement::from_sql_and_values(test.db.backend(), sql, [value]);
            let done = test.db.connection().execute_raw(insert).await;
            done.unwrap_or_else(|error| panic!("{backend:?} {kind}: {error}"));
        }
        let find = Statement::from_sql_and_values(
            test.db.backend(),
            format!("SELECT id FROM {table} WHERE id = {mark}"),
            [bind_staff(Some(&id), key).unwrap()],
        );
        let row = test.db.connection().query_one_raw(find).await.unwrap().unwrap();
        assert_eq!(row.try_get::<StaffId>("", "id").unwrap(), id, "{backend:?} {kind}");
        let none = format!("SELECT id FROM {table} WHERE id IS NULL");
        let none = Statement::from_string(test.db.backend(), none);
        let row = test.db.connection().query_one_raw(none).await.unwrap().unwrap();
        assert_eq!(row.try_get::<Option<StaffId>>("", "id").unwrap(), None, "{backend:?} {kind}");
    }
    assert!(bind_staff(Some(&uuid), KeyKind::Integer).is_err());
    assert!(bind_staff(Some(&StaffId::Integer(7)), KeyKind::Uuid).is_err());
}

/// Returns the difference between the gateway's "now" and UTC, in hours.
async fn hours_off(test: &TestDatabase, zone: &str) -> i64 {
    let schema = GatewaySchema::read(&test.db, &GatewayConfig { timezone: zone.into() }).await.unwrap();
    let now = schema.updated_at.unwrap();
    let query = match test.backend {
        Backend::MariaDb => format!("SELECT ROUND(TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), {now}) / 60) + 0"),
        Backend::Postgres => {
            format!("SELECT round(extract(epoch FROM {now} - (now() AT TIME ZONE 'UTC')) / 3600)::bigint")
        }
        Backend::Sqlite => {
            format!("SELECT CAST(round((julianday({now}) - julianday('now')) * 24) AS INTEGER)")
        }
    };
    test.strings(&match test.backend {
        Backend::Sqlite => format!("SELECT CAST(({query}) AS TEXT)"),
        _ => format!("SELECT CAST(({query}) AS CHAR(9))"),
    })
    .await[0]
        .trim()
        .parse()
        .unwrap()
}

on_engines!(updated_at_is_in_the_gateways_time_zone);
async fn updated_at_is_in_the_gateways_time_zone(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Live).await;
    if backend == Backend::MariaDb {
        assert_eq!(test.schema().await.updated_at.as_deref(), Some("CURRENT_TIMESTAMP"));
        test.run(&["ALTER TABLE appointments MODIFY updated_at DATETIME NULL"]).await;
    }
    for (zone, hours) in [("server", 0), ("UTC", 0), ("+02:00", 2), ("-05:00", -5)] {
        assert_eq!(hours_off(&test, zone).await, hours, "{backend:?} {zone}");
    }
    for zone in ["Middle/Earth", "+99:00", "'; DROP TABLE staff; --", ""] {
        let config = GatewayConfig { timezone: zone.into() };
        let error = GatewaySchema::read(&test.db, &config).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Schema, "{backend:?} {zone}: {error}");
        assert!(error.to_string().contains("gateway.timezone"), "{error}");
    }
}

#[tokio::test]
async fn the_zone_of_a_postgres_database_is_found() {
    let test = TestDatabase::migrated(Backend::Postgres, GatewayShape::Live).await;
    test.run(&["DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Etc/GMT-9'); END $$"])
        .await;
    assert_eq!(hours_off(&test, "server").await, 9);
    test.run(&["ALTER TABLE appointments ALTER updated_at TYPE timestamptz"]).await;
    assert_eq!(test.schema().await.updated_at.as_deref(), Some("now()"));
}

/// The file is damaged, as after a disk error.
#[tokio::test]
async fn a_transaction_left_open_does_not_break_its_connection() {
    let test = TestDatabase::fresh(Backend::Sqlite, GatewayShape::Empty).await;
    let mut one = config(&test.url);
    one.max_connections = 1;
    let db = Database::connect(&one).await.unwrap();
    let run = async |statement: &str| db.connection().execute_unprepared(statement).await;
    run("CREATE TABLE notes (id INTEGER NOT NULL)").await.unwrap();
    run("BEGIN").await.unwrap();
    let note = async |tx: &DatabaseTransaction| {
        Ok(tx.execute_unprepared("INSERT INTO notes VALUES (1)").await.map(drop)?)
    };
    db.transact(note).await.unwrap();
    let seen = test.strings("SELECT CAST(id AS TEXT) FROM notes").await;
    assert_eq!(seen, ["1"], "the transaction is committed, and other sessions see it");
}

#[tokio::test]
async fn a_new_sqlite_database_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new.db");
    let url = format!("sqlite://{}", path.display());
    for connect_for_migrations in [true, false] {
        let database = if connect_for_migrations {
            Database::connect_for_migrations(&config(&url)).await.unwrap()
        } else {
            Database::connect(&config(&url)).await.unwrap()
        };
        database.connection().execute_unprepared("CREATE TABLE one (id INTEGER)").await.unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let mode = std::fs::metadata(format!("{}{suffix}", path.display())).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{suffix}");
        }
        database.close().await;
        std::fs::remove_file(&path).unwrap();
    }
}
