//! Runs the commands of `docs/operations.md`, exactly as written: among others they make a backup, restore it, and
//! recover the decisions made since.

use std::process::Command;

use crate::support::program::{stderr, stdout};
use crate::support::{Backend, GatewayShape, Mix, Stack, Stream, World, event, host};

/// Returns the lines of the page's blocks for this engine, or for any.
fn lines(text: &'static str, engine: &str) -> Vec<&'static str> {
    let mut lines = Vec::new();
    for block in text.split("```").skip(1).step_by(2) {
        let (info, body) = block.split_once('\n').unwrap();
        if ["sh".to_owned(), format!("sh {engine}")].contains(&info.trim().to_owned()) {
            lines.extend(body.lines().map(str::trim).filter(|line| !line.is_empty()));
        }
    }
    lines
}

/// Configures the database's own programs for this database, in the way that each of them expects.
fn configure_tools(command: &mut Command, stack: &Stack) {
    let url = reqwest::Url::parse(&stack.world.test.url).unwrap();
    let port = url.port_or_known_default().unwrap_or(if stack.world.test.backend == Backend::MariaDb {
        3306
    } else {
        5432
    });
    let (host, user, password) =
        (url.host_str().unwrap(), url.username(), url.password().unwrap_or_default());
    command.env("GATEWAY", url.path().trim_start_matches('/'));
    command
        .env("PGHOST", host)
        .env("PGPORT", port.to_string())
        .env("PGUSER", user)
        .env("PGPASSWORD", password);
    let options =
        format!("[client]\nprotocol=tcp\nhost={host}\nport={port}\nuser={user}\npassword={password}\n");
    std::fs::write(stack.home().join(".my.cnf"), options).unwrap();
    command.env("HOME", stack.home());
}

async fn run_the_commands(backend: Backend) {
    let text = include_str!("../../../docs/operations.md");
    let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.set("edge.allow_unsigned", "true");
    stack.set("edge.tokens_file", "tokens");
    let made =
        stack.command(&["token", "create", "--name", "gateway", "--scope", "events"]).output().unwrap();
    assert_eq!(made.status.code(), Some(0), "{}", stderr(&made));
    let (mut edge, address) = stack.edge("edge").await;

    let stream = Stream::new(600, Mix::Decidable);
    stream.insert_all(&stack.world).await;
    stack.world.company(15).await;
    stack.world.staff(151, 15, "Boris Kamm", "").await;
    stack.world.appointment(9001, 15, "Bk-1").await;
    let (before, after) = stream.events.split_at(stream.events.len() / 2);
    stack.publish(before).await;
    stack.publish(&[event("boris", "Bk-1", 1, host(1_420_209, "boris kamm", ""))]).await;
    stack.drain().await;
    // This file starts shortly before the backup: deciding an event twice does no harm.
    let since = before[before.len() - 50..].iter().chain(after).map(|event| format!("{event}\n"));
    std::fs::write(stack.home().join("since.ndjson"), since.collect::<String>()).unwrap();

    let program = stack.command(&[]);
    let directory = std::path::Path::new(program.get_program()).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let engine = if backend == Backend::MariaDb { "mariadb" } else { "postgres" };
    let mut before_restore = None;
    let mut count = 0;
    for line in lines(text, engine) {
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(stack.home());
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PATH", &path).env("EDGE", &address);
        configure_tools(&mut command, &stack);
        let output = command.output().unwrap();
        let reported = format!("{backend:?} {line}: {}{}", stdout(&output), stderr(&output));
        let code = match line.split_whitespace().take(3).collect::<Vec<_>>()[..] {
            // There are no dead letters.
            ["hostmatch", "deadletters", "plan"] => 3,
            // No worker runs.
            ["hostmatch", "status", ..] => 10,
            _ => 0,
        };
        assert_eq!(output.status.code(), Some(code), "{reported}");
        let assert_output = |what: &str| assert!(stdout(&output).contains(what), "{what}: {reported}");
        match line {
            _ if line.contains("dump --single") || line.starts_with("pg_dump") => {
                stack.publish(after).await;
                stack.drain().await;
                before_restore = Some((stack.decided().await, read_decisions(&stack).await));
            }
            _ if line.contains("< gateway.sql") || line.starts_with("pg_restore") => {
                let (events, rows) = before_restore.as_ref().unwrap();
                assert!(
                    stack.decided().await < events - 100,
                    "the database was not restored to the older state"
                );
                assert_ne!(read_decisions(&stack).await, *rows);
            }
            "hostmatch serve worker --until-empty" => {
                let (events, rows) = before_restore.as_ref().unwrap();
                assert_eq!(stack.decided().await, *events);
                assert_eq!(read_decisions(&stack).await, *rows, "{backend:?}");
            }
            _ if line.contains("$EDGE/health/ready") => assert_output("\"status\":\"ready\""),
            _ if line.starts_with("hostmatch match explain") => assert_output("1420209"),
            _ => {}
        }
        count += 1;
    }
    assert!(before_restore.is_some() && count > 25, "the commands of the page have changed: adapt this test");
    assert_eq!(edge.stop().await, Some(0), "{}", edge.stderr());
}

on_engines!(appointments_of_recreated_staff_are_filled_on_request);
/// The page's advice for staff who are deleted and created again: appointments that the deletion cleared
/// have no staff until a worker that may overwrite assigns them.
async fn appointments_of_recreated_staff_are_filled_on_request(backend: Backend) {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(15).await;
    world.staff(31, 15, "Mara Lind", "mara@salon.example").await;
    world.appointment(1, 15, "Bk-1").await;
    let mara = |id: &str, at| event(id, "Bk-1", at, host(7, "Mara Lind", "mara@salon.example"));
    assert_eq!(world.outcome_of(mara("e1", 1)).await, "assigned");
    world.set_staff_externally(1, None).await;
    world.run("DELETE FROM staff").await;
    assert_eq!(
        world.count("calcom_host_mappings").await,
        0,
        "{backend:?}: the mapping is deleted with its staff"
    );
    world.staff(41, 15, "Mara Lind", "mara@salon.example").await;
    assert_eq!(world.outcome_of(mara("e2", 2)).await, "kept", "{backend:?}");
    assert_eq!(world.assigned(1).await, "-/7");
    let world = World::in_database(world.test, &[("appointments.overwrite", "always")]).await;
    assert_eq!(world.outcome_of(mara("e3", 2)).await, "assigned", "{backend:?}");
    assert_eq!(world.assigned(1).await, "41/7");
}

/// Returns the decisions in the tables that people and the gateway read, without our timestamps.
async fn read_decisions(stack: &Stack) -> std::collections::BTreeMap<&'static str, Vec<String>> {
    let mut all = stack.world.all_decided_rows().await;
    all.retain(|table, _| !["hostmatch_events", "hostmatch_inbox"].contains(table));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_operations_work_as_written_on_mariadb() {
    run_the_commands(Backend::MariaDb).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_operations_work_as_written_on_postgresql() {
    run_the_commands(Backend::Postgres).await;
}
