//! Predictions agree with what happens: a plan, an explanation, a repair's preview and a simulation are each
//! compared with the worker, or the repair, on a thousand mixed events and on each engine.

use std::slice::from_ref;

use hostmatch::app::explain::{Delivery, ExplanationView, Subject, explain};
use hostmatch::app::simulate::{SimulationInput, simulate};
use hostmatch::app::{AppContext, Command, RepairScope, repair};
use hostmatch::decide::DeliveryResult;
use hostmatch::event::{CompanyId, Decoded, Envelope, HostId, decode};
use hostmatch::matching::HostKey;
use proptest::prelude::Strategy as _;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::app::people::{context_on, decide_as_anna, staff_of};
use crate::decide::chains::in_a_chain;
use crate::decide::invariants::{events, salon};
use crate::support::{self, Backend, GatewayShape, World, delivery, event, host};

/// Events in one plan.
const CHUNK: usize = 25;

/// Returns the same thousand events each time, with the first of them again at the end, each on its last
/// attempt: a plan predicts the final result.
fn stream(world: &World) -> Vec<Value> {
    let mut runner = TestRunner::deterministic();
    let mut stream = proptest::collection::vec(events(), 950).new_tree(&mut runner).unwrap().current();
    stream.extend_from_within(..50);
    for event in &mut stream {
        event["attempt"] = json!(world.processor.schedule.len());
    }
    stream
}

on_engines!(a_plan_and_an_explanation_predict_what_a_worker_does);
async fn a_plan_and_an_explanation_predict_what_a_worker_does(backend: Backend) {
    let world = salon(backend, GatewayShape::Roadmap).await;
    let context = context_on(&world.test.db, &world.test.schema().await);
    let mut compared = 0;
    let stream: Vec<Value> = stream(&world).into_iter().map(in_a_chain_last).collect();
    for some in stream.chunks(CHUNK) {
        let messages = some.iter().map(delivery).map(|one| (one.message, one.first_seen_ms)).collect();
        let predicted = world.processor.dry_run().predict(messages).await.unwrap();
        assert_eq!(predicted.len(), some.len());
        for (event, predicted) in some.iter().zip(predicted) {
            let explained = explain_event(&context, event).await;
            let done = world.send(from_ref(event)).await.remove(0);
            assert_eq!(predicted.result, done, "{backend:?}: {event}");
            compared += compare(&world, event, &explained, &done).await;
        }
    }
    assert!(compared > 600, "{backend:?}: only {compared} explanations were compared");
}

/// Makes the event one of a chain of reschedules, on its last attempt.
fn in_a_chain_last(event: Value) -> Value {
    let attempt = event["attempt"].clone();
    let mut event = in_a_chain(event);
    event["attempt"] = attempt;
    event
}

async fn explain_event(context: &AppContext, event: &Value) -> Vec<ExplanationView> {
    let delivery = delivery(event);
    let subject = match decode(&Envelope::new(&delivery.message.body, delivery.first_seen_ms)) {
        Ok(Decoded::Event(event)) => Subject::Event(event, None),
        Ok(Decoded::Ignored(ignored)) => Subject::Ignored(ignored.event_type),
        Err(malformed) => Subject::Unreadable(malformed.kind.into(), malformed.to_string()),
    };
    explain(context, vec![subject]).await.unwrap()
}

/// Compares the predicted effects with the outcome of the event and with the appointments now; returns how
/// many were compared.
async fn compare(
    world: &World,
    event: &Value,
    explained: &[ExplanationView],
    done: &DeliveryResult,
) -> usize {
    let effects: Vec<_> = explained.iter().filter_map(|one| one.effect.as_ref()).collect();
    let of = format!("{:?}: {event}: {explained:?}", world.test.backend);
    if let ([effect], 1) = (effects.as_slice(), explained.len()) {
        let predicted = (effect.delivery, effect.outcome.or(effect.reason.as_deref()));
        let actual = match done {
            DeliveryResult::Done(outcome) => (Delivery::Done, Some(outcome.as_str())),
            DeliveryResult::Retry(reason, _) => (Delivery::Retry, Some(reason.as_str())),
            DeliveryResult::Dead(reason, _) => (Delivery::DeadLetter, Some(reason.as_str())),
            DeliveryResult::Deferred => panic!("an event was deferred although no other session is active"),
        };
        assert_eq!(predicted, actual, "{of}");
    }
    let now = world.appointments().await;
    for effect in &effects {
        if let (Some(id), Some(after)) = (effect.appointment, &effect.after) {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            let staff = or_dash(after.staff_id.as_ref().map(ToString::to_string));
            let predicted = format!("{staff}/{}", or_dash(after.calcom_host_id.map(|id| id.to_string())));
            assert_eq!(predicted, now[&u32::try_from(id.0).unwrap()], "{of}");
        }
    }
    effects.len()
}

on_engines!(a_preview_predicts_what_a_repair_does);
async fn a_preview_predicts_what_a_repair_does(backend: Backend) {
    let world = salon(backend, GatewayShape::Roadmap).await;
    let context = context_on(&world.test.db, &world.test.schema().await);
    world.send(&stream(&world)).await;
    // These two certainly wait.
    for n in [12, 13] {
        world.send(&[event(&format!("last-{n}"), &format!("B{n}"), 900, host(104, "Nobody", ""))]).await;
    }
    let key = HostKey::new(CompanyId(1), HostId(104));
    decide_as_anna(&world, key.host.0, Command::Set(staff_of(&world, 11))).await.unwrap();
    let previewed = repair::preview(&context, key).await.unwrap();
    let all = [&previewed.future, &previewed.past, &previewed.unknown];
    let ids: Vec<u32> =
        all.into_iter().flatten().map(|it| u32::try_from(it.appointment.0).unwrap()).collect();
    assert!(ids.contains(&12) && ids.contains(&13), "{backend:?}: {previewed:?}");
    let mut expected = world.appointments().await;
    ids.iter().for_each(|id| drop(expected.insert(*id, "11/104".to_owned())));
    let id = repair::begin(&context, key, RepairScope::All, None).await.unwrap().unwrap();
    repair::apply(&context, id, |_| ()).await.unwrap();
    assert_eq!(world.appointments().await, expected, "{backend:?}");
}

on_engines!(a_simulation_predicts_what_a_worker_does);
async fn a_simulation_predicts_what_a_worker_does(backend: Backend) {
    let world = salon(backend, GatewayShape::Roadmap).await;
    let context = context_on(&world.test.db, &world.test.schema().await);
    // Only the newest booking of an appointment is stored, so each event must show its whole host.
    let mut stream = stream(&world);
    for event in &mut stream {
        for (id, email) in [(101, "anna@salon.example"), (103, "carla@salon.example")] {
            let hosts = event.pointer_mut("/calcom_booking/hosts").filter(|hosts| hosts[0]["id"] == id);
            if let Some(hosts) = hosts {
                hosts[0]["email"] = json!(email);
            }
        }
        if event["calcom_booking"]["data"].is_array() {
            event["calcom_booking"] = json!("not a booking");
        }
    }
    world.send(&stream).await;
    let simulated = async |auto_accept| {
        let auto_accept = Some(auto_accept);
        let question = SimulationInput {
            since_ms: 0,
            until_ms: None,
            auto_accept,
            order: Vec::new(),
            max_differences: 9,
        };
        serde_json::to_value(simulate(&context, &question).await.unwrap()).unwrap()
    };
    let (same, lower) = (simulated(80).await, simulated(75).await);
    assert_eq!(same["recorded"], same["simulated"], "{backend:?}: {same:#}");
    assert_eq!((&same["more"], &same["fewer"], &same["another"]), (&json!(0), &json!(0), &json!(0)));

    // These are the effects of a worker that accepts a new match from 75 on.
    world.delete_decisions().await;
    let processor = World::processor_on(&world.test, &[("matching.auto_accept", "75")]).await;
    support::decide(&processor, &stream).await;
    let found = world.rows("hostmatch_assignments", &["found_staff_id"]).await;
    let matched = found.iter().filter(|found| *found != "-").count();
    assert_eq!(lower["simulated"]["matched"], matched, "{backend:?}: {lower:#}");
    assert_ne!(lower["simulated"], same["simulated"], "{backend:?}: the threshold makes no difference");
}
