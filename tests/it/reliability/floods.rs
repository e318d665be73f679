//! Floods: only failing messages, one among many, bodies of any size, repeats, the wrong order, and a
//! person who changes the same host at the same time.

use sea_orm::{ConnectionTrait as _, DatabaseTransaction, DbErr, Statement};
use serde_json::{Value, json};

use super::assert_done_once;
use crate::support::{Backend, GatewayShape, Ledger, Mix, Process, Stack, Stream, World, is_full};

/// The database refuses appointments from this id on, after a call of [`refuse_changes`].
const FIRST_REFUSED_APPOINTMENT: u32 = 1_000_000;

fn full_or_usual(full: u32, usual: u32) -> u32 {
    if is_full() { full } else { usual }
}

/// Returns the backends of a scenario: all of them in a full run, otherwise one.
fn backends(usual: Backend) -> Vec<Backend> {
    if is_full() { vec![Backend::MariaDb, Backend::Postgres, Backend::Sqlite] } else { vec![usual] }
}

/// Lets two workers process everything in the queue.
async fn two_workers(stack: &Stack) {
    let mut workers: Vec<Process> = Vec::new();
    for _ in 0..2 {
        workers.push(stack.worker().await);
    }
    stack.wait_until_idle().await;
    for worker in &mut workers {
        assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
    }
    // Messages that a worker held while the queue looked empty may have been returned.
    stack.drain().await;
}

/// Makes the database refuse every change of the appointments from [`FIRST_REFUSED_APPOINTMENT`] on.
async fn refuse_changes(world: &World) {
    let begin = "CREATE TRIGGER refuse BEFORE UPDATE ON appointments FOR EACH ROW";
    let statement = match world.test.backend {
        Backend::Sqlite => {
            format!("{begin} WHEN NEW.id >= {FIRST_REFUSED_APPOINTMENT} BEGIN SELECT RAISE(ABORT, 'no'); END")
        }
        Backend::MariaDb => {
            format!(
                "{begin} IF NEW.id >= {FIRST_REFUSED_APPOINTMENT} THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END IF"
            )
        }
        Backend::Postgres => format!(
            "ALTER TABLE appointments ADD CONSTRAINT refuse CHECK (id < {FIRST_REFUSED_APPOINTMENT} OR calcom_host_id IS NULL)"
        ),
    };
    world.run(&statement).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_failing_messages() {
    for backend in backends(Backend::Postgres) {
        let stack = Stack::new(backend, GatewayShape::Roadmap).await;
        let count = full_or_usual(3_000, 300);
        let mut stream = Stream::new(count, Mix::Dead);
        for n in 0..count / 10 {
            stream.add_dead_letter(FIRST_REFUSED_APPOINTMENT + n, 3 * n as usize);
        }
        stream.insert_all(&stack.world).await;
        refuse_changes(&stack.world).await;
        let mut ledger = Ledger::open("only failing messages", &stack).await;
        ledger.publish(&stack, &stream.events).await;
        two_workers(&stack).await;
        stream.assert_done(&stack).await;
        // Bodies that are not an event: JSON strings with a null character.
        let garbage: Vec<Value> = (0..count / 3).map(|n| json!(format!("garbage \u{0} {n}"))).collect();
        ledger.publish(&stack, &garbage).await;
        two_workers(&stack).await;
        let dead = stack.world.count("hostmatch_dead_letters").await;
        assert_eq!(dead, i64::from(count + count / 10 + count / 3), "{:?}", stack.world.test);
        ledger.close(&stack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failing_message_in_a_thousand() {
    for backend in backends(Backend::MariaDb) {
        let stack = Stack::new(backend, GatewayShape::Live).await;
        let count = full_or_usual(10_000, 2_000);
        let mut stream = Stream::new(count, Mix::Decidable);
        for n in 0..count / 1_000 {
            stream.add_dead_letter(FIRST_REFUSED_APPOINTMENT + n, (n * 1_000 + 500) as usize);
        }
        stream.insert_all(&stack.world).await;
        refuse_changes(&stack.world).await;
        let mut ledger = Ledger::open("one failing message in a thousand", &stack).await;
        ledger.publish(&stack, &stream.events).await;
        two_workers(&stack).await;
        assert_done_once(stack, stream, ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_any_size() {
    const MEBIBYTE: usize = 1 << 20;
    for backend in backends(Backend::MariaDb) {
        let stack = Stack::new(backend, GatewayShape::Roadmap).await;
        let mut stream = Stream::new(60, Mix::All);
        stream.insert_all(&stack.world).await;
        // More than a batch may hold, and more than the database accepts at once.
        for (n, event) in stream.events.iter_mut().enumerate() {
            let size = match n {
                10 | 40 => 9 * MEBIBYTE,
                20 => 15 * MEBIBYTE,
                _ if n % 5 == 0 => MEBIBYTE,
                _ => 0,
            };
            // The booking, if there is one, is stored with the assignment.
            let container = if event["calcom_booking"].is_object() { "calcom_booking" } else { "payload" };
            event[container]["padding"] = json!("x".repeat(size));
        }
        let mut ledger = Ledger::open("bodies of up to 15 MiB", &stack).await;
        for event in &stream.events {
            ledger.publish(&stack, std::slice::from_ref(event)).await;
        }
        two_workers(&stack).await;
        assert_done_once(stack, stream, ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_ten_times() {
    for backend in backends(Backend::MariaDb) {
        let stack = Stack::new(backend, GatewayShape::Live).await;
        let mut stream = Stream::new(full_or_usual(2_000, 200), Mix::All);
        stream.repeat(10);
        stream.insert_all(&stack.world).await;
        let mut ledger = Ledger::open("every event ten times", &stack).await;
        ledger.publish(&stack, &stream.events).await;
        two_workers(&stack).await;
        assert_done_once(stack, stream, ledger).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_event_first() {
    for backend in backends(Backend::Postgres) {
        let stack = Stack::new(backend, GatewayShape::Roadmap).await;
        let mut stream = Stream::new(full_or_usual(5_000, 1_000), Mix::All);
        stream.reverse();
        stream.insert_all(&stack.world).await;
        let mut ledger = Ledger::open("fully reversed order", &stack).await;
        ledger.publish(&stack, &stream.events).await;
        two_workers(&stack).await;
        assert_done_once(stack, stream, ledger).await;
    }
}

/// A host that the workers map to [`BY_EMAIL`], and a person maps to [`BY_HAND`].
const HOST: u32 = 501;
const BY_EMAIL: u32 = 1;
const BY_HAND: u32 = 2;
/// The member of staff to whom the person assigns some of the appointments.
const PICKED: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_and_a_person_on_the_same_host() {
    for backend in backends(Backend::MariaDb) {
        let stack = Stack::new(backend, GatewayShape::Roadmap).await;
        let world = &stack.world;
        world.company(1).await;
        world.staff(BY_EMAIL, 1, "Anna Blum", "anna@salon.example").await;
        world.staff(BY_HAND, 1, "Boris Kamm", "").await;
        world.staff(PICKED, 1, "Carla Diehl", "").await;
        let count = full_or_usual(2_000, 300);
        for id in 1..=count {
            world.appointment(id, 1, &format!("L{id}")).await;
        }
        let mut ledger = Ledger::open("two workers and a person on one host", &stack).await;
        let mut workers = [stack.worker().await, stack.worker().await];
        // Works in rounds, so that the workers and the person work at the same time on a machine of any speed.
        let rounds: Vec<Vec<Value>> = (1..=3)
            .map(|day| (1..=count).map(|id| event(id, day, HOST, "anna@salon.example")).collect())
            .collect();
        let picked: Vec<u32> = (1..=count).step_by(10).collect();
        let person = async {
            stack.wait_until_decided(count as usize / 4).await;
            map_by_hand(world).await;
            for id in &picked {
                world.set_staff_externally(*id, Some(PICKED)).await;
            }
        };
        tokio::join!(stack.publish(&rounds[0]), person);
        stack.publish(&rounds[1]).await;
        stack.wait_until_decided(2 * count as usize).await;
        stack.publish(&rounds[2]).await;
        rounds.iter().flatten().for_each(|event| ledger.record_sent(event, true));
        picked.iter().for_each(|id| ledger.record_manual_change(*id));
        stack.wait_until_decided(3 * count as usize).await;
        stack.wait_until_idle().await;
        for worker in &mut workers {
            assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
        }
        for (id, state) in world.appointments().await {
            let staff = if picked.contains(&id) { PICKED } else { BY_HAND };
            assert_eq!(state, format!("{staff}/{HOST}"), "appointment {id} {:?}", world.test);
        }
        ledger.close(&stack).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_hosts_that_all_workers_receive_at_once() {
    const EACH: u32 = 8;
    for backend in backends(Backend::Postgres) {
        let mut stack = Stack::new(backend, GatewayShape::Roadmap).await;
        // Small batches in many pipelines: events next to each other in the queue are decided at the same time.
        stack.set("worker.batch_size", "4");
        stack.set("worker.pipelines", "4");
        let world = &stack.world;
        world.company(1).await;
        let hosts = full_or_usual(500, 30);
        for host in 1..=hosts {
            world.staff(host, 1, "Anna Blum", &format!("anna{host}@salon.example")).await;
        }
        let appointments: Vec<u32> = (0..hosts * EACH).collect();
        for id in &appointments {
            world.appointment(id + 1, 1, &format!("L{}", id + 1)).await;
        }
        let event_of = |id: &u32| {
            let host = id / EACH + 1;
            event(id + 1, 1, host, &format!("anna{host}@salon.example"))
        };
        let events: Vec<Value> = appointments.iter().map(event_of).collect();
        let mut ledger = Ledger::open("new hosts, received by eight pipelines at once", &stack).await;
        ledger.publish(&stack, &events).await;
        two_workers(&stack).await;
        for (id, state) in world.appointments().await {
            let host = (id - 1) / EACH + 1;
            assert_eq!(state, format!("{host}/{host}"), "appointment {id} {:?}", world.test);
        }
        ledger.close(&stack).await;
    }
}

fn event(appointment: u32, day: u32, host: u32, email: &str) -> Value {
    json!({
        "event": "appointment.updated", "event_id": format!("{appointment}-{day}"),
        "calcom_booking": {
            "uid": format!("L{appointment}"), "updatedAt": format!("2026-03-{day:02}T00:00:00Z"),
            "hosts": [{ "id": host, "name": "A.", "email": email }],
        },
    })
}

/// Maps the host as a person would in the gateway, whatever the workers have mapped in the meantime.
async fn map_by_hand(world: &World) {
    let time_limit = std::time::Duration::from_secs(60);
    crate::support::eventually("the person's mapping is saved", time_limit, async || {
        let tx = world.test.db.begin().await.unwrap();
        match map_in_transaction(&tx, world).await {
            Ok(()) => tx.commit().await.ok(),
            // A worker holds the lock: try again.
            Err(_) => tx.rollback().await.ok().and(None),
        }
    })
    .await;
}

async fn map_in_transaction(tx: &DatabaseTransaction, world: &World) -> Result<(), DbErr> {
    let lock = if world.test.backend == Backend::Sqlite { "" } else { " FOR UPDATE" };
    let active = format!("FROM calcom_host_mappings WHERE calcom_host_id = {HOST} AND is_active");
    let statement = Statement::from_string(world.test.db.backend(), format!("SELECT id {active}{lock}"));
    let audit = |staff: u32, of: &str, action: &str, is_active: bool| {
        format!(
            "INSERT INTO calcom_host_mapping_audits \
             (mapping_id, company_id, calcom_host_id, staff_id, action, new_values, actor) \
             SELECT id, 1, {HOST}, {staff}, '{action}', '{{\"is_active\": {is_active}}}', 'a person' {of}"
        )
    };
    if tx.query_one_raw(statement).await?.is_some() {
        tx.execute_unprepared(&audit(BY_EMAIL, &active, "deleted", false)).await?;
        let off = format!("UPDATE calcom_host_mappings SET is_active = FALSE WHERE calcom_host_id = {HOST}");
        tx.execute_unprepared(&off).await?;
    }
    let insert = format!(
        "INSERT INTO calcom_host_mappings (company_id, staff_id, calcom_host_id, calcom_name, calcom_email, \
         mapping_source) VALUES (1, {BY_HAND}, {HOST}, 'A.', '', 'manual')"
    );
    tx.execute_unprepared(&insert).await?;
    tx.execute_unprepared(&audit(BY_HAND, &active, "created", true)).await?;
    Ok(())
}
