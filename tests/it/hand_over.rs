//! `hostmatch staff hand-over`: hosts and appointments to come in one act, a person's own left, and back again.

use std::process::Output;

use serde_json::{Value, json};

use crate::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, World, backends, event, host};

fn staff(world: &World, arguments: &[&str]) -> Output {
    let mut command = command(&[&["staff"], arguments].concat());
    command.env("HOSTMATCH_DATABASE__URL", &world.test.url).output().unwrap()
}

fn told(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
    json(output)
}

fn id(world: &World, n: u32) -> String {
    world.staff_id(n).trim_matches('\'').to_owned()
}

async fn hosts(world: &World) -> Vec<String> {
    let columns = ["calcom_host_id", "staff_id", "mapping_source"];
    world.rows("calcom_host_mappings WHERE is_active", &columns).await
}

async fn all(world: &World) -> Vec<String> {
    world.appointments().await.into_values().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_appointments_to_come_are_handed_over_and_taken_back() {
    for backend in backends() {
        let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Living };
        let world = World::new(backend, shape).await;
        for company in [15, 16] {
            world.company(company).await;
        }
        world.staff(1, 15, "Mara Lind", "mara@salon.example").await;
        world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
        world.staff(3, 15, "Gone", "").await;
        world.staff(9, 16, "Somebody", "").await;
        world.staff_active(3, false).await;
        for n in 1..=5 {
            world.appointment(n, 15, &format!("Bk-{n}")).await;
        }
        // 3 is over by then, 4 was given to Mara by a person, and of 5 nobody knows when it is.
        world.somebody_sets(4, Some(1)).await;
        world.somebody_sets(5, Some(1)).await;
        for n in 1..=4 {
            let mut event =
                event(&format!("e-{n}"), &format!("Bk-{n}"), 1, host(11, "Mara Lind", "mara@salon.example"));
            event["calcom_booking"]["start"] =
                json!(if n == 3 { "2026-02-01T09:00:00Z" } else { "2026-03-02T09:00:00Z" });
            world.one(event).await;
        }
        let before = (all(&world).await, hosts(&world).await);
        assert_eq!(before.0, ["1/11", "1/11", "1/11", "1/11", "1/-"], "{backend:?}");
        let (mara, boris, gone, foreign) = (id(&world, 1), id(&world, 2), id(&world, 3), id(&world, 9));
        let over = |company: &str, from: &str, to: &str, more: &[&str]| {
            let given =
                ["hand-over", "--company", company, "--from", from, "--to", to, "--from-date", "2026-03-01"];
            staff(&world, &[&given[..], &["--output", "json"], more].concat())
        };
        let shown = told(&over("15", &mara, &boris, &["--dry-run"]), 0);
        let ids = |list: &Value| -> Vec<i64> {
            list.as_array().unwrap().iter().map(|one| one["appointment"].as_i64().unwrap()).collect()
        };
        assert_eq!((ids(&shown["appointments"]), ids(&shown["left"])), (vec![1, 2], vec![4]), "{backend:?}");
        assert_eq!((&shown["hosts"], &shown["undated"]), (&json!([11]), &json!(1)), "{backend:?}: {shown}");
        assert_eq!((all(&world).await, hosts(&world).await), before, "{backend:?}: nothing was done");
        assert_eq!(over("15", &mara, &boris, &[]).status.code(), Some(4), "it asks");
        for (company, from, to) in [
            ("16", &mara, &boris),
            ("15", &mara, &foreign),
            ("15", &foreign, &boris),
            ("15", &mara, &gone),
            ("15", &mara, &mara),
        ] {
            let refused = over(company, from, to, &["--yes"]);
            assert_eq!(
                refused.status.code(),
                Some(6),
                "{backend:?} {company} {from} {to}: {}",
                stdout(&refused)
            );
        }
        assert_eq!((all(&world).await, hosts(&world).await), before, "{backend:?}: refused");

        let done = told(
            &over("15", &mara, &boris, &["--yes", "--actor", "office:anna", "--reason", "she leaves"]),
            0,
        );
        assert_eq!(all(&world).await, ["2/11", "2/11", "1/11", "1/11", "1/-"], "{backend:?}");
        assert_eq!(hosts(&world).await, ["11|2|admin"], "{backend:?}");
        let by = "calcom_host_mapping_audits WHERE actor = 'office:anna' AND reason = 'she leaves'";
        assert_eq!(world.count(by).await, 2, "{backend:?}: off and on");
        // It is ours: a newer event moves it. That one then stays when all goes back.
        let carla = host(12, "Mara Lind", "mara@salon.example");
        world.one(event("e-9", "Bk-2", 9, carla)).await;
        assert_eq!(world.assigned(2).await, "1/12", "{backend:?}");

        let number = done["hand_over"].to_string();
        let undo = |company: &str| {
            staff(&world, &["hand-over-undo", &number, "--company", company, "--yes", "--output", "json"])
        };
        assert_eq!(undo("16").status.code(), Some(3), "{backend:?}");
        let back = told(&undo("15"), 5);
        assert_eq!(
            (&back["hosts"], &back["appointments"]),
            (&json!([11]), &json!([1])),
            "{backend:?}: {back}"
        );
        assert_eq!((&back["hosts_left"], &back["appointments_left"]), (&json!([]), &json!([2])));
        assert_eq!(all(&world).await, ["1/11", "1/12", "1/11", "1/11", "1/-"], "{backend:?}");
        let restored = hosts(&world).await;
        assert_eq!(restored, ["11|1|auto_email", "12|1|auto_email"], "{backend:?}");
        assert_eq!(undo("15").status.code(), Some(6), "{backend:?}: once");
    }
}
