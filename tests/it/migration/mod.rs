//! Tests `up`, `down` and their refusals, on every engine and every shape of gateway.

pub(crate) mod adopting;
mod sequences;
mod upgrading;

use hostmatch::config::GatewayConfig;
use hostmatch::store::{GatewaySchema, NameColumns, RefColumn, StoreError};
use migration::MigrateError;
use migration::gateway::KeyKind;
use sea_orm::ConnectionTrait as _;

use crate::support::{Backend, GatewayShape, TestDatabase, shapes};

const STAFF: &str = "6f1c2b34-0000-4000-8000-00000000000a";

/// Adds people and bookings to a gateway.
async fn fill(test: &TestDatabase) {
    let (id, names, staff) = match test.shape {
        GatewayShape::Live => (format!("'{STAFF}'"), "name", "'Mara Lindqvist'"),
        _ => ("10".to_owned(), "first_name, last_name", "'Mara', 'Lindqvist'"),
    };
    test.run(&[
        "INSERT INTO companies (id, name) VALUES (7, 'Salon Sieben'), (8, 'Salon Acht')".to_owned(),
        "INSERT INTO users (id, name, created_at) VALUES (3, 'Office', NULL)".replace(
            "(id, name, created_at) VALUES (3, 'Office', NULL)",
            match test.shape {
                GatewayShape::Live => "(id, name) VALUES (3, 'Office')",
                _ => "(id, name, email) VALUES (3, 'Office', 'office@salon.example')",
            },
        ),
        format!(
            "INSERT INTO staff (id, company_id, {names}, email) VALUES ({id}, 7, {staff}, 'mara@salon.example')"
        ),
        format!(
            "INSERT INTO appointments (id, company_id, staff_id, calcom_v2_booking_id, updated_at) VALUES \
             (100, 7, {id}, 'Bk-aaa', '2026-03-01 10:00:00'), (101, 7, NULL, 'bk-AAA', '2026-03-01 11:00:00')"
        ),
    ])
    .await;
}

fn staff(test: &TestDatabase) -> String {
    if test.shape == GatewayShape::Live { format!("'{STAFF}'") } else { "10".into() }
}

fn insert_mapping(test: &TestDatabase, host: i64, active: bool) -> String {
    format!(
        "INSERT INTO calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, \
         mapping_source, is_active) VALUES (7, {}, {host}, 'Mara Lindqvist', 'mara@salon.example', 'auto_email', \
         {active})",
        staff(test)
    )
}

/// Returns every table with its definition and its rows.
pub(crate) async fn dump(test: &TestDatabase) -> Vec<String> {
    let tables = match test.backend {
        Backend::Sqlite => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
        }
        Backend::MariaDb => {
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1"
        }
        Backend::Postgres => "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
    };
    let mut all = schema(test).await;
    for table in test.strings(tables).await {
        let rows = match test.backend {
            Backend::Postgres => format!("SELECT row_to_json(t)::text FROM {table} t ORDER BY 1"),
            _ => {
                let columns = match test.backend {
                    Backend::Sqlite => format!("SELECT name FROM pragma_table_info('{table}')"),
                    _ => format!(
                        "SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE() \
                         AND table_name = '{table}' ORDER BY ordinal_position"
                    ),
                };
                let columns = test.strings(&columns).await.join(", ");
                format!("SELECT CAST(json_array({columns}) AS CHAR) FROM {table} ORDER BY 1")
            }
        };
        all.extend(test.strings(&rows).await.into_iter().map(|row| format!("{table}: {row}")));
    }
    all
}

/// Returns the definitions, as the engine shows them.
pub(crate) async fn schema(test: &TestDatabase) -> Vec<String> {
    match test.backend {
        Backend::Sqlite => {
            test.strings(
                "SELECT type || ' ' || name || ' ' || COALESCE(sql, '') FROM sqlite_master ORDER BY 1",
            )
            .await
        }
        Backend::Postgres => {
            let queries = [
                "SELECT concat_ws(' ', table_name, column_name, udt_name, \
                 character_maximum_length, collation_name, is_nullable, column_default) \
                 FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
                "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1",
                "SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) \
                 FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1",
                "SELECT sequencename::text FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1",
            ];
            let mut all = Vec::new();
            for query in queries {
                all.extend(test.strings(query).await);
            }
            all
        }
        Backend::MariaDb => {
            let tables =
                "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY 1";
            let mut all = Vec::new();
            for table in test.strings(tables).await {
                let query =
                    sea_orm::Statement::from_string(test.db.backend(), format!("SHOW CREATE TABLE {table}"));
                let row = test.db.connection().query_one_raw(query).await.unwrap().unwrap();
                all.push(row.try_get_by_index::<String>(1).unwrap());
            }
            all
        }
    }
}

/// Fails with the differing lines only.
pub(crate) fn same(test: &TestDatabase, found: Vec<String>, wanted: &[String]) {
    let more: Vec<_> = found.iter().filter(|line| !wanted.contains(line)).collect();
    let less: Vec<_> = wanted.iter().filter(|line| !found.contains(line)).collect();
    assert!(found == wanted, "{test:?}: not as expected\n  found: {more:#?}\n  expected: {less:#?}");
}

on_engines!(up_and_down_and_up_leave_the_gateway_as_it_was);
async fn up_and_down_and_up_leave_the_gateway_as_it_was(backend: Backend) {
    for shape in shapes() {
        let test = TestDatabase::fresh(backend, shape).await;
        fill(&test).await;
        let before = dump(&test).await;
        let connection = test.db.connection();

        let names = migration::up(connection).await.unwrap();
        assert_eq!(names.len(), 21, "{test:?}");
        let migrated = schema(&test).await;
        test.run(&[
            insert_mapping(&test, 1420, true),
            "INSERT INTO hostmatch_host_locks VALUES (7, 1420)".into(),
            "UPDATE appointments SET calcom_host_id = 1420 WHERE id = 100".into(),
        ])
        .await;
        assert_eq!(
            migration::up(connection).await.unwrap(),
            Vec::<String>::new(),
            "{test:?}: the second run applies nothing"
        );

        let mut undone = migration::down(connection, None).await.unwrap();
        undone.reverse();
        assert_eq!(undone, names);
        same(&test, dump(&test).await, &before);

        migration::up(connection).await.unwrap();
        same(&test, schema(&test).await, &migrated);
    }
}

on_engines!(down_goes_step_by_step);
async fn down_goes_step_by_step(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    let connection = test.db.connection();
    let undone = migration::down(connection, Some(2)).await.unwrap();
    assert_eq!(undone, ["m1021_hostmatch_manual_assignments", "m1020_hostmatch_events_reading"]);
    let status = migration::status(connection).await.unwrap();
    assert_eq!(status.iter().filter(|one| one.applied).count(), 19);
    let refused = GatewaySchema::read(&test.db, &GatewayConfig { timezone: "server".into() }).await;
    let text = refused.unwrap_err().to_string();
    assert!(
        text.contains("hostmatch migrate up") && text.contains("m1020_hostmatch_events_reading"),
        "{text}"
    );
    assert_eq!(migration::up(connection).await.unwrap().len(), 2);
}

on_engines!(the_printed_statements_do_what_up_does);
async fn the_printed_statements_do_what_up_does(backend: Backend) {
    for shape in shapes() {
        let wanted = schema(&TestDatabase::migrated(backend, shape).await).await;
        let test = TestDatabase::fresh(backend, shape).await;
        test.run(&migration::sql(test.db.connection(), false).await.unwrap()).await;
        same(&test, schema(&test).await, &wanted);
        assert!(migration::status(test.db.connection()).await.unwrap().iter().all(|one| one.applied));
    }
    // Without a database the SQL is for a gateway as the baseline creates it.
    let wanted = schema(&TestDatabase::migrated(backend, GatewayShape::Roadmap).await).await;
    let test = TestDatabase::fresh(backend, GatewayShape::Roadmap).await;
    test.run(&migration::sql_for(test.db.backend())).await;
    same(&test, schema(&test).await, &wanted);
}

on_engines!(up_refuses_foreign_tables_before_it_changes_anything);
async fn up_refuses_foreign_tables_before_it_changes_anything(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Roadmap).await;
    test.run(&[
        "CREATE TABLE calcom_host_mapping_audits (id INT)",
        "ALTER TABLE appointments ADD COLUMN calcom_host_id INT NULL",
    ])
    .await;
    let before = dump(&test).await;
    let error = migration::up(test.db.connection()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, MigrateError::Obstacles(_)), "{text}");
    assert!(
        text.contains("calcom_host_mapping_audits") && text.contains("appointments.calcom_host_id"),
        "{text}"
    );
    same(&test, dump(&test).await, &before);
}

on_engines!(missing_parts_of_the_gateway_are_named);
async fn missing_parts_of_the_gateway_are_named(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    let text = migration::up(test.db.connection()).await.unwrap_err().to_string();
    for table in ["companies", "staff", "appointments", "migrate baseline"] {
        assert!(text.contains(table), "{text}");
    }
    assert_eq!(dump(&test).await, Vec::<String>::new(), "{test:?}");

    test.run(&[
        "CREATE TABLE companies (id VARCHAR(36) PRIMARY KEY)",
        "CREATE TABLE staff (id INT PRIMARY KEY, company_id INT, first_name VARCHAR(99))",
        "CREATE TABLE appointments (id INT PRIMARY KEY, company_id INT, staff_id INT)",
    ])
    .await;
    let text = migration::up(test.db.connection()).await.unwrap_err().to_string();
    for what in ["companies.id", "must be an integer", "staff.name", "appointments.calcom_v2_booking_id"] {
        assert!(text.contains(what), "{what}: {text}");
    }
    let refused = GatewaySchema::read(&test.db, &GatewayConfig { timezone: "server".into() }).await;
    let text = refused.unwrap_err().to_string();
    assert!(text.contains("appointments.calcom_v2_booking_id"), "{text}");
}

on_engines!(baseline_refuses_an_existing_gateway);
async fn baseline_refuses_an_existing_gateway(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
    test.run(&["CREATE TABLE calls (id INT PRIMARY KEY)"]).await;
    let before = dump(&test).await;
    let text = migration::baseline(test.db.connection()).await.unwrap_err().to_string();
    assert!(text.contains("calls"), "{text}");
    same(&test, dump(&test).await, &before);
}

on_engines!(a_host_has_one_active_mapping_in_a_company);
async fn a_host_has_one_active_mapping_in_a_company(backend: Backend) {
    for shape in shapes() {
        let test = TestDatabase::migrated(backend, shape).await;
        fill(&test).await;
        let (id, names) = match shape {
            GatewayShape::Live => ("'6f1c2b34-0000-4000-8000-00000000000b'", "name) VALUES ({id}, 7, 'B')"),
            _ => ("11", "first_name, last_name) VALUES ({id}, 7, 'B', 'B')"),
        };
        let other = |active: bool| insert_mapping(&test, 1420, active).replace(&staff(&test), id);
        test.run(&[
            format!("INSERT INTO staff (id, company_id, {names}").replace("{id}", id),
            insert_mapping(&test, 1420, true),
            insert_mapping(&test, 1421, false),
            other(false),
        ])
        .await;
        let second = format!("UPDATE calcom_host_mappings SET is_active = TRUE WHERE staff_id = {id}");
        let error = test.db.connection().execute_unprepared(&second).await.map_err(StoreError::from);
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains(if backend == Backend::Sqlite { "company_id" } else { "one_active_mapping" }),
            "{text}"
        );
        test.run(&["UPDATE calcom_host_mappings SET is_active = FALSE".to_owned(), second]).await;
        assert_eq!(test.count("calcom_host_mappings WHERE is_active").await, 1);
    }
}

on_engines!(audits_outlive_their_mapping_and_mappings_follow_their_staff);
async fn audits_outlive_their_mapping_and_mappings_follow_their_staff(backend: Backend) {
    for shape in shapes() {
        let test = TestDatabase::migrated(backend, shape).await;
        fill(&test).await;
        test.run(&[
            insert_mapping(&test, 1420, true),
            format!(
                "INSERT INTO calcom_host_mapping_audits (mapping_id, company_id, calcom_host_id, staff_id, \
                 action, changed_by, actor) SELECT id, 7, 1420, {}, 'created', 3, 'user:3' \
                 FROM calcom_host_mappings",
                staff(&test)
            ),
            "DELETE FROM staff".into(),
            "DELETE FROM users".into(),
        ])
        .await;
        assert_eq!(test.count("calcom_host_mappings").await, 0, "{test:?}");
        let kept = "SELECT COUNT(*) FROM calcom_host_mapping_audits WHERE mapping_id IS NULL AND staff_id IS NOT \
                    NULL AND changed_by IS NULL AND actor = 'user:3' AND changed_at IS NOT NULL";
        assert_eq!(test.number(kept).await, 1, "{test:?}");
    }
}

#[tokio::test]
async fn keys_get_the_type_and_collation_of_the_gateways_keys() {
    let cases = [
        (Backend::MariaDb, "CHAR(36) CHARACTER SET ascii COLLATE ascii_bin", "BIGINT"),
        (Backend::MariaDb, "VARCHAR(40) COLLATE utf8mb4_general_ci", "INT UNSIGNED"),
        (Backend::MariaDb, "UUID", "BIGINT UNSIGNED"),
        (Backend::MariaDb, "INT UNSIGNED", "INT"),
        (Backend::Postgres, "VARCHAR(40) COLLATE \"C\"", "INTEGER"),
        (Backend::Postgres, "CHAR(36)", "BIGINT"),
        (Backend::Postgres, "INTEGER", "SMALLINT"),
        (Backend::Sqlite, "CHAR(36)", "INTEGER"),
        (Backend::Sqlite, "INT", "BIGINT"),
    ];
    for (backend, staff, company) in cases {
        let test = TestDatabase::fresh(backend, GatewayShape::Empty).await;
        test.run(&[
            format!("CREATE TABLE companies (id {company} NOT NULL PRIMARY KEY)"),
            format!("CREATE TABLE staff (id {staff} NOT NULL PRIMARY KEY, company_id {company}, name VARCHAR(99))"),
            format!(
                "CREATE TABLE appointments (id {company} NOT NULL PRIMARY KEY, company_id {company}, staff_id {staff}, \
                 calcom_v2_booking_id VARCHAR(99))"
            ),
        ])
        .await;
        migration::up(test.db.connection()).await.unwrap();
        let columns = migration::gateway::Columns::read(test.db.connection()).await.unwrap();
        let column_type = |table, name| {
            let column = columns.get(table, name).unwrap();
            (column.full_type.clone(), column.charset.clone(), column.collation.clone())
        };
        for table in ["calcom_host_mappings", "calcom_host_mapping_audits", "hostmatch_assignments"] {
            assert_eq!(
                column_type(table, "staff_id"),
                column_type("staff", "id"),
                "{backend:?} {staff}: {table}"
            );
        }
        assert_eq!(
            column_type("calcom_host_mappings", "company_id"),
            column_type("companies", "id"),
            "{backend:?} {company}"
        );
        assert_eq!(column_type("hostmatch_assignments", "appointment_id"), column_type("appointments", "id"));
        // There is no users table: the person who changed something is a plain number.
        assert!(
            column_type("calcom_host_mapping_audits", "changed_by").0.to_lowercase().starts_with("bigint")
        );
        assert_eq!(migration::down(test.db.connection(), None).await.unwrap().len(), 21);
    }
}

#[tokio::test]
async fn a_changed_mapping_keeps_its_timestamps() {
    let test = TestDatabase::migrated(Backend::MariaDb, GatewayShape::Roadmap).await;
    let automatic = "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() \
                     AND table_name LIKE 'calcom%' AND extra LIKE '%on update%'";
    assert_eq!(test.number(automatic).await, 0);
}

on_engines!(the_shape_of_the_gateway_is_found);
async fn the_shape_of_the_gateway_is_found(backend: Backend) {
    let text = |name| RefColumn { name, numeric: false, is_padded: false };
    let roadmap = TestDatabase::migrated(backend, GatewayShape::Roadmap).await.schema().await;
    assert_eq!(roadmap.staff_key, KeyKind::Integer);
    assert_eq!(roadmap.staff_name, NameColumns::FirstLast);
    assert_eq!((roadmap.staff_email, roadmap.staff_active), (true, Some("is_active")));
    assert!(!roadmap.staff_deleted_at);
    assert_eq!(roadmap.booking_refs, [text("calcom_v2_booking_id")]);
    assert!(roadmap.updated_at.is_some());

    let live = TestDatabase::migrated(backend, GatewayShape::Live).await.schema().await;
    let uuid = if backend == Backend::Postgres { KeyKind::Uuid } else { KeyKind::Text };
    assert_eq!(live.staff_key, uuid);
    assert_eq!(live.staff_name, NameColumns::Full);
    assert!(live.staff_deleted_at);
    let number = RefColumn { name: "calcom_booking_id", numeric: true, is_padded: false };
    assert_eq!(live.booking_refs, [text("calcom_v2_booking_id"), text("calcom_v2_booking_uid"), number]);
}
