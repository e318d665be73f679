//! The invariants of `docs/architecture.md` that hold for every stream of events: properties over random
//! streams, on real databases.
//!
//! The streams contain everything: two companies with the same hosts, hosts that match by e-mail, by name,
//! nobody or two people, hosts that show their address only sometimes, hosts without an id, repeats, equal
//! times, events without a time of their own, cancellations, other tenants, missing appointments, several
//! bookings in one event, chains of reschedules whose events have times in any order, and bytes that are not an
//! event.

use std::sync::Arc;

use hostmatch::decide::DeliveryResult;
use hostmatch::event::{BookingEvent, Decoded, Envelope, decode};
use hostmatch::matching::{ChangeSet, Item, Plan, Policy, Resolver};
use hostmatch::store::{self, Lookup, Purpose};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use super::chains::{assert_last_bookings_count, in_a_chain, send_until_found};
use crate::support::{Backend, GatewayShape, World, decide, event, host, load};

pub(crate) async fn salon(backend: Backend, shape: GatewayShape) -> World {
    let world = World::new(backend, shape).await;
    for company in [1, 2] {
        world.company(company).await;
        let base = company * 10;
        world.staff(base + 1, company, "Anna Blum", "anna@salon.example").await;
        world.staff(base + 2, company, "Boris Kamm", "").await;
        world.staff(base + 3, company, "Carla Diehl", "carla@salon.example").await;
        world.staff(base + 4, company, "Twin One", "shared@salon.example").await;
        world.staff(base + 5, company, "Twin Two", "SHARED@salon.example ").await;
        for n in 1..=3 {
            world.appointment(base + n, company, &format!("B{}", base + n)).await;
        }
    }
    world
}

/// Generates a host with a stable identity: it may hide its address, but never shows another one.
fn hosts() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => any::<bool>().prop_map(|shown| host(101, "Anna B.", if shown { "anna@salon.example" } else { "" })),
        2 => any::<bool>().prop_map(|shown| host(103, "Carla", if shown { "carla@salon.example" } else { "" })),
        2 => Just(host(102, "boris kamm", "b@else.example")),
        1 => Just(host(104, "Nobody", "")),
        1 => Just(host(105, "Twins", "shared@salon.example")),
        1 => Just(json!([{ "email": "anna@salon.example" }])),
        1 => Just(json!([])),
    ]
}

/// Generates one event; `id` makes it distinct, so that repeats are real repeats.
pub(crate) fn events() -> impl Strategy<Value = Value> {
    let target = prop_oneof![6 => (1u32..=2, 1u32..=3).prop_map(|(c, n)| c * 10 + n), 1 => Just(99)];
    (target, hosts(), 0u32..4, 0u8..24, any::<u16>()).prop_map(|(target, hosts, at, variant, id)| {
        let mut body = event(&format!("e{id}"), &format!("B{target}"), at, hosts.clone());
        match variant {
            0 => body["calcom_booking"]["status"] = json!("cancelled"),
            1 => body["company_id"] = json!(if target < 20 { 2 } else { 1 }),
            2 => body["calcom_booking"] = json!("not a booking"),
            3 | 4 => {
                let booking = body["calcom_booking"].as_object_mut().unwrap();
                booking.remove("updatedAt");
                body["first_seen"] = json!(1_772_323_200_000_i64 + i64::from(at) * 60_000);
            }
            5 => {
                let second = json!({ "uid": "B11", "hosts": hosts, "updatedAt": "2026-03-01T00:02:00Z" });
                let first = body["calcom_booking"].clone();
                body["calcom_booking"] = json!({ "data": [first, second] });
            }
            _ => {}
        }
        body
    })
}

/// Generates a stream that repeats some of its events at the end.
fn streams(max: usize) -> impl Strategy<Value = Vec<Value>> {
    (prop::collection::vec(events().prop_map(in_a_chain), 1..max), 0usize..4).prop_map(
        |(mut stream, again)| {
            let repeats: Vec<Value> = stream.iter().take(again).cloned().collect();
            stream.extend(repeats);
            stream
        },
    )
}

fn run<S: Strategy>(cases: u32, strategy: &S, test: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new(config).run(strategy, test).unwrap_or_else(|error| panic!("{error}"));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

on_engines!(fn any_split_into_batches_leaves_the_same_rows);
/// I3: any split of the same stream into batches leaves the same rows.
fn any_split_into_batches_leaves_the_same_rows(backend: Backend) {
    let runtime = runtime();
    // A database server takes five times as long for each case.
    let cases = if backend == Backend::Sqlite { 60 } else { 12 };
    let world = runtime.block_on(salon(backend, GatewayShape::Roadmap));
    let cuts = prop::collection::vec(1usize..9, 40);
    run(cases, &(streams(24), cuts), |(stream, cuts)| {
        runtime.block_on(async {
            world.delete_decisions().await;
            let mut one_by_one = Vec::new();
            for event in &stream {
                one_by_one.extend(world.send(std::slice::from_ref(event)).await);
            }
            let expected = world.all_decided_rows().await;
            world.delete_decisions().await;
            let (mut rest, mut answers) = (&stream[..], Vec::new());
            for cut in &cuts {
                let (batch, after) = rest.split_at((*cut).min(rest.len()));
                answers.extend(world.send(batch).await);
                rest = after;
            }
            answers.extend(world.send(rest).await);
            prop_assert_eq!(answers, one_by_one);
            prop_assert_eq!(world.all_decided_rows().await, expected);
            Ok(())
        })
    });
}

/// Observing first and then assigning gives the same result as assigning from the start, within what hosts
/// show: facts about a host that only an older event had are not remembered while observing.
#[test]
fn observing_then_assigning_gives_the_same_result_as_assigning_from_the_start() {
    let runtime = runtime();
    for (backend, cases) in [(Backend::Sqlite, 60), (Backend::MariaDb, 8), (Backend::Postgres, 8)] {
        let world = runtime.block_on(salon(backend, GatewayShape::Roadmap));
        let observer = runtime.block_on(World::processor_on(&world.test, &[("worker.mode", "observe")]));
        run(
            cases,
            &(streams(24), prop_oneof![Just(0), 0usize..24], 1usize..9),
            |(mut stream, first, cut)| {
                stream.iter_mut().for_each(show_address);
                let (assigned_first, observed) = stream.split_at(first.min(stream.len()));
                runtime.block_on(async {
                    world.delete_decisions().await;
                    for event in &stream {
                        world.send(std::slice::from_ref(event)).await;
                    }
                    // A host id that we wrote stays, although an observer would remove it for a host
                    // without an id.
                    let columns = if assigned_first.is_empty() { 3 } else { 2 };
                    let columns = &["id", "staff_id", "calcom_host_id"][..columns];
                    let expected = world.rows("appointments", columns).await;
                    world.delete_decisions().await;
                    world.send(assigned_first).await;
                    let before = world.appointments().await;
                    for batch in observed.chunks(cut) {
                        decide(&observer, batch).await;
                    }
                    prop_assert_eq!(world.appointments().await, before, "an observer changes no appointment");
                    hostmatch::decide::write_observed(&world.processor).await.unwrap();
                    prop_assert_eq!(world.rows("appointments", columns).await, expected);
                    let left =
                        world.rows("hostmatch_assignments WHERE observed IS NOT NULL", &["appointment_id"]);
                    prop_assert_eq!(left.await, Vec::<String>::new());
                    Ok(())
                })
            },
        );
    }
}

/// Makes every host with an address show it.
fn show_address(value: &mut Value) {
    let known = [(101, "anna@salon.example"), (103, "carla@salon.example")];
    if let Some((_, email)) = known.iter().find(|(id, _)| value["id"] == json!(id)) {
        value["email"] = json!(email);
    }
    match value {
        Value::Array(values) => values.iter_mut().for_each(show_address),
        Value::Object(values) => values.values_mut().for_each(show_address),
        _ => {}
    }
}

/// Returns the rows that must not depend on the order of arrival: appointments, active mappings, open inbox
/// items.
async fn read_decisions(world: &World) -> Vec<Vec<String>> {
    let mut all = vec![world.rows("appointments", &["id", "staff_id", "calcom_host_id"]).await];
    let mappings = ["company_id", "calcom_host_id", "staff_id", "is_active"];
    all.push(world.rows("calcom_host_mappings", &mappings).await);
    let audits = ["company_id", "calcom_host_id", "staff_id", "action"];
    all.push(world.rows("calcom_host_mapping_audits", &audits).await);
    all.push(world.rows("hostmatch_inbox WHERE state = 'open'", &["company_id", "host_id"]).await);
    all
}

on_engines!(fn any_order_of_arrival_gives_the_same_assignments);
/// I7: an older event never overwrites a newer one, in any order of arrival.
fn any_order_of_arrival_gives_the_same_assignments(backend: Backend) {
    let runtime = runtime();
    // A database server takes five times as long for each case.
    let cases = if backend == Backend::Sqlite { 60 } else { 12 };
    let world = runtime.block_on(salon(backend, GatewayShape::Live));
    let shuffled =
        streams(16).prop_flat_map(|stream| (Just(stream.clone()), Just(stream).prop_shuffle(), 1usize..7));
    run(cases, &shuffled, |(stream, shuffled, size)| {
        runtime.block_on(async {
            let stream = distinct(stream);
            let shuffled: Vec<Value> = shuffled.into_iter().filter(|event| stream.contains(event)).collect();
            world.delete_decisions().await;
            send_until_found(&world, &stream).await;
            assert_last_bookings_count(&world).await;
            let expected = read_decisions(&world).await;
            world.delete_decisions().await;
            for batch in shuffled.chunks(size) {
                world.send(batch).await;
            }
            send_until_found(&world, &shuffled).await;
            assert_last_bookings_count(&world).await;
            prop_assert_eq!(read_decisions(&world).await, expected);
            Ok(())
        })
    });
}

on_engines!(fn several_workers_at_once_give_the_same_assignments);
/// I7 with several workers at the same time: real concurrency, on the database servers.
fn several_workers_at_once_give_the_same_assignments(backend: Backend) {
    let runtime = runtime();
    let world = Arc::new(runtime.block_on(salon(backend, GatewayShape::Live)));
    run(15, &streams(40), |stream| {
        let world = world.clone();
        runtime.block_on(async {
            let stream = distinct(stream);
            world.delete_decisions().await;
            send_until_found(&world, &stream).await;
            let expected = read_decisions(&world).await;
            world.delete_decisions().await;
            let workers = (0..4).map(|n| {
                let share: Vec<Value> = stream.iter().skip(n).step_by(4).cloned().collect();
                let world = world.clone();
                tokio::spawn(async move {
                    for batch in share.chunks(2) {
                        // Deferred events are delivered again, as the queue would do.
                        let mut pending = batch.to_vec();
                        while !pending.is_empty() {
                            let answers = decide(&world.processor, &pending).await;
                            let is_deferred =
                                |(_, answer): &(Value, DeliveryResult)| *answer == DeliveryResult::Deferred;
                            pending = pending
                                .into_iter()
                                .zip(answers)
                                .filter(is_deferred)
                                .map(|(event, _)| event)
                                .collect();
                        }
                    }
                })
            });
            for worker in workers.collect::<Vec<_>>() {
                worker.await.unwrap();
            }
            send_until_found(&world, &stream).await;
            // An event that waited for a host, and was locked while the host became known, is left to
            // housekeeping.
            hostmatch::decide::redecide_waiting(&world.processor).await.unwrap();
            prop_assert_eq!(read_decisions(&world).await, expected);
            Ok(())
        })
    });
}

/// Removes events with the id of an earlier, different event: a stream with both has no defined order.
fn distinct(stream: Vec<Value>) -> Vec<Value> {
    let mut seen: Vec<Value> = Vec::new();
    for event in stream {
        if seen.iter().all(|known| known["event_id"] != event["event_id"] || *known == event) {
            seen.push(event);
        }
    }
    seen
}

fn parse(body: &Value) -> Option<BookingEvent> {
    let text = body.to_string();
    match decode(&Envelope::new(text.as_bytes(), 1_772_323_200_000)) {
        Ok(Decoded::Event(event)) => Some(*event),
        _ => None,
    }
}

/// Plans a batch without writing anything.
async fn plan(world: &World, stream: &[Value]) -> ChangeSet {
    let events: Vec<BookingEvent> = stream.iter().filter_map(parse).collect();
    let lookups: Vec<Lookup<'_>> = events.iter().map(|event| Lookup { event, tried_before: false }).collect();
    let schema = world.test.schema().await;
    let tx = world.test.db.begin().await.unwrap();
    let resolver = Resolver::new(80);
    let purpose = Purpose::Write(store::HostLockMode::Exclusive);
    let (batch, resolved) = load(&tx, &schema, &lookups, purpose).await.unwrap();
    tx.rollback().await.unwrap();
    let overwrite = hostmatch::config::Overwrite::Ours;
    let mut plan = Plan::new(
        batch.loaded,
        &resolver,
        Policy { mode: hostmatch::config::Mode::Assign, overwrite, now_ms: 1 },
    )
    .with_resolutions(resolved);
    for (event, targets) in events.iter().zip(&batch.targets) {
        plan.decide_event(&Item {
            event,
            targets,
            publisher: None,
            received_ms: 1,
            ignore_if_missing: false,
        });
    }
    plan.finish()
}

async fn write(world: &World, changes: &ChangeSet) {
    let schema = world.test.schema().await;
    let tx = world.test.db.begin().await.unwrap();
    store::commit(&tx, &schema, changes).await.unwrap();
    tx.commit().await.unwrap();
}

on_engines!(fn committing_twice_leaves_the_same_rows);
/// I4: committing the same change set twice leaves the same rows, audits included.
fn committing_twice_leaves_the_same_rows(backend: Backend) {
    let runtime = runtime();
    let world = runtime.block_on(salon(backend, GatewayShape::Live));
    run(8, &(streams(24), streams(24)), |(before, stream)| {
        runtime.block_on(async {
            world.delete_decisions().await;
            world.send(&before).await;
            let changes = plan(&world, &stream).await;
            write(&world, &changes).await;
            let once = world.all_decided_rows().await;
            write(&world, &changes).await;
            prop_assert_eq!(world.all_decided_rows().await, once);
            Ok(())
        })
    });
}

on_engines!(two_replicas_racing_on_a_new_host_leave_one_mapping_and_one_audit);
/// I4 in practice: two replicas get the same new host, and neither has seen the other's rows.
async fn two_replicas_racing_on_a_new_host_leave_one_mapping_and_one_audit(backend: Backend) {
    let world = salon(backend, GatewayShape::Live).await;
    let anna = || host(101, "Anna", "anna@salon.example");
    let one = plan(&world, &[event("e1", "B11", 1, anna())]).await;
    let two = plan(&world, &[event("e2", "B12", 1, anna())]).await;
    write(&world, &one).await;
    write(&world, &two).await;
    assert_eq!(world.count("calcom_host_mappings").await, 1);
    assert_eq!(world.count("calcom_host_mapping_audits").await, 1);
    let all = world.appointments().await;
    assert_eq!((all[&11].as_str(), all[&12].as_str()), ("11/101", "11/101"));
    let used =
        "SELECT COUNT(*) FROM hostmatch_assignments a JOIN calcom_host_mappings m ON m.id = a.mapping_id";
    assert_eq!(world.test.number(used).await, 2);
}
