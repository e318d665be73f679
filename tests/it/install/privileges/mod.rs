//! The privileges that `hostmatch gateway grants` prints suffice for everything, and each of them is needed; a
//! user with fewer privileges is refused before anything is changed.

mod adopting;

use std::time::Duration;

use hostmatch::config::{GatewayConfig, Mode};
use hostmatch::decide::Processor;
use hostmatch::store::{
    Database, DeadLetter, DeadLetterFilter, GatewaySchema, LetterState, NewDeadLetter, Scope, bound_inbox,
    dead_letter_summaries, insert_dead_letters, probe, purge_events, purge_inbox, purge_payloads,
};
use serde_json::json;

use crate::app::replay::statements::run_every_statement;
use crate::support::program::{command, json, stderr, stdout};
use crate::support::{
    Backend, GatewayShape, Stack, TestDatabase, User, World, amqp_url, event, eventually, host, settings_of,
};

pub(crate) const GATEWAY: [&str; 5] = ["companies", "users", "branches", "staff", "appointments"];

/// Creates a gateway whose tables belong to a separate user, in a database where every privilege must
/// be granted.
pub(crate) async fn gateway(backend: Backend, owner: &User) -> TestDatabase {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
    if backend == Backend::Postgres {
        let owner = owner.quoted();
        test.run(&[
            "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned(),
            format!("GRANT USAGE ON SCHEMA public TO {owner}"),
        ])
        .await;
        for table in GATEWAY {
            test.run(&[format!("ALTER TABLE {table} OWNER TO {owner}")]).await;
        }
    }
    test
}

/// Returns the statements that the program prints for an administrator.
pub(crate) fn print_grants(test: &TestDatabase, user: &User, role: &str) -> Vec<String> {
    let output = command(&["gateway", "grants", "--role", role, "--user", &user.name, "--output", "json"])
        .env("HOSTMATCH_DATABASE__URL", &test.url)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let statements = json(&output)["grants"][0]["statements"].clone();
    serde_json::from_value(statements).unwrap()
}

/// Grants this user exactly the privileges of the role.
pub(crate) async fn grant(test: &TestDatabase, user: &User, role: &str) {
    test.run(&print_grants(test, user, role)).await;
}

/// Runs the program as this user; returns its exit code and its output.
pub(crate) fn run(test: &TestDatabase, user: &User, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(arguments).env("HOSTMATCH_DATABASE__URL", user.url(test)).output().unwrap();
    (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
}

on_engines!(the_printed_grants_suffice_to_inspect_migrate_and_run: mariadb, postgres);
async fn the_printed_grants_suffice_to_inspect_migrate_and_run(backend: Backend) {
    let [owner, inspector, migrator, runner] = [
        User::new(backend).await,
        User::new(backend).await,
        User::new(backend).await,
        User::new(backend).await,
    ];
    let test = gateway(backend, &owner).await;
    grant(&test, &inspector, "inspect").await;
    let (code, text) = run(&test, &inspector, &["gateway", "inspect"]);
    assert!(code == Some(0) || code == Some(10), "{test:?}: {text}");
    assert!(text.contains("READY") && !text.contains("NOT READY"), "{test:?}: {text}");
    assert!(text.contains("create m1001") && text.contains("it lacks"), "{test:?}: {text}");

    grant(&test, &migrator, "migrate").await;
    let (code, text) = run(&test, &migrator, &["gateway", "inspect"]);
    assert!(code == Some(10) || code == Some(0), "{test:?}: {text}");
    assert!(!text.contains("it lacks"), "{test:?}: {text}");
    let (code, text) = run(&test, &migrator, &["migrate", "up"]);
    assert_eq!(code, Some(0), "{test:?}: {text}");
    let (code, text) = run(&test, &migrator, &["migrate", "down", "--all", "--yes"]);
    assert_eq!(code, Some(0), "{test:?}: {text}");
    let (code, text) = run(&test, &migrator, &["migrate", "up"]);
    assert_eq!(code, Some(0), "{test:?}: {text}");
    grant(&test, &inspector, "inspect").await;
    grant(&test, &runner, "run").await;
    let (code, text) = run(&test, &inspector, &["gateway", "inspect"]);
    assert!(text.contains("nothing: everything exists"), "{test:?} {code:?}: {text}");
    let database = Database::connect(&runner.config(&test)).await.unwrap();
    let schema = GatewaySchema::read(&database, &GatewayConfig { timezone: "server".into() }).await.unwrap();
    probe(&database, &schema, Mode::Assign).await.unwrap();
    database.close().await;
    run_worker(World::in_database(test, &[]).await, &runner).await;
}

async fn run_worker(world: World, user: &User) {
    world.company(15).await;
    world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
    for (id, reference) in [(1, "Bk-1"), (2, "Bk-2"), (3, "Bk-3")] {
        world.appointment(id, 15, reference).await;
    }
    world
        .test
        .run(&[
            "INSERT INTO hostmatch_events (event_id, event_type, shape, outcome, received_ms, decided_ms) \
             VALUES ('old', 'x', 'native', 'ignored', 1, 1)",
            "INSERT INTO hostmatch_assignments (appointment_id, company_id, outcome, payload, decided_ms) \
             VALUES (3, 15, 'unmatched', '{}', 1)",
        ])
        .await;
    let mut stack = Stack::on(world, Some(amqp_url())).await;
    let url = user.url(&stack.world.test);
    stack.set("database.url", &url);
    let mut worker = stack.worker().await;
    stack
        .publish(&[
            event("e-1", "Bk-1", 1, host(11, "Mara Lind", "mara@salon.example")),
            event("e-2", "Bk-2", 2, host(12, "Somebody Else", "else@salon.example")),
            event("e-3", "Bk-nowhere", 3, host(11, "Mara Lind", "mara@salon.example")),
        ])
        .await;
    eventually("all events are decided and old rows are purged", Duration::from_secs(120), async || {
        let rows = stack.world.rows("hostmatch_events", &["event_id", "outcome"]).await;
        let payloads =
            "SELECT COUNT(*) FROM hostmatch_assignments WHERE appointment_id = 3 AND payload IS NOT NULL";
        let kept = stack.world.test.number(payloads).await;
        (rows == ["e-1|assigned", "e-2|unmatched", "e-3|dead_letter"] && kept == 0).then_some(())
    })
    .await;
    assert_eq!(stack.world.assigned(1).await, "1/11");
    for table in
        ["calcom_host_mappings", "calcom_host_mapping_audits", "hostmatch_inbox", "hostmatch_dead_letters"]
    {
        assert_eq!(stack.world.count(table).await, 1, "{table}");
    }
    for arguments in [
        &["match", "explain", "--uid", "Bk-1"][..],
        &["deadletters", "list"],
        &["deadletters", "groups"],
        &["deadletters", "show", "1"],
        &["deadletters", "plan", "--all"],
        &["migrate", "status"],
        &["migrate", "up"],
    ] {
        let output = stack.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    }
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}

/// Splits a GRANT statement into single privileges: for each, the statements that revoke and grant it.
fn split_privileges(statement: &str) -> Vec<(String, String)> {
    let rest = statement.strip_prefix("GRANT ").unwrap();
    let (privileges, object) = rest.split_once(" ON ").unwrap();
    let (object, user) = object.rsplit_once(" TO ").unwrap();
    let (mut all, mut depth) = (vec![String::new()], 0);
    for c in privileges.chars() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        match c {
            ',' if depth == 0 => all.push(String::new()),
            _ => all.last_mut().unwrap().push(c),
        }
    }
    let revoke_and_grant = |privilege: String| {
        let privilege = privilege.trim().to_owned();
        (
            format!("REVOKE {privilege} ON {object} FROM {user}"),
            format!("GRANT {privilege} ON {object} TO {user}"),
        )
    };
    all.into_iter().map(revoke_and_grant).collect()
}

on_engines!(without_any_single_privilege_something_fails_with_a_clear_error: mariadb, postgres);
async fn without_any_single_privilege_something_fails_with_a_clear_error(backend: Backend) {
    let (owner, user) = (User::new(backend).await, User::new(backend).await);
    let test = gateway(backend, &owner).await;
    migration::up(test.db.connection()).await.unwrap();
    grant(&test, &user, "run").await;
    let privileges: Vec<(String, String)> =
        print_grants(&test, &user, "run").iter().flat_map(|statement| split_privileges(statement)).collect();
    assert!(privileges.len() > 20, "{privileges:?}");
    let world = World::in_database(test, &[]).await;
    world.company(15).await;
    run_everything(&world, &user, 1).await.unwrap();
    let mut superfluous = Vec::new();
    for (n, (revoke, grant_again)) in (2..).zip(&privileges) {
        world.run(revoke).await;
        match run_everything(&world, &user, n).await {
            Ok(()) => superfluous.push(revoke),
            Err(text) => {
                let clear = ["denied", "hostmatch migrate up", "there is no table", "has no", "no column"];
                assert!(clear.iter().any(|words| text.contains(words)), "{revoke}: {text}");
            }
        }
        world.run(grant_again).await;
    }
    assert!(superfluous.is_empty(), "{backend:?}: {superfluous:#?}");
    run_everything(&world, &user, 1000).await.unwrap();
}

/// Runs every statement of a running program, on rows of its own.
async fn run_everything(world: &World, user: &User, n: u32) -> Result<(), String> {
    let reported = |error: hostmatch::store::StoreError| error.to_string();
    for (staff, name) in [(2 * n, "First Person"), (2 * n + 1, "Second Person")] {
        world.staff(staff, 15, name, &format!("p{staff}@salon.example")).await;
    }
    for k in 0..3 {
        world.appointment(10 * n + k, 15, &format!("Bk-{n}-{k}")).await;
    }
    let database = Database::connect(&user.config(&world.test)).await.map_err(reported)?;
    let done = async {
        let config = settings_of(&[]);
        let schema = GatewaySchema::read(&database, &config.gateway).await?;
        let processor = Processor::new(database.clone(), schema.clone(), &config);
        let first = host(100 + n, "", &format!("p{}@salon.example", 2 * n));
        let second = host(100 + n, "", &format!("p{}@salon.example", 2 * n + 1));
        let nobody = host(5000 + n, "Nobody Here", "nobody@salon.example");
        for (k, host, at) in [(0, first, 1), (1, second, 2), (2, nobody, 3)] {
            let event = event(&format!("e-{n}-{k}"), &format!("Bk-{n}-{k}"), at, host);
            processor.process(&[delivery(&event)]).await?;
            // The second mapping supersedes the first.
            world.set_staff_active(2 * n, false).await;
        }
        insert_dead_letters(&database, &[letter(n)]).await?;
        let mut again = letter(n);
        again.letter.last_failed_ms += 1;
        insert_dead_letters(&database, &[again]).await?;
        dead_letter_summaries(&database, &Scope::All, &DeadLetterFilter::default(), 1).await?;
        run_every_statement(&database).await?;
        // The first member of staff was deactivated above.
        world.set_staff_active(2 * n, true).await;
        let staff = [2 * n, 2 * n + 1].map(|staff| crate::app::people::staff_of(world, staff));
        crate::store::backlog::run_every_statement(&database).await?;
        crate::app::people::statements::run_every_statement(&database, &schema, 5000 + n, staff).await?;
        purge_payloads(&database, i64::MAX).await?;
        purge_events(&database, i64::MAX).await?;
        world
            .run(&format!(
                "INSERT INTO hostmatch_inbox (company_id, host_id, event_stamped, first_seen_ms, last_seen_ms, kind, \
                 suggestions, state, state_changed_ms) VALUES (15, {}, FALSE, 1, 1, 'unknown', '[]', 'open', 1)",
                900_000 + n
            ))
            .await;
        purge_inbox(&database, i64::MAX).await?;
        bound_inbox(&database, 0).await?;
        Ok(())
    }
    .await;
    database.close().await;
    done.map_err(reported)
}

fn delivery(event: &serde_json::Value) -> hostmatch::queue::Delivery {
    hostmatch::queue::Delivery {
        message: hostmatch::queue::Message {
            body: bytes::Bytes::from(event.to_string()),
            ..hostmatch::queue::Message::default()
        },
        attempt: 0,
        first_seen_ms: 1_760_000_000_000,
        redelivered: false,
    }
}

fn letter(n: u32) -> NewDeadLetter {
    NewDeadLetter {
        letter: DeadLetter {
            id: 0,
            state: LetterState::Open.into(),
            replays: 0,
            closed_ms: None,
            dead_id: format!("dead-{n}"),
            event_id: Some(format!("dead-event-{n}")),
            event_type: None,
            booking_ref: None,
            company_id: Some(hostmatch::event::CompanyId(15)),
            host_id: None,
            starts_ms: None,
            reason: "malformed".into(),
            error: "no".into(),
            fingerprint: "f".into(),
            attempts: 1,
            history: "[]".into(),
            routing_key: "x".into(),
            headers: "{}".into(),
            body: b"x".to_vec(),
            first_seen_ms: 1,
            last_failed_ms: 1,
            recorded_ms: 1,
        },
        shape: None,
        publisher: None,
        replayed: None,
    }
}

on_engines!(a_migration_lists_missing_privileges_before_any_change: mariadb, postgres);
async fn a_migration_lists_missing_privileges_before_any_change(backend: Backend) {
    let (owner, user) = (User::new(backend).await, User::new(backend).await);
    let test = gateway(backend, &owner).await;
    let tables = match backend {
        Backend::MariaDb => "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE()",
        _ => "SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = 'public'",
    };
    let before = test.number(tables).await;
    if backend == Backend::Postgres {
        test.run(&[format!("GRANT USAGE ON SCHEMA public TO {}", user.quoted())]).await;
    } else {
        // A user without any privilege cannot even connect to the database.
        let name = test.strings("SELECT DATABASE()").await.remove(0);
        test.run(&[format!("GRANT SELECT ON {name}.branches TO {}", user.quoted())]).await;
    }
    let refused = |lacking: &[&str]| {
        let (code, text) = run(&test, &user, &["migrate", "up"]);
        assert_eq!(code, Some(6), "{text}");
        assert!(text.contains("nothing was changed") && text.contains("gateway grants"), "{text}");
        for lack in lacking {
            assert!(text.contains(lack), "{lack}: {text}");
        }
    };
    let statements = print_grants(&test, &user, "migrate");
    match backend {
        Backend::MariaDb => refused(&["REFERENCES on companies", "REFERENCES on appointments"]),
        _ => refused(&["CREATE on the schema", "ownership of appointments", "REFERENCES on staff"]),
    }
    // All privileges but one.
    let (last, rest): (&str, Vec<&String>) = match backend {
        Backend::MariaDb => {
            ("ALTER on appointments", statements.iter().filter(|it| !it.contains("`appointments`")).collect())
        }
        _ => ("ownership of appointments", statements.iter().filter(|it| it.contains(" ON ")).collect()),
    };
    test.run(&rest).await;
    if backend == Backend::MariaDb {
        let name = test.strings("SELECT DATABASE()").await.remove(0);
        test.run(&[format!("GRANT REFERENCES ON {name}.appointments TO {}", user.quoted())]).await;
    }
    refused(&[last]);
    assert_eq!(test.number(tables).await, before, "{test:?}");

    if backend == Backend::MariaDb {
        // If a right is granted on a column, MariaDB does not see the one on the table.
        let name = test.strings("SELECT DATABASE()").await.remove(0);
        let user = user.quoted();
        test.run(&[
            format!("GRANT ALTER ON {name}.appointments TO {user}"),
            format!("GRANT SELECT (id) ON {name}.staff TO {user}"),
        ])
        .await;
        refused(&["REFERENCES on staff (it is granted"]);
        assert_eq!(test.number(tables).await, before, "{test:?}");
    }

    migration::up(test.db.connection()).await.unwrap();
    let migrated = test.number(tables).await;
    let runner = User::new(backend).await;
    grant(&test, &runner, "run").await;
    let (code, text) = run(&test, &runner, &["migrate", "down", "--all", "--yes"]);
    assert_eq!(code, Some(6), "{text}");
    assert!(text.contains("nothing was changed") && text.contains("hostmatch_dead_letters"), "{text}");
    assert_eq!(test.number(tables).await, migrated, "{test:?}");
    drop(test);
}

#[test]
fn grants_are_printed_without_a_database_and_quote_every_name() {
    let grants_json = |engine: &str, more: &[&str]| {
        let output = command(&[&["gateway", "grants", "--for", engine, "--output", "json"], more].concat())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        json(&output)["grants"].clone()
    };
    let hostile = ["--user", "x`; DROP \"y\" '", "--host", "a`b", "--database", "g`w\"\\", "--role", "run"];
    let mysql = grants_json("mysql", &hostile)[0]["statements"][0].clone();
    assert_eq!(mysql, "GRANT SELECT (id) ON `g``w\"\\`.`companies` TO `x``; DROP \"y\" '`@`a``b`");
    let postgres = grants_json("postgres", &hostile)[0]["statements"][0].clone();
    assert_eq!(postgres, "GRANT USAGE ON SCHEMA \"public\" TO \"x`; DROP \"\"y\"\" '\"");
    let all = grants_json("mariadb", &[]);
    let roles: Vec<_> = all.as_array().unwrap().iter().map(|one| one["role"].clone()).collect();
    assert_eq!(roles, [json!("inspect"), json!("migrate"), json!("run")]);
    let none = grants_json("sqlite", &["--role", "run"]);
    assert_eq!(none[0]["statements"], json!([]));
    assert!(none[0]["notes"][0].as_str().unwrap().contains("no users"));
}
