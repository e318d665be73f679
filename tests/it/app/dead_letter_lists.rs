//! Tests lists of dead letters: filters, groups, output formats, export and import, purging.

use std::process::Output;

use hostmatch::event::CompanyId;
use hostmatch::store::{
    Compare, DeadLetter, DeadLetterFilter, LetterAction, LetterState, NewDeadLetter, NewItem,
    NewLetterAction, NewReplay, Scope, dead_letter_ids, dead_letters, groups, insert_dead_letters,
    insert_replay, perform_letter_action, purge_closed_letters, purge_replays,
};

use crate::support::program::{command, json, stderr, stdout};
use crate::support::{Backend, GatewayShape, TestDatabase};

/// Returns six letters: odd ones are malformed and of company 15, even ones have no appointment and are of
/// company 16.
fn letters() -> Vec<NewDeadLetter> {
    let letter = |n: u8| {
        let is_odd = n % 2 == 1;
        let at = 1_000 * i64::from(n);
        NewDeadLetter {
            letter: DeadLetter {
                id: 0,
                state: LetterState::Open.into(),
                replays: 0,
                closed_ms: None,
                dead_id: format!("dead-{n}"),
                event_id: Some(format!("Ev-{n}")),
                event_type: Some(if n < 4 { "appointment.created" } else { "BOOKING_CREATED" }.into()),
                booking_ref: Some(format!("bk_{n}%")),
                company_id: Some(CompanyId(if is_odd { 15 } else { 16 })),
                host_id: Some(i64::from(n / 3)),
                starts_ms: (n != 2).then_some(at * 1_000),
                reason: if is_odd { "malformed" } else { "appointment_not_found" }.into(),
                error: format!("=error, \"number\" {n}"),
                fingerprint: if is_odd { "aaaa1111" } else { "aaaa2222" }.into(),
                attempts: i32::from(n),
                history: "[]".into(),
                routing_key: "k".into(),
                headers: "{}".into(),
                body: vec![n, 0xff],
                first_seen_ms: at,
                last_failed_ms: at + 500,
                recorded_ms: at + 600,
            },
            shape: None,
            publisher: None,
            replayed: None,
        }
    };
    (1..=6).map(letter).collect()
}

async fn record_letters(backend: Backend) -> TestDatabase {
    record_letters_in(TestDatabase::migrated(backend, GatewayShape::Roadmap).await).await
}

async fn record_letters_in(test: TestDatabase) -> TestDatabase {
    for letter in letters() {
        insert_dead_letters(&test.db, &[letter]).await.unwrap();
    }
    test
}

fn scope_of(company: i64) -> Scope {
    Scope::of(Some(CompanyId(company)))
}

fn run(test: &TestDatabase, arguments: &[&str]) -> Output {
    command(&["deadletters"]).args(arguments).env("HOSTMATCH_DATABASE__URL", &test.url).output().unwrap()
}

on_engines!(every_filter_works_alone_and_combined);
async fn every_filter_works_alone_and_combined(backend: Backend) {
    let any = DeadLetterFilter::default;
    let text = |text: &str| DeadLetterFilter { text: Some(text.into()), ..any() };
    let group = |prefix: &str| DeadLetterFilter { fingerprint: Some(prefix.into()), ..any() };
    let attempts = |compare, n| DeadLetterFilter { attempts: Some((compare, n)), ..any() };
    let both = DeadLetterFilter { reason: Some("malformed".into()), since_ms: Some(3_500), ..any() };
    let cases: [(DeadLetterFilter, &[i64]); 19] = [
        (any(), &[1, 2, 3, 4, 5, 6]),
        (DeadLetterFilter { ids: vec![2, 5, 99], ..any() }, &[2, 5]),
        (DeadLetterFilter { reason: Some("malformed".into()), ..any() }, &[1, 3, 5]),
        (DeadLetterFilter { event_type: Some("BOOKING_CREATED".into()), ..any() }, &[4, 5, 6]),
        (DeadLetterFilter { booking_ref: Some("bk_3%".into()), ..any() }, &[3]),
        (DeadLetterFilter { booking_ref: Some("BK_3%".into()), ..any() }, &[]),
        (DeadLetterFilter { host_id: Some(1), ..any() }, &[3, 4, 5]),
        (DeadLetterFilter { since_ms: Some(4_500), ..any() }, &[4, 5, 6]),
        (DeadLetterFilter { until_ms: Some(4_500), ..any() }, &[1, 2, 3]),
        (attempts(Compare::Exactly, 3), &[3]),
        (attempts(Compare::AtLeast, 5), &[5, 6]),
        (attempts(Compare::AtMost, 2), &[1, 2]),
        (group("aaaa"), &[1, 2, 3, 4, 5, 6]),
        (group("aaaa1"), &[1, 3, 5]),
        (text("eV-4"), &[4]),
        // LIKE wildcards are matched literally.
        (text("_5%"), &[5]),
        (text("e_ror"), &[]),
        (text("ÄRGER"), &[]),
        (both, &[3, 5]),
    ];
    let test = record_letters(backend).await;
    for (filter, expected) in &cases {
        let found = dead_letter_ids(&test.db, &Scope::All, filter).await.unwrap();
        assert_eq!(found, *expected, "{backend:?}: {filter:?}");
    }
    // Engines compare non-ASCII characters differently, but each finds the same string.
    test.run(&["UPDATE hostmatch_dead_letters SET error = 'Großer ÄRGER' WHERE id = 2"]).await;
    assert_eq!(dead_letter_ids(&test.db, &Scope::All, &text("ÄRGER")).await.unwrap(), [2], "{backend:?}");
    let page = DeadLetterFilter { before_id: Some(5), ..any() };
    let page = dead_letters(&test.db, &scope_of(15), &page, 9).await.unwrap();
    assert_eq!(page.iter().map(|row| row.id).collect::<Vec<_>>(), [3, 1]);
    let ids = dead_letter_ids(&test.db, &scope_of(16), &any()).await.unwrap();
    assert_eq!(ids, [2, 4, 6], "{backend:?}");
}

#[tokio::test]
async fn groups_are_found_by_prefix_under_any_collation() {
    let test = record_letters_in(TestDatabase::migrated_in_dictionary_order().await).await;
    for (prefix, expected) in [("aaaa", 6), ("aaaa1", 3), ("aaaa1111", 3), ("aaab", 0), ("aaaa11110", 0)] {
        let group = DeadLetterFilter { fingerprint: Some(prefix.into()), ..DeadLetterFilter::default() };
        assert_eq!(dead_letter_ids(&test.db, &Scope::All, &group).await.unwrap().len(), expected, "{prefix}");
        assert_eq!(
            groups(&test.db, &Scope::All, &group, 0, 9).await.unwrap().is_empty(),
            expected == 0,
            "{prefix}"
        );
    }
}

on_engines!(groups_are_sorted_by_urgency_and_paged);
async fn groups_are_sorted_by_urgency_and_paged(backend: Backend) {
    let test = record_letters(backend).await;
    test.run(&["UPDATE hostmatch_dead_letters SET state = 'resolved' WHERE id = 1"]).await;
    let open = DeadLetterFilter { state: Some(LetterState::Open), ..DeadLetterFilter::default() };
    let all = groups(&test.db, &Scope::All, &open, 0, 9).await.unwrap();
    let reported: Vec<_> =
        all.iter().map(|group| (group.fingerprint.as_str(), group.count, group.companies)).collect();
    assert_eq!(reported, [("aaaa2222", 3, 1), ("aaaa1111", 2, 1)], "{backend:?}");
    assert_eq!((all[0].first_seen_ms, all[0].last_failed_ms), (2_000, 6_500));
    assert_eq!(all[0].earliest_start_ms, Some(4_000_000));
    assert_eq!(all[1].error, "=error, \"number\" 5");
    assert_eq!(groups(&test.db, &Scope::All, &open, 1, 9).await.unwrap(), all[1..]);
}

#[tokio::test]
async fn lists_are_printed_completely_as_csv_and_ndjson() {
    let test = record_letters(Backend::Sqlite).await;
    let csv = run(&test, &["list", "--format", "csv", "--code", "malformed"]);
    let lines: Vec<&str> = stdout(&csv).lines().collect();
    assert_eq!(lines.len(), 4, "{}", stdout(&csv));
    assert!(lines[0].contains("error"), "{}", lines[0]);
    assert!(
        lines[1].contains("\"'=error, \"\"number\"\" 5\""),
        "the value must be quoted, and must not be a formula: {}",
        lines[1]
    );
    let ndjson = run(&test, &["list", "--format", "ndjson"]);
    let ids: Vec<i64> = stdout(&ndjson)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids, [6, 5, 4, 3, 2, 1]);
    let groups = run(&test, &["groups", "--reason", "malformed", "--format", "csv"]);
    assert_eq!(stdout(&groups).lines().count(), 2);
    let unknown = run(&test, &["list", "--code", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(stderr(&unknown).contains("appointment_not_found"), "{}", stderr(&unknown));
    let several = run(&test, &["note", "aaaa", "which?"]);
    assert_eq!(several.status.code(), Some(2), "{}", stderr(&several));
    let none = run(&test, &["note", "ffff", "which?"]);
    assert_eq!(none.status.code(), Some(3), "{}", stderr(&none));
}

on_engines!(exported_letters_are_imported_unchanged);
async fn exported_letters_are_imported_unchanged(backend: Backend) {
    let (source, target) =
        (record_letters(backend).await, TestDatabase::migrated(backend, GatewayShape::Live).await);
    let exported = run(&source, &["export", "--company", "15"]);
    assert_eq!(exported.status.code(), Some(0), "{}", stderr(&exported));
    let actions = "SELECT action FROM hostmatch_dead_letter_actions";
    assert_eq!(source.strings(actions).await, ["export"], "the export must be recorded");
    assert_eq!(source.count("hostmatch_dead_letter_action_letters").await, 3);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("letters.ndjson");
    std::fs::write(&file, &exported.stdout).unwrap();
    let file = file.to_str().unwrap();
    for (imported, known) in [(3, 0), (0, 3)] {
        let reported = json(&run(&target, &["import", file, "--output", "json"]));
        assert_eq!(
            (&reported["imported"], &reported["known"]),
            (&imported.into(), &known.into()),
            "{backend:?}"
        );
    }
    // The letters get new ids in the target, and the history of the source is not exported.
    let expected: Vec<DeadLetter> =
        letters().into_iter().step_by(2).zip(1..).map(|(it, id)| DeadLetter { id, ..it.letter }).collect();
    let mut imported_letters =
        dead_letters(&target.db, &Scope::All, &DeadLetterFilter::default(), 9).await.unwrap();
    imported_letters.reverse();
    assert_eq!(imported_letters, expected);
    // An import does not undo later decisions or later dead letters.
    target.run(&["UPDATE hostmatch_dead_letters SET state = 'discarded', closed_ms = 9000, last_failed_ms = 1 WHERE id = 1"]).await;
    target
        .run(&["UPDATE hostmatch_dead_letters SET last_failed_ms = 9000, error = 'later' WHERE id = 2"])
        .await;
    assert_eq!(run(&target, &["import", file]).status.code(), Some(0));
    let states = "SELECT state FROM hostmatch_dead_letters ORDER BY id";
    assert_eq!(target.strings(states).await, ["discarded", "open", "open"], "{backend:?}");
    assert_eq!(target.column("error", "hostmatch_dead_letters WHERE id = 2").await, ["later"]);
    std::fs::write(file, [&exported.stdout[..], b"{\"jane\": 1}\n"].concat()).unwrap();
    let refused = run(&source, &["import", file]);
    assert_eq!(refused.status.code(), Some(1));
    let text = stderr(&refused);
    assert!(
        text.contains("line 4") && text.contains("nothing was imported") && !text.contains("jane"),
        "{text}"
    );
}

on_engines!(any_number_of_letters_is_closed_by_one_action);
async fn any_number_of_letters_is_closed_by_one_action(backend: Backend) {
    let test = record_letters(backend).await;
    let action = NewLetterAction { at_ms: 1, ..NewLetterAction::new(LetterAction::Discard, "cli:me@here") };
    let ids: Vec<i64> = (1..=2_500).collect();
    let result = perform_letter_action(&test.db, &Scope::All, &ids, &action).await.unwrap();
    assert_eq!((result.done.len(), result.refused.len()), (6, 2_494), "{backend:?}");
    assert_eq!(test.count("hostmatch_dead_letter_actions").await, 1);
    assert_eq!(test.count("hostmatch_dead_letter_action_letters").await, 6);
}

on_engines!(closed_letters_are_purged_after_their_retention_and_open_ones_never);
async fn closed_letters_are_purged_after_their_retention_and_open_ones_never(backend: Backend) {
    let test = record_letters(backend).await;
    let action =
        |at_ms| NewLetterAction { at_ms, ..NewLetterAction::new(LetterAction::Discard, "cli:me@here") };
    perform_letter_action(&test.db, &Scope::All, &[1, 2], &action(1_000)).await.unwrap();
    perform_letter_action(&test.db, &Scope::All, &[3], &action(2_000)).await.unwrap();
    let plan = NewReplay {
        chosen: "{}".into(),
        made_by: "cli:me@here".into(),
        created_ms: 1_000,
        expires_ms: 2_000,
        items: vec![NewItem {
            letter: 4,
            seen_ms: 1,
            digest: "d".into(),
            lane: None,
            predicted: "assigned".into(),
            predicted_reason: None,
            strategy: None,
        }],
    };
    let old = insert_replay(&test.db, &plan).await.unwrap();
    let live = insert_replay(&test.db, &plan).await.unwrap();
    let new = insert_replay(&test.db, &NewReplay { created_ms: 2_000, ..plan }).await.unwrap();
    test.run(&[format!("UPDATE hostmatch_replays SET state = 'paused' WHERE id = {live}")]).await;

    assert_eq!(purge_closed_letters(&test.db, 2_000).await.unwrap(), 2, "{backend:?}");
    assert_eq!(
        dead_letter_ids(&test.db, &Scope::All, &DeadLetterFilter::default()).await.unwrap(),
        [3, 4, 5, 6]
    );
    assert_eq!(purge_closed_letters(&test.db, i64::MAX).await.unwrap(), 1, "open letters must not be purged");
    assert_eq!(purge_replays(&test.db, 2_000).await.unwrap(), 1);
    let remaining = test.strings("SELECT state FROM hostmatch_replays ORDER BY id").await;
    assert_eq!(remaining, ["paused", "planned"], "only replay {old} may be purged, not {live} and {new}");
    assert_eq!(test.count("hostmatch_replay_items").await, 2);
    assert_eq!(test.count("hostmatch_dead_letter_action_letters").await, 1);

    // The history of an open letter is kept, and so is a replay that still waits for a result.
    let old = action(1_500);
    perform_letter_action(&test.db, &Scope::All, &[5], &old).await.unwrap();
    perform_letter_action(
        &test.db,
        &Scope::All,
        &[5],
        &NewLetterAction { action: LetterAction::Restore, ..old.clone() },
    )
    .await
    .unwrap();
    let actions = "SELECT COUNT(*) FROM hostmatch_dead_letter_actions WHERE at_ms = 1500";
    let replays = "SELECT COUNT(*) FROM hostmatch_replays";
    test.run(&[
        "UPDATE hostmatch_replays SET state = 'cancelled', created_ms = 1".to_owned(),
        format!("UPDATE hostmatch_replay_items SET state = 'sent', outstanding = 4 WHERE replay_id = {live}"),
        format!("UPDATE hostmatch_replay_items SET state = 'ended', sent_ms = 1 WHERE replay_id = {new}"),
    ])
    .await;
    assert_eq!(purge_replays(&test.db, i64::MAX).await.unwrap(), 0, "{backend:?}");
    assert_eq!((test.number(actions).await, test.number(replays).await), (2, 2));
    test.run(&[
        "UPDATE hostmatch_dead_letters SET state = 'resolved'",
        "UPDATE hostmatch_replay_items SET outstanding = NULL",
    ])
    .await;
    assert_eq!(purge_replays(&test.db, i64::MAX).await.unwrap(), 2, "{backend:?}");
    assert_eq!((test.number(actions).await, test.number(replays).await), (0, 0));
    assert_eq!(test.count("hostmatch_replay_items").await, 0);
}
