//! The number of rows that deciding and sampling read does not grow with the tables: no statement scans a
//! whole table, on any engine.
//!
//! MariaDB and PostgreSQL count the rows that they really read. For SQLite the test reads the query plans
//! of PostgreSQL's SELECTs, which are the same except for the locks.

use hostmatch::config::DatabaseConfig;
use hostmatch::decide::Processor;
use hostmatch::store::{Database, Scope, open_dead_letters, open_inbox, sum_waiting, unassigned};
use sea_orm::{ConnectionTrait as _, Statement};
use serde_json::{Value, json};

use crate::support::{Backend, GatewayShape, World, config, decide, event, host, settings_of};

/// The number of unrelated rows in each table. A full scan of one table reads more rows than all other
/// statements together.
pub(crate) const UNRELATED_ROWS: u32 = 4_000;
/// There must be more appointments, because with only a few thousand PostgreSQL finds it cheapest to join all
/// of them with the list of rows to write.
const APPOINTMENTS: u32 = 10 * UNRELATED_ROWS;

/// Creates a database with one company that the events concern, and many unrelated rows. Returns it with a
/// single connection, whose reads the servers count.
pub(crate) async fn create_filled_database(backend: Backend) -> (World, Database) {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(1).await;
    for id in 2..=41 {
        world.company(id).await;
    }
    for (n, name) in [(1, "Ada Sommer"), (2, "Bela Winter"), (3, "Carla Herbst")] {
        world.staff(n, 1, name, &format!("staff{n}@salon.example")).await;
    }
    for n in 1..=12 {
        world.appointment(n, 1, &format!("B{n}")).await;
    }
    let one = DatabaseConfig { max_connections: 1, ..config(&world.test.url) };
    let database = Database::connect(&one).await.unwrap();
    for (columns, values) in [
        (
            "staff (id, company_id, first_name, last_name, email)",
            "{n}, {c}, 'Gerd', 'S{n}', 's{n}@b.example'",
        ),
        (
            "appointments (id, company_id, staff_id, calcom_v2_booking_id, calcom_host_id)",
            "{n}, 2, NULL, 'O{n}', {n}",
        ),
        (
            "calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, mapping_source, \
             is_active)",
            "2, {n}, {n}, 'S{n}', 's{n}@b.example', 'auto_email', TRUE",
        ),
        (
            "calcom_host_mapping_audits (company_id, calcom_host_id, staff_id, action, actor)",
            "2, {n}, {n}, 'auto_matched', 'worker'",
        ),
        (
            "hostmatch_assignments (appointment_id, company_id, staff_id, host_id, outcome, booking_ref, decided_ms)",
            "{n}, 2, {n}, {n}, 'assigned', 'O{n}', 1",
        ),
        (
            "hostmatch_events (event_id, event_type, shape, outcome, received_ms, decided_ms)",
            "'o{n}', 'appointment.created', 'native', 'assigned', 1, 1",
        ),
        (
            "hostmatch_inbox (company_id, host_id, event_id, event_time_ms, first_seen_ms, last_seen_ms, kind, \
             suggestions, state, state_changed_ms)",
            "2, {n}, 'o{n}', 1, 1, 1, 'unknown', '[]', 'resolved', 1",
        ),
        ("hostmatch_host_locks (company_id, host_id)", "2, {n}"),
    ] {
        let row = |n: u32| {
            format!("({})", values.replace("{n}", &n.to_string()).replace("{c}", &(n % 40 + 2).to_string()))
        };
        let count = if columns.starts_with("appointments ") { APPOINTMENTS } else { UNRELATED_ROWS };
        let rows: Vec<String> = (1_001..=1_000 + count).map(row).collect();
        run(&database, &format!("INSERT INTO {columns} VALUES {}", rows.join(", "))).await;
    }
    let tables = "staff, appointments, calcom_host_mappings, hostmatch_assignments";
    match backend {
        Backend::MariaDb => run(&database, &format!("ANALYZE TABLE {tables}")).await,
        _ => run(&database, "ANALYZE").await,
    }
    (world, database)
}

/// Returns events for every path through deciding, in three batches: new hosts and hosts in the inbox,
/// hosts that become known while appointments wait for them, known hosts; repeated, older, replaced and
/// missing events.
fn batches() -> [Vec<Value>; 3] {
    let (ada, bela) = (host(11, "Ada", "staff1@salon.example"), host(12, "Bela", "staff2@salon.example"));
    let (nobody, known_by_name) =
        (host(13, "Nobody", "x@else.example"), host(14, "Carla Herbst", "y@else.example"));
    let stranger = host(12, "Bela", "z@else.example");
    let mut cancelled = event("e9", "B1", 9, ada.clone());
    cancelled["event"] = json!("appointment.cancelled");
    let mut by_id = event("e10", "B9", 10, ada.clone());
    by_id["appointment_id"] = json!(9);
    let mut replaced = event("e11", "new", 11, ada.clone());
    replaced["attempt"] = json!(1);
    replaced["calcom_booking"]["rescheduledFromUid"] = json!("B10");
    let without_id = json!([{ "name": "Carla", "email": "staff3@salon.example" }]);
    [
        vec![
            event("e1", "B1", 1, ada.clone()),
            event("e2", "B2", 2, stranger),
            event("e3", "B3", 3, nobody.clone()),
            event("e4", "B4", 4, known_by_name.clone()),
            event("e5", "B5", 5, json!([])),
        ],
        vec![
            event("e6", "B6", 6, ada.clone()),
            event("e7", "B7", 7, bela),
            event("e8", "B8", 8, nobody),
            event("e1", "B1", 1, ada.clone()),
            cancelled,
            by_id,
            replaced,
        ],
        vec![
            event("e12", "B11", 12, known_by_name),
            event("e13", "B12", 13, without_id),
            event("e14", "B1", 0, ada.clone()),
            event("e15", "nowhere", 15, ada),
        ],
    ]
}

/// Decides all batches over this connection, and checks how many rows were read.
async fn decide_all_batches(world: &World, database: &Database) {
    let processor = Processor::new(database.clone(), world.test.schema().await, &settings_of(&[]));
    // The first call sets up sessions and prepares statements, which reads rows too.
    hostmatch::decide::redecide_waiting(&processor).await.unwrap();
    let before = rows_read(database).await;
    let again = rows_read(database).await;
    for batch in batches() {
        decide(&processor, &batch).await;
    }
    let cost_of_counting = again - before;
    let read = rows_read(database).await - again - cost_of_counting;
    if !(1..i64::from(UNRELATED_ROWS)).contains(&read) {
        let (test, tables) = (&world.test, most_read_tables(database).await);
        panic!("{test:?}: {read} rows were read, {tables:#?}");
    }
    assert_eq!(world.assigned(2).await, "2/12", "the waiting appointment was decided again");
    assert_eq!(world.assigned(10).await, "1/11", "found by the booking that it replaced");
    assert_eq!(world.assigned(12).await, "3/-");
}

/// Counts the backlog over this connection, and checks that the unrelated rows are not read.
async fn count_backlog(database: &Database) {
    const NOW_MS: i64 = 1_000_000;
    let db = database.connection();
    let count = || async {
        let letters = sum_waiting(open_dead_letters(db, &Scope::All).await.unwrap().values()).count;
        let hosts = sum_waiting(open_inbox(db, &Scope::All, NOW_MS).await.unwrap().values()).count;
        (letters, hosts, unassigned(db, &Scope::All, NOW_MS).await.unwrap().all)
    };
    count().await;
    let before = rows_read(database).await;
    let again = rows_read(database).await;
    let (letters, hosts, bookings) = count().await;
    let cost_of_counting = again - before;
    let read = rows_read(database).await - again - cost_of_counting;
    assert!((0..200).contains(&read), "{read} rows were read, {:#?}", most_read_tables(database).await);
    assert!(letters == 0 && hosts < 10 && bookings < 10, "{letters} {hosts} {bookings}");
}

pub(crate) async fn run(database: &Database, statement: &str) {
    database.connection().execute_unprepared(statement).await.unwrap();
}

/// Returns the number of rows read so far: on MariaDB by this session, on PostgreSQL in this database.
pub(crate) async fn rows_read(database: &Database) -> i64 {
    let query = match database.backend() {
        sea_orm::DbBackend::MySql => {
            "SELECT CAST(SUM(variable_value) AS SIGNED) AS n FROM information_schema.session_status \
             WHERE variable_name LIKE 'Handler_read%'"
        }
        _ => {
            run(database, "SELECT pg_stat_force_next_flush()").await;
            "SELECT CAST((SELECT SUM(seq_tup_read) FROM pg_stat_user_tables) \
             + (SELECT SUM(idx_tup_read) FROM pg_stat_user_indexes) AS BIGINT) AS n"
        }
    };
    number(database, query).await
}

/// Returns the tables from which PostgreSQL read the most rows.
pub(crate) async fn most_read_tables(database: &Database) -> Vec<String> {
    let query = "SELECT CONCAT(relname, ': ', seq_tup_read, ' in scans, ', idx_tup_fetch, ' by indexes') AS reads \
                 FROM pg_stat_user_tables ORDER BY seq_tup_read + COALESCE(idx_tup_fetch, 0) DESC LIMIT 5";
    if database.backend() == sea_orm::DbBackend::Postgres {
        texts(database, query, "reads").await
    } else {
        Vec::new()
    }
}

async fn number(database: &Database, query: &str) -> i64 {
    let statement = Statement::from_string(database.backend(), query);
    database.connection().query_one_raw(statement).await.unwrap().unwrap().try_get("", "n").unwrap()
}

async fn texts(database: &Database, query: &str, column: &str) -> Vec<String> {
    let statement = Statement::from_string(database.backend(), query);
    let rows = database.connection().query_all_raw(statement).await;
    let rows = rows.unwrap_or_else(|error| panic!("{query}: {error}"));
    rows.iter().map(|row| row.try_get("", column).unwrap()).collect()
}

#[tokio::test]
async fn the_number_of_rows_that_deciding_reads_does_not_grow_with_the_tables() {
    let (world, database) = create_filled_database(Backend::MariaDb).await;
    decide_all_batches(&world, &database).await;
    count_backlog(&database).await;
    database.close().await;
    let (world, database) = create_filled_database(Backend::Postgres).await;
    decide_all_batches(&world, &database).await;
    count_backlog(&database).await;
    let statements = texts(&database, "SELECT statement FROM pg_prepared_statements", "statement").await;
    database.close().await;

    let (_world, database) = create_filled_database(Backend::Sqlite).await;
    let mut explained = 0;
    for statement in statements.iter().filter(|one| one.starts_with("SELECT") && one.contains('$')) {
        // PostgreSQL estimates the rows of a range from its samples, and assumes all rows for a range that
        // starts at NULL.
        let statement = statement.replace(r#""starts_ms" >= $5"#, r#""starts_ms" >= 1000000"#);
        let statement = statement.split(" FOR ").next().unwrap();
        for step in texts(&database, &format!("EXPLAIN QUERY PLAN {statement}"), "detail").await {
            let is_scan = step.starts_with("SCAN ") && !step.contains("CONSTANT ROW");
            assert!(!is_scan, "SQLite: {step}: {statement}");
        }
        explained += 1;
    }
    assert!(explained >= 10, "explained only {explained} of {} statements", statements.len());
}
