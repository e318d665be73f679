//! Tables of an older program: a process that was updated before its tables waits, and continues by itself.

use hostmatch::store::{GatewaySchema, StoreErrorKind};

use super::{stop_and_count, unexpected_log_lines};
use crate::support::program::{json, stderr};
use crate::support::{Backend, GatewayShape, Mix, Process, Stack, Stream, eventually};

async fn ready(worker: &Process) -> u16 {
    let line = worker.log_lines("the worker answers health routes").remove(0);
    let url = format!("http://{}/health/ready", line["address"].as_str().unwrap());
    let client = crate::support::http_client();
    client.get(url).send().await.unwrap().status().as_u16()
}

/// A process also waits if the tables do not exist at all, so the first start of a new installation does not
/// crash in a loop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_newer_than_its_tables_waits_for_the_migration() {
    for (backend, down) in [
        (Backend::MariaDb, &["--steps", "1"][..]),
        (Backend::Postgres, &["--steps", "2"]),
        (Backend::Sqlite, &["--all"]),
    ] {
        let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
        stack.set("worker.health_listen", "127.0.0.1:0");
        let stream = Stream::new(60, Mix::Decidable);
        stream.insert_all(&stack.world).await;
        let down = stack.command(&[&["migrate", "down", "--yes"], down].concat()).output().unwrap();
        assert_eq!(down.status.code(), Some(0), "{}", stderr(&down));

        let mut worker = stack.start(&["serve", "worker"]);
        let line = worker.wait_for_log("waiting for the migration").await;
        let error = line["error"].as_str().unwrap();
        assert!(error.contains("run `hostmatch migrate up` (pending: m10"), "{error}");
        assert_eq!(ready(&worker).await, 503, "{backend:?}");
        stack.publish(&stream.events).await;
        // A process with `--until-empty` does not wait, but reports the same.
        let mut once = stack.start(&["serve", "worker", "--until-empty"]);
        assert_eq!(once.wait().await.code(), Some(1), "{}", once.stderr());
        assert!(once.stderr().contains("run `hostmatch migrate up`"), "{}", once.stderr());
        assert!(worker.is_running(), "{}", worker.stderr());

        let up = stack.command(&["migrate", "up"]).output().unwrap();
        assert_eq!(up.status.code(), Some(0), "{}", stderr(&up));
        worker.wait_for_log("the worker is running").await;
        let within = std::time::Duration::from_secs(60);
        eventually("the worker is ready", within, async || (ready(&worker).await == 200).then_some(())).await;
        stack.wait_until_decided(stream.len()).await;
        stack.wait_until_idle().await;
        stop_and_count(&mut worker).await;
        assert_eq!(unexpected_log_lines(&worker, &["waiting for the migration"]), [""; 0], "{backend:?}");
        stream.assert_done(&stack).await;
    }
}

on_engines!(tables_from_which_a_newer_program_removed_something_are_refused);
/// A newer program's migration that removed something is a reason to refuse both starting and migrating.
async fn tables_from_which_a_newer_program_removed_something_are_refused(backend: Backend) {
    let stack = Stack::new(backend, GatewayShape::Roadmap).await;
    stack.world.run("INSERT INTO hostmatch_migrations VALUES ('m9000_contract_of_the_future', 1)").await;
    let refused = GatewaySchema::read(&stack.world.test.db, &stack_gateway()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::Schema);
    for (arguments, code) in
        [(&["serve", "worker"][..], 1), (&["migrate", "up"], 6), (&["migrate", "down", "--yes"], 6)]
    {
        let output = stack.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains("m9000_contract_of_the_future"), "{}", stderr(&output));
    }
    let status = json(&stack.command(&["migrate", "status", "--output", "json"]).output().unwrap());
    let last = status.as_array().unwrap().last().unwrap();
    assert_eq!(last["known"], false, "{last}");
}

fn stack_gateway() -> hostmatch::config::GatewayConfig {
    hostmatch::config::GatewayConfig { timezone: "server".into() }
}
