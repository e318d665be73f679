//! Runs the commands and statements of `docs/moving-in.md`, exactly as written, from the first inspection to
//! the removal, with and without existing tables of ours.

use crate::support::adopted::Variant;
use crate::support::program::{command, stderr, stdout};
use crate::support::{Backend, GatewayShape, TestDatabase};

/// Returns the code blocks of the document: their language, and their text.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut parts = text.split("```");
    parts.next();
    while let Some(block) = parts.next() {
        let (language, code) = block.split_once('\n').unwrap();
        blocks.push((language.to_owned(), code.to_owned()));
        parts.next();
    }
    blocks
}

/// Returns the commands that the text mentions outside of its code blocks.
fn mentioned_commands(text: &str) -> Vec<String> {
    let prose: String = text.split("```").step_by(2).collect();
    let spans = prose.split('`').skip(1).step_by(2);
    spans.filter(|span| span.starts_with("hostmatch ")).map(|span| span.replace('\n', " ")).collect()
}

on_engines!(the_commands_of_moving_in_work_as_written: mariadb, postgres);
async fn the_commands_of_moving_in_work_as_written(backend: Backend) {
    run_the_commands(TestDatabase::fresh(backend, GatewayShape::Live).await, false).await;
}

on_engines!(the_commands_of_moving_in_adopt_existing_tables: mariadb, postgres);
async fn the_commands_of_moving_in_adopt_existing_tables(backend: Backend) {
    let test = TestDatabase::fresh(backend, GatewayShape::Live).await;
    run_the_commands(test.with_existing_tables(Variant::Live).await, true).await;
}

/// Runs the commands of the page. With `adopts` our tables already exist, and `migrate` refuses to continue until
/// they are adopted.
async fn run_the_commands(test: TestDatabase, adopts: bool) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/moving-in.md")).unwrap();
    let staff = "00000000-0000-4000-8000-000000000001";
    test.run(&[
        "INSERT INTO companies (id, name) VALUES (7, 'Salon Sieben')".to_owned(),
        format!(
            "INSERT INTO staff (id, company_id, name, email) VALUES ('{staff}', 7, 'Mara Lind', 'mara@salon.example')"
        ),
        "INSERT INTO appointments (id, company_id, calcom_v2_booking_id) VALUES (1, 7, 'hG3kPq9sVw')".to_owned(),
    ])
    .await;
    let home = tempfile::tempdir().unwrap();
    let event = serde_json::json!({ "event": "appointment.created", "calcom_booking": {
        "uid": "hG3kPq9sVw", "start": "2026-03-02T09:00:00Z", "updatedAt": "2026-03-01T10:00:00.000Z",
        "hosts": [{ "id": 11, "name": "Mara Lind", "email": "mara@salon.example" }] } });
    std::fs::write(home.path().join("bookings.ndjson"), format!("{event}\n")).unwrap();
    let (mut commands, mut queries) = (Vec::new(), 0);
    let ours = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name IN \
                ('calcom_host_mappings', 'hostmatch_migrations') AND table_schema IN (DATABASE())"
        .replace("DATABASE()", if test.backend == Backend::Postgres { "'public'" } else { "DATABASE()" });
    for (language, code) in blocks(&text) {
        if language == "sql" {
            for query in code.split(';').filter(|query| !query.trim().is_empty()) {
                test.strings(query).await;
                queries += 1;
            }
        }
        for line in code.lines().filter(|line| language == "sh" && line.starts_with("hostmatch ")) {
            let line = line.split(" #").next().unwrap().split(" > ").next().unwrap();
            let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
            let output = command(&arguments)
                .env("HOSTMATCH_DATABASE__URL", &test.url)
                .current_dir(&home)
                .output()
                .unwrap();
            let code = output.status.code();
            let is_adopted = commands.iter().any(|line: &String| line.ends_with("up --adopt"));
            let allowed: &[i32] = match (arguments[0], arguments[1]) {
                ("gateway", _) => &[0, 10],
                ("migrate", "status") if adopts && !is_adopted => &[10],
                ("migrate", _) if adopts && !is_adopted && !arguments.contains(&"--adopt") => &[6],
                _ => &[0],
            };
            let is_allowed = code.is_some_and(|code| allowed.contains(&code));
            assert!(is_allowed, "{line}: {code:?} {}{}", stdout(&output), stderr(&output));
            commands.push(line.trim().to_owned());
            if arguments.contains(&"--until-empty") {
                let assigned = "SELECT COUNT(*) FROM appointments WHERE staff_id IS NOT NULL";
                assert_eq!(test.number(assigned).await, 1, "{line}: {}", stdout(&output));
                assert_eq!(test.number(&ours).await, 2, "{line}");
            }
        }
    }
    assert!(commands.len() >= 15 && queries >= 2, "{commands:?}, {queries} queries");
    for mentioned in mentioned_commands(&text) {
        assert!(
            commands.iter().any(|line| line.starts_with(&mentioned)),
            "{mentioned} was not run: {commands:#?}"
        );
    }
    // Tables that existed before are restored, and all others are removed.
    assert_eq!(test.number(&ours).await, i64::from(adopts));
    assert_eq!(test.count("appointments WHERE staff_id IS NOT NULL").await, 1);
}
