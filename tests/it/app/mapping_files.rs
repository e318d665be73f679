//! Tests files of mappings: they are exported, filled in, imported, and imports are undone, on every engine and
//! for one company at a time.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use hostmatch::app::{Command, Decision, decide};
use hostmatch::event::{CompanyId, HostId};
use hostmatch::matching::HostKey;
use hostmatch::store::lock_hosts;
use serde_json::{Value, json};

use crate::app::people::{anna, staff_of};
use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, Process, World, event, eventually, host};

const STAFF_NAME: &str = "Zoë Grün";

/// Creates company 15 with staff 1 and 2, and 3, who has left; and company 16 with staff 9.
async fn create_salon(backend: Backend) -> World {
    let shape = if backend == Backend::Sqlite { GatewayShape::Roadmap } else { GatewayShape::Live };
    let world = World::new(backend, shape).await;
    for company in [15, 16] {
        world.company(company).await;
    }
    for n in 1..=3 {
        world.staff(n, 15, &format!("Person {n}"), "").await;
    }
    world.staff(9, 16, "Somebody", "").await;
    world.set_staff_active(3, false).await;
    world
}

/// Returns the id of a member of staff as it is written in a file.
fn id(world: &World, n: u32) -> String {
    world.staff_id(n).trim_matches('\'').to_owned()
}

fn mappings(world: &World, arguments: &[&str]) -> Output {
    let mut command = command(&[&["mappings"], arguments].concat());
    command.env("HOSTMATCH_DATABASE__URL", &world.test.url).output().unwrap()
}

fn json_report(output: &Output, code: i32) -> Value {
    assert_eq!(output.status.code(), Some(code), "{}{}", stdout(output), stderr(output));
    json(output)
}

fn import(world: &World, file: &Path, arguments: &[&str], code: i32) -> Value {
    let file = file.to_str().unwrap();
    json_report(&mappings(world, &[&["import", file, "--output", "json"], arguments].concat()), code)
}

fn write_file(home: &tempfile::TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = home.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

async fn active_mappings(world: &World) -> Vec<String> {
    let columns = ["company_id", "calcom_host_id", "staff_id", "calcom_name", "mapping_source"];
    world.rows("calcom_host_mappings WHERE is_active", &columns).await
}

on_engines!(a_file_of_a_german_spreadsheet_is_imported_exported_and_undone);
async fn a_file_of_a_german_spreadsheet_is_imported_exported_and_undone(backend: Backend) {
    let world = create_salon(backend).await;
    let home = tempfile::tempdir().unwrap();
    let text = format!(
        "company_id;calcom_host_id;calcom_name;staff_id;reason\r\n15;7;{STAFF_NAME};{one};=fort\r\n15;8;@home;{two};\r\n\
         15;9;;;\r\n15;10;;{inactive};\r\n15;11;;{foreign};\r\n",
        one = id(&world, 1),
        two = id(&world, 2),
        inactive = id(&world, 3),
        foreign = id(&world, 9),
    );
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let file = write_file(&home, "hosts.csv", latin);

    let first = import(&world, &file, &["--dry-run"], 5);
    assert_eq!((&first["encoding"], &first["delimiter"]), (&json!("windows-1252"), &json!(";")));
    let expected =
        [("made", 2), ("replaced", 0), ("unchanged", 0), ("skipped", 1), ("failed", 2), ("lines", 5)];
    for (key, count) in expected {
        assert_eq!(first[key], count, "{backend:?} {key}: {first}");
    }
    assert_eq!((world.count("calcom_host_mappings").await, world.count("hostmatch_imports").await), (0, 0));
    assert_eq!(
        mappings(&world, &["import", file.to_str().unwrap()]).status.code(),
        Some(4),
        "the command must ask for confirmation"
    );

    let failed = home.path().join("failed.csv");
    let done =
        import(&world, &file, &["--yes", "--actor", "office:anna", "--failed", failed.to_str().unwrap()], 5);
    assert_eq!((&done["made"], &done["failed"]), (&json!(2), &json!(2)), "{backend:?}");
    let errors: Vec<String> = done["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| format!("{} {}", one["line"], one["error"]))
        .collect();
    assert!(errors[0].starts_with("5 ") && errors[0].contains("not active"), "{errors:?}");
    assert!(errors[1].starts_with("6 ") && errors[1].contains("does not belong to company 15"), "{errors:?}");
    assert_eq!(
        active_mappings(&world).await,
        [format!("15|7|1|{STAFF_NAME}|manual"), "15|8|2|@home|manual".into()]
    );
    let audits = world.rows("calcom_host_mapping_audits", &["action", "actor", "reason"]).await;
    assert_eq!(audits, ["created|office:anna|-", "created|office:anna|=fort"], "{backend:?}");

    // The failed lines fail again unchanged; an existing file is not overwritten.
    let again = import(&world, &failed, &["--yes"], 5);
    assert_eq!((&again["lines"], &again["failed"]), (&json!(2), &json!(2)));
    let overwriting =
        mappings(&world, &["import", file.to_str().unwrap(), "--yes", "--failed", failed.to_str().unwrap()]);
    assert!(
        overwriting.status.code() == Some(1) && stderr(&overwriting).contains("new file"),
        "{}",
        stderr(&overwriting)
    );

    // The import of an export changes nothing, and an export contains no formula.
    for excel in [&["--excel"][..], &[]] {
        let exported = mappings(&world, &[&["export", "--company", "15"], excel].concat());
        assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
        let text = stdout(&exported);
        assert!(text.contains("'@home") && text.contains(STAFF_NAME), "{text}");
        let file = write_file(&home, &format!("export{}.csv", excel.len()), text);
        let reimported = import(&world, &file, &["--yes"], 0);
        assert_eq!(
            (&reimported["unchanged"], &reimported["import"]),
            (&json!(2), &Value::Null),
            "{backend:?}"
        );
    }
    // No company's export contains another company's mappings.
    let other = mappings(&world, &["export", "--company", "16"]);
    assert_eq!(stdout(&other).lines().count(), 1);
    let foreign = import(&world, &file, &["--yes", "--company", "16"], 5);
    assert_eq!((&foreign["made"], &foreign["failed"]), (&json!(0), &json!(5)), "{backend:?}");

    let replacing = format!("calcom_host_id,staff_id\n7,{}\n", id(&world, 2));
    let replacing = write_file(&home, "replace.csv", replacing);
    let second = import(&world, &replacing, &["--yes", "--company", "15"], 0);
    assert_eq!(second["replaced"], 1, "{backend:?}: {second}");
    let (import_id, second) = (done["import"].to_string(), second["import"].to_string());
    assert_eq!(
        mappings(&world, &["import-undo", &second, "--yes", "--company", "16"]).status.code(),
        Some(3)
    );
    let list = json_report(&mappings(&world, &["imports", "--output", "json"]), 0);
    assert_eq!(list["imports"].as_array().unwrap().len(), 2, "{list}");
    let none = json_report(&mappings(&world, &["imports", "--company", "16", "--output", "json"]), 0);
    assert_eq!(none["imports"], json!([]), "{backend:?}");

    // A mapping that has been changed since the import is kept.
    let first_undo =
        json_report(&mappings(&world, &["import-undo", &import_id, "--yes", "--output", "json"]), 5);
    assert_eq!(
        (&first_undo["taken_back"], &first_undo["left"][0]["host"]),
        (&json!(1), &json!(7)),
        "{backend:?}"
    );
    let undone = json_report(&mappings(&world, &["import-undo", &second, "--yes", "--output", "json"]), 0);
    assert_eq!((&undone["taken_back"], &undone["left"]), (&json!(1), &json!([])), "{backend:?}");
    assert_eq!(active_mappings(&world).await, [format!("15|7|1|{STAFF_NAME}|manual")], "{backend:?}");
    // The older import can be undone now, and nothing is undone twice.
    for count in [2, 2] {
        let undone =
            json_report(&mappings(&world, &["import-undo", &import_id, "--yes", "--output", "json"]), 0);
        assert_eq!((&undone["taken_back"], &undone["left"]), (&json!(count), &json!([])), "{backend:?}");
        assert_eq!(active_mappings(&world).await, Vec::<String>::new(), "{backend:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_made_during_an_import_is_not_overwritten() {
    let world = create_salon(Backend::MariaDb).await;
    let (home, schema) = (tempfile::tempdir().unwrap(), world.test.schema().await);
    let one = id(&world, 1);
    let text = format!("company_id,calcom_host_id,staff_id\n15,7,{one}\n15,8,{one}\n");
    let file = write_file(&home, "hosts.csv", text);
    let key = HostKey::new(CompanyId(15), HostId(7));
    let person = world.test.db.begin().await.unwrap();
    lock_hosts(&person, &schema, &[key].into()).await.unwrap();
    let mut command = command(&["mappings", "import", file.to_str().unwrap(), "--yes"]);
    command.env("HOSTMATCH_DATABASE__URL", &world.test.url);
    let mut importing = Process::start(command, home.path(), "import");
    let waits = async || world.has_session_waiting_for_host_lock().await.then_some(());
    eventually(
        "the import has read the mappings and waits for the host's lock",
        Duration::from_secs(60),
        waits,
    )
    .await;
    let command = Command::Set(staff_of(&world, 2));
    let decision = Decision { allow_unseen_host: true, ..Decision::new(key.company, key.host, command) };
    decide(&person, &schema, &anna(), &[decision]).await.unwrap().remove(0).unwrap();
    person.commit().await.unwrap();
    assert_eq!(importing.wait().await.code(), Some(5), "{}", importing.stderr());
    assert_eq!(active_mappings(&world).await, ["15|7|2||manual", "15|8|1||manual"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_of_open_hosts_is_prefilled_and_can_be_imported() {
    let world = create_salon(Backend::Sqlite).await;
    for (n, company) in [(1, 15), (2, 15), (3, 16)] {
        world.appointment(n, company, &format!("Bk-{n}")).await;
    }
    world.outcome_of(event("e-1", "Bk-1", 1, host(7, "Person 1", ""))).await;
    world.outcome_of(event("e-2", "Bk-2", 1, host(8, "=Nobody", ""))).await;
    world.outcome_of(event("e-3", "Bk-3", 1, host(9, "Nobody", ""))).await;
    let home = tempfile::tempdir().unwrap();
    let output = mappings(&world, &["template", "--company", "15", "--suggestions", "--excel"]);
    let text = stdout(&output).to_owned();
    assert!(text.contains("15;7;Person 1;;1;;;1 (name 75);1\r\n"), "{text}");
    assert!(text.contains("15;8;'=Nobody;;;;;;1\r\n") && !text.contains("16;9"), "{text}");
    let file = write_file(&home, "open.csv", text);
    let done = import(&world, &file, &["--yes", "--known-hosts"], 0);
    assert_eq!((&done["made"], &done["skipped"]), (&json!(1), &json!(1)));
    assert_eq!(active_mappings(&world).await, ["15|7|1|Person 1|manual"]);
    let wrong = write_file(&home, "wrong.csv", "company,host\n15,7\n");
    let output = mappings(&world, &["import", wrong.to_str().unwrap(), "--yes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no column calcom_host_id and no staff_id"), "{}", stderr(&output));
    let unknown = write_file(&home, "new.csv", "company_id,calcom_host_id,staff_id\n15,999,2\n");
    let refused = import(&world, &unknown, &["--yes", "--known-hosts"], 5);
    assert!(refused["errors"][0]["error"].as_str().unwrap().contains("host 999"), "{refused}");
}

/// Returns a line of the large file: every 270th is invalid, in one of five ways.
fn csv_line(world: &World, n: u32) -> String {
    let staff = id(world, 1 + n % 2);
    match (n.is_multiple_of(270), n / 270 % 5) {
        (false, _) => format!("15,{n},{staff}\n"),
        (_, 0) => format!("15,{n},{}\n", id(world, 9)),
        (_, 1) => format!("15,{n}\n"),
        (_, 2) => format!("15,host {n},{staff}\n"),
        (_, 3) => format!("15,{n},{}\n", id(world, 3)),
        _ => format!("99,{n},{staff}\n"),
    }
}

on_engines!(ten_thousand_lines_are_imported_and_37_invalid_ones_after_correction);
async fn ten_thousand_lines_are_imported_and_37_invalid_ones_after_correction(backend: Backend) {
    let world = create_salon(backend).await;
    let home = tempfile::tempdir().unwrap();
    let mut text = "company_id,calcom_host_id,staff_id\n".to_owned();
    (1..=10_000).for_each(|n| text.push_str(&csv_line(&world, n)));
    let file = write_file(&home, "all.csv", text);
    let failed = home.path().join("failed.csv");
    let output = mappings(
        &world,
        &[
            "import",
            file.to_str().unwrap(),
            "--yes",
            "--failed",
            failed.to_str().unwrap(),
            "--output",
            "json",
        ],
    );
    let done = json_report(&output, 5);
    assert_eq!((&done["made"], &done["failed"]), (&json!(9963), &json!(37)), "{backend:?}: {done}");
    assert!(
        stderr(&output).contains("importing"),
        "the command must report its progress: {}",
        stderr(&output)
    );
    assert_eq!(world.count("calcom_host_mappings").await, 9963, "{backend:?}");
    assert_eq!(world.count("calcom_host_mapping_audits").await, 9963, "{backend:?}");

    // Fills in what a person would in a spreadsheet: a valid company, host and member of staff in each line.
    let bad = std::fs::read_to_string(&failed).unwrap();
    let mut lines = bad.trim_start_matches('\u{feff}').lines();
    let mut corrected = format!("{}\r\n", lines.next().unwrap());
    assert_eq!(corrected.trim_end(), "company_id,calcom_host_id,staff_id,error");
    for (n, line) in (1..).zip(lines) {
        assert!(line.split(',').nth(3).is_some_and(|why| !why.is_empty()), "{line}");
        let _ = write!(corrected, "15,{},{},\r\n", n * 270, id(&world, 2));
    }
    let corrected = write_file(&home, "corrected.csv", corrected);
    let second = import(&world, &corrected, &["--yes"], 0);
    assert_eq!((&second["made"], &second["lines"]), (&json!(37), &json!(37)), "{backend:?}: {second}");
    assert_eq!(world.count("calcom_host_mappings").await, 10_000, "{backend:?}");
    if backend == Backend::Sqlite {
        // Importing the whole file again does not change anything, and the whole import can be undone.
        let again = import(&world, &file, &["--yes"], 5);
        assert_eq!((&again["unchanged"], &again["import"]), (&json!(9963), &Value::Null), "{again}");
        let import_id = done["import"].to_string();
        let undone =
            json_report(&mappings(&world, &["import-undo", &import_id, "--yes", "--output", "json"]), 0);
        assert_eq!(undone["taken_back"], 9963);
        assert_eq!(active_mappings(&world).await.len(), 37);
    }
}
