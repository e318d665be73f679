//! Runs the commands of `docs/office.md`, exactly as written, in the salon that the page describes.

use std::process::Command;

use super::with_start;
use crate::support::program::{command, stderr, stdout};
use crate::support::{Backend, GatewayShape, World, event, host};

async fn create_salon(backend: Backend) -> World {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    world.company(15).await;
    for (n, name) in [(31, "Mara Lind"), (32, "Boris Kamm"), (33, "Zoe Arndt")] {
        world.staff(n, 15, name, "").await;
    }
    for n in 1..=4 {
        world.appointment(n, 15, &format!("Bk-{n}")).await;
    }
    let boris = || host(1_420_209, "boris kamm", "");
    let sent = [
        event("e1", "Bk-1", 1, boris()),
        with_start(event("e2", "Bk-2", 2, boris()), "2099-03-02T09:00:00Z"),
        event("e3", "Bk-3", 3, host(1_420_310, "Front Desk", "")),
        event("e4", "Bk-4", 4, host(1_420_555, "Test", "")),
    ];
    world.send(&sent).await;
    world
}

on_engines!(the_commands_of_the_office_work_as_written);
async fn the_commands_of_the_office_work_as_written(backend: Backend) {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/office.md")).unwrap();
    let world = create_salon(backend).await;
    let program = command(&[]);
    let directory = std::path::Path::new(program.get_program()).parent().unwrap();
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap());
    let home = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for block in text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n")) {
        for line in block.lines().filter(|line| !line.is_empty()) {
            let mut command = Command::new("sh");
            command.args(["-c", line]).env("PATH", &path).env("HOSTMATCH_DATABASE__URL", &world.test.url);
            command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.current_dir(home.path());
            let output = command.output().unwrap();
            let reported = format!("{backend:?} {line}: {}{}", stdout(&output), stderr(&output));
            assert_eq!(output.status.code(), Some(0), "{reported}");
            commands += 1;
            let assert_output = |what: &str| assert!(stdout(&output).contains(what), "{what}: {reported}");
            match commands {
                1 => assert_output("staff 32 Boris Kamm (75)"),
                2 => assert_output("What to do: hostmatch inbox accept --company 15 --host 1420209"),
                3 => {
                    assert_output("Host 1420209 is Boris Kamm (staff 32) from now on (mapping 1).");
                    assert_output("Undo it with: hostmatch repair undo 1 --company 15");
                }
                4 => assert_output("Host 1420310 is Zoe Arndt (staff 33) from now on (mapping 2)."),
                5 => assert_output("1 past appointment waits"),
                6 => assert_output("Repair 2 (done): 1 appointment "),
                7 => assert_output("1 undone"),
                8 => assert_output("Every booking has a member of staff."),
                9 => assert_output("Appointment 4 has Boris Kamm (staff 32)."),
                10 => assert_output("Boris Kamm (staff 32), assigned by hostmatch"),
                11 => assert_output("and no longer Zoe Arndt (staff 33)"),
                12 => assert_output("switched off"),
                13 => assert_output("Mara has taken over"),
                14 => assert_output("Reverted: host 1420310 is Zoe Arndt (staff 33) again (mapping 2)."),
                17 => assert_output("Host 1420555 is ignored until"),
                18 => assert_output("unknown, ignored"),
                20 => assert_output("revert of audit 4: Zoe is back"),
                21 => assert_output("created"),
                // A person fills in a member of staff in the spreadsheet.
                22 => {
                    let file = home.path().join("open-hosts.csv");
                    let list = std::fs::read_to_string(&file).unwrap();
                    let filled = list.replace(";1420555;Test;;;", ";1420555;Test;;32;");
                    assert_ne!(filled, list, "{backend:?}");
                    std::fs::write(file, filled).unwrap();
                }
                23 => assert_output("Not imported. Preview: 1 created"),
                24 => assert_output("1 created"),
                25 => assert_output("Would be handed over: 1 host, 0 appointments"),
                26 => assert_output("Undo it with: hostmatch staff hand-over-undo 1 --company 15"),
                _ => {}
            }
        }
    }
    assert_eq!(commands, 26, "the commands of the page have changed: adapt this test");
    let assigned = world.rows("appointments", &["id", "staff_id"]).await;
    assert_eq!(assigned, ["1|-", "2|32", "3|-", "4|32"], "{backend:?}");
}

#[tokio::test]
async fn a_dead_letter_that_needs_a_person_names_the_command() {
    let world = create_salon(Backend::Sqlite).await;
    let mut lost = event("e9", "Bk-9", 9, host(1_420_999, "Somebody", ""));
    lost["company_id"] = 15.into();
    lost["attempt"] = 99.into();
    let letter = hostmatch::store::NewDeadLetter {
        letter: hostmatch::store::DeadLetter {
            id: 0,
            state: hostmatch::store::LetterState::Open.into(),
            replays: 0,
            closed_ms: None,
            dead_id: "dead-1".into(),
            event_id: Some("e9".into()),
            event_type: Some("appointment.created".into()),
            booking_ref: Some("Bk-9".into()),
            company_id: Some(hostmatch::event::CompanyId(15)),
            host_id: Some(1_420_999),
            starts_ms: None,
            reason: "appointment_not_found".into(),
            error: "no appointment has this booking (yet)".into(),
            fingerprint: "f".into(),
            attempts: 6,
            history: "[]".into(),
            routing_key: "appointment.created".into(),
            headers: "{}".into(),
            body: lost.to_string().into_bytes(),
            first_seen_ms: 1,
            last_failed_ms: 2,
            recorded_ms: 3,
        },
        shape: Some("native".into()),
        publisher: None,
        replayed: None,
    };
    hostmatch::store::insert_dead_letters(&world.test.db, &[letter]).await.unwrap();
    world.appointment(9, 15, "Bk-9").await;
    let shown = super::read_for_json(&world, &["deadletters", "show", "1"]);
    let set = "hostmatch mappings set --unseen --company 15 --host 1420999 --staff ID";
    assert_eq!(
        (&shown["cure"]["foretold"], &shown["cure"]["commands"][1]),
        (&"unmatched".into(), &set.into()),
        "{shown}"
    );
    let explained =
        super::read_for_json(&world, &["match", "explain", "--host", "1420999", "--company", "15"]);
    let next = explained["explanations"][0]["next"].as_str().unwrap();
    assert!(
        next.ends_with("hostmatch mappings set --company 15 --host 1420999 --staff ID [--unseen]"),
        "{next}"
    );
}
