//! Tests that the permissions on the broker that `docs/configuration.md` lists suffice for the edge and the worker,
//! together with the privileges on the database that `hostmatch gateway grants` prints.

use std::time::Duration;

use serde_json::json;

use crate::install::privileges::{gateway, grant};
use crate::support::broker::Broker;
use crate::support::{Backend, Stack, User, World, eventually};

/// The permission patterns of `docs/configuration.md`: user, configure, write, read.
fn permissions(document: &str, prefix: &str) -> Vec<[String; 4]> {
    let commands =
        document.lines().filter_map(|line| line.trim().strip_prefix("rabbitmqctl set_permissions "));
    let words = |line: &str| -> [String; 4] {
        let words: Vec<String> = line
            .replace('\'', "")
            .replace("hostmatch\\.", &format!("{prefix}\\."))
            .split(' ')
            .map(str::to_owned)
            .collect();
        words.try_into().unwrap()
    };
    commands.map(words).collect()
}

on_engines!(edge_and_worker_run_with_the_documented_permissions: mariadb, postgres);
async fn edge_and_worker_run_with_the_documented_permissions(backend: Backend) {
    let Some(mut broker) = Broker::prepare() else { return };
    broker.run().await;
    for user in ["edge", "worker"] {
        broker.control(&["add_user", user, "secret"]).await;
    }
    run_with_permissions(&broker, backend).await;
}

async fn run_with_permissions(broker: &Broker, backend: Backend) {
    let (owner, user) = (User::new(backend).await, User::new(backend).await);
    let test = gateway(backend, &owner).await;
    migration::up(test.db.connection()).await.unwrap();
    grant(&test, &user, "run").await;
    let mut stack = Stack::on(World::in_database(test, &[]).await, Some(broker.url())).await;
    stack.world.company(1).await;
    stack.world.staff(1, 1, "Anna Blum", "anna@salon.example").await;
    stack.world.appointment(1, 1, "known").await;
    // An administrator creates the queues.
    eventually("the queues exist", Duration::from_secs(60), async || stack.queue.depth().await.ok()).await;
    let document = include_str!("../../../../docs/configuration.md");
    let all = permissions(document, &stack.config.prefix);
    assert_eq!(all.len(), 2, "{all:?}");
    for [user, configure, write, read] in &all {
        broker.control(&["set_permissions", user, configure, write, read]).await;
    }
    stack.set("queue.topology", "verify");
    stack.set("edge.allow_unsigned", "true");
    let as_user = |user: &str| broker.url().replace("guest:guest", &format!("{user}:secret"));
    stack.set("queue.url", &as_user(&all[0][0]));
    let (mut edge, base) = stack.edge("edge").await;
    stack.set("queue.url", &as_user(&all[1][0]));
    let url = user.url(&stack.world.test);
    stack.set("database.url", &url);
    let mut worker = stack.worker().await;

    let client = crate::support::http_client();
    for (id, booking) in [
        (
            "assigned",
            json!({ "uid": "known", "hosts": [{ "id": 7, "name": "A.", "email": "anna@salon.example" }] }),
        ),
        ("retried", json!({ "uid": "unknown", "hosts": [{ "id": 7, "name": "A." }] })),
        ("dead", json!("not a booking")),
    ] {
        let event = json!({ "event": "appointment.created", "event_id": id, "calcom_booking": booking });
        eventually("the edge accepts the event", Duration::from_secs(60), async || {
            let post = client.post(format!("{base}/api/retell/webhook")).body(event.to_string());
            post.send().await.unwrap().status().is_success().then_some(())
        })
        .await;
    }
    stack.wait_until_decided(3).await;
    let rows = stack.world.rows("hostmatch_events", &["event_id", "outcome"]).await;
    assert_eq!(rows, ["assigned|assigned", "dead|dead_letter", "retried|dead_letter"]);
    assert_eq!(stack.world.count("hostmatch_dead_letters").await, 2);
    for process in [&mut edge, &mut worker] {
        assert_eq!(process.stop().await, Some(0), "{}", process.stderr());
        assert!(!process.stderr().contains("ACCESS_REFUSED"), "{}", process.stderr());
    }
}
