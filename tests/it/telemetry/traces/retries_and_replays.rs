//! Tests that a retry, a dead letter and its replay have separate traces that are linked to the first.

use std::time::Duration;

use super::{
    CONSUMER, TRACE, assert_no_personal_data, post, publish_message, queue_name, salon, traceparent,
    with_mara,
};
use crate::support::collector::Collector;
use crate::support::{Backend, eventually};

on_engines!(a_later_attempt_has_its_own_linked_trace);
async fn a_later_attempt_has_its_own_linked_trace(backend: Backend) {
    let (collector, mut stack) = (Collector::start().await, salon(backend).await);
    collector.collect_from(&mut stack);
    let (mut all, base) = stack.edge("all").await;
    post(&base, "/api/retell/webhook", &[("traceparent", &traceparent("01"))], &with_mara(1)).await;
    let name = format!("process {}", queue_name(&stack));
    let first = collector.span("the first attempt", &name, |span| span.trace == TRACE).await;
    assert!(first.failed, "{first:?}");
    assert_eq!(first.attribute("error.type"), "appointment_not_found");
    assert_eq!((first.attribute("hostmatch.outcome"), first.attribute("hostmatch.attempt")), ("retry", "1"));
    // Now its appointment exists.
    stack.world.appointment(1, 15, "Bk-1").await;
    let decided =
        |span: &crate::support::collector::ReceivedSpan| span.attribute("hostmatch.outcome") == "assigned";
    let last = collector.span("the attempt that decided it", &name, decided).await;
    assert_ne!(last.trace, TRACE);
    assert_eq!((last.kind, last.parent.as_str(), last.failed), (CONSUMER, "", false));
    let published = (TRACE.to_owned(), first.parent);
    assert!(last.links.contains(&published), "{last:?}");
    assert_eq!(last.attribute("hostmatch.event.id"), "e-1");
    assert_eq!(all.stop().await, Some(0));
}

on_engines!(a_replay_has_its_own_linked_trace);
/// The dead letter keeps the context; the replaying process need not use traces.
async fn a_replay_has_its_own_linked_trace(backend: Backend) {
    let (collector, mut stack) = (Collector::start().await, salon(backend).await);
    let without_tracing = stack.command(&["deadletters"]);
    collector.collect_from(&mut stack);
    stack.set("queue.retry_delays", "400ms");
    let (mut all, base) = stack.edge("all").await;
    post(&base, "/api/retell/webhook", &[("traceparent", &traceparent("01"))], &with_mara(1)).await;
    let name = format!("process {}", queue_name(&stack));
    let first = collector.span("the first attempt", &name, |span| span.trace == TRACE).await;
    let published = (TRACE.to_owned(), first.parent.clone());
    let dead =
        |span: &crate::support::collector::ReceivedSpan| span.attribute("hostmatch.outcome") == "dead_letter";
    let dead = collector.span("the dead-lettered attempt", &name, dead).await;
    assert!(dead.links.contains(&published) && dead.failed, "{dead:?}");
    let recorded = name.replace("process", "record").replace("bookings", "dead");
    let recorded = collector.span("the recording", &recorded, |_| true).await;
    assert_eq!(recorded.links, std::slice::from_ref(&published));

    stack.world.appointment(1, 15, "Bk-1").await;
    eventually("the dead letter is recorded", Duration::from_secs(60), async || {
        (stack.world.count("hostmatch_dead_letters").await == 1).then_some(())
    })
    .await;
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(without_tracing.get_program());
        command.args(without_tracing.get_args()).args(arguments).current_dir(stack.home());
        for (name, value) in without_tracing.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        crate::support::program::json(&output)
    };
    let plan = run(&["plan", "--all", "--output", "json"])["plan"].to_string();
    run(&["replay", "--plan", &plan, "--yes", "--output", "json"]);
    assert_eq!(stack.world.assigned(1).await, "1/11");
    let replayed =
        |span: &crate::support::collector::ReceivedSpan| span.attribute("hostmatch.replay") == plan;
    let replayed = collector.span("the replay", &name, replayed).await;
    assert_eq!((replayed.parent.as_str(), replayed.attribute("hostmatch.outcome")), ("", "assigned"));
    assert!(replayed.trace != TRACE && replayed.trace != dead.trace);
    assert!(replayed.links.contains(&published), "{replayed:?}");
    assert_eq!(all.stop().await, Some(0));
    assert_no_personal_data(&collector);
}

on_engines!(a_message_without_a_context_gets_one);
/// The first attempt begins the trace to which the others are linked.
async fn a_message_without_a_context_gets_one(backend: Backend) {
    let (collector, mut stack) = (Collector::start().await, salon(backend).await);
    collector.collect_from(&mut stack);
    publish_message(&stack, &[], &with_mara(1)).await;
    let mut worker = stack.worker().await;
    let name = format!("process {}", queue_name(&stack));
    let attempt = async |number: &str| {
        collector.span(number, &name, |span| span.attribute("hostmatch.attempt") == number).await
    };
    let (first, second) = (attempt("1").await, attempt("2").await);
    assert_eq!(first.parent, "");
    assert!(second.trace != first.trace && second.links.contains(&first.link_ids()), "{second:?}");
    assert_eq!(worker.stop().await, Some(0));
}
