//! Runs the commands of `docs/dead-letters.md`, exactly as written, after the outage that the page describes.

use std::process::Command;

use serde_json::json;

use super::{add_appointment, create_dead_letters, create_salon, run, states, stop, with_mara};
use crate::support::Backend;
use crate::support::program::{json, stderr, stdout};

on_engines!(the_commands_of_dead_letters_lead_from_the_alert_to_resolved);
async fn the_commands_of_dead_letters_lead_from_the_alert_to_resolved(backend: Backend) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/dead-letters.md")).unwrap();
    let stack = create_salon(backend).await;
    let malformed_event =
        json!({ "event": "appointment.created", "event_id": "malformed", "calcom_booking": 1 });
    let mut events: Vec<_> = (1..=3).map(|n| with_mara(n, 60)).collect();
    create_dead_letters(&stack, &events[..1]).await;
    events.remove(0);
    stack.publish(&events).await;
    stack.publish(&[malformed_event]).await;
    stack.drain().await;
    for n in 1..=3 {
        add_appointment(&stack, n).await;
    }
    let groups = json(&run(&stack, &["groups", "--output", "json"]));
    let group = groups["groups"][0]["group"].as_str().unwrap();
    let malformed = "SELECT id FROM hostmatch_dead_letters WHERE reason = 'malformed'";
    let malformed = stack.world.test.number(malformed).await.to_string();
    let worker = stack.worker().await;
    let program = stack.command(&[]);
    let directory = std::path::Path::new(program.get_program()).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let mut commands = 0;
    for block in text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n")) {
        for line in block.lines().filter(|line| !line.is_empty()) {
            let mut command = Command::new("sh");
            command.args(["-c", line]).current_dir(stack.home());
            command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.env("PATH", &path).env("GROUP", group).env("MALFORMED", &malformed);
            let output = command.output().unwrap();
            let reported = format!("{line}: {}{}", stdout(&output), stderr(&output));
            assert_eq!(output.status.code(), Some(0), "{reported}");
            commands += 1;
            let assert_output = |what: &str| assert!(stdout(&output).contains(what), "{what}: {reported}");
            match commands {
                1 => assert_output("appointment_not_found"),
                5 => assert_output("Predicted for a replay now: assigned"),
                6 => assert_output("Plan 1: 3 dead letters"),
                7 => assert_output("As planned: 100 % (3)"),
                10 => assert_output("Plan 2: 1 dead letter"),
                11 => assert_output("cancelled"),
                15 => assert_output("No dead letters."),
                _ => {}
            }
        }
    }
    assert_eq!(commands, 15, "the commands of the document have changed: adapt this test");
    stop(worker).await;
    let expected = [("discarded".to_owned(), 1), ("resolved".to_owned(), 3)];
    assert_eq!(states(&stack).await, expected, "{backend:?}");
    let listed = json(&run(&stack, &["groups", "--state", "resolved", "--output", "json"]));
    assert!(listed["groups"][0]["note"].as_str().unwrap().contains("the deployment"), "{listed}");
}
