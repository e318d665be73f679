//! Dead letters are recorded once and can be found.

use hostmatch::event::CompanyId;
use hostmatch::store::{
    DeadLetter, DeadLetterFilter, LetterAction, LetterState, NewDeadLetter, NewItem, NewLetterAction,
    NewReplay, ReplayStart, ReplayTerms, Replayed, Scope, begin_replay, claim, dead_letter, dead_letters,
    insert_dead_letters, insert_replay, replay, replays,
};

use crate::support::{Backend, GatewayShape, TestDatabase};

on_engines!(a_letter_that_fails_again_shows_its_newest_attempt_and_is_open);
async fn a_letter_that_fails_again_shows_its_newest_attempt_and_is_open(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    let first = letter("a", Some("ev-1"), "appointment_not_found");
    let mut again = failed_at(&first, first.letter.last_failed_ms + 1);
    (again.letter.reason, again.letter.attempts) = ("tenant_mismatch".into(), 1);
    assert_eq!(insert_dead_letters(&test.db, std::slice::from_ref(&first)).await.unwrap(), 1);
    test.run(&["UPDATE hostmatch_dead_letters SET state = 'discarded'"]).await;
    assert_eq!(insert_dead_letters(&test.db, std::slice::from_ref(&first)).await.unwrap(), 0);
    assert_eq!(
        test.column("state", "hostmatch_dead_letters").await,
        ["discarded"],
        "the same failure is not recorded again"
    );
    assert_eq!(insert_dead_letters(&test.db, &[again]).await.unwrap(), 0);
    // An older attempt that arrives late does not change the letter.
    assert_eq!(insert_dead_letters(&test.db, &[first]).await.unwrap(), 0);
    let all = dead_letters(&test.db, &Scope::All, &DeadLetterFilter::default(), 10).await.unwrap();
    let shown = (all[0].state.as_ref(), all[0].reason.as_str(), all[0].attempts);
    assert_eq!((all.len(), shown), (1, ("open", "tenant_mismatch", 1)), "{test:?}");
}

/// Returns a letter whose copy is in flight, and the copy's tag.
async fn create_letter_in_flight(test: &TestDatabase) -> (NewDeadLetter, Replayed) {
    let first = letter("a", Some("ev-1"), "appointment_not_found");
    insert_dead_letters(&test.db, std::slice::from_ref(&first)).await.unwrap();
    let id = test.number("SELECT id FROM hostmatch_dead_letters").await;
    let plan = NewReplay {
        chosen: "{}".into(),
        made_by: "cli:me@here".into(),
        created_ms: 1,
        expires_ms: i64::MAX,
        items: vec![NewItem {
            letter: id,
            seen_ms: first.letter.last_failed_ms,
            digest: "d".into(),
            lane: None,
            predicted: "assigned".into(),
            predicted_reason: None,
            strategy: None,
        }],
    };
    let replay = insert_replay(&test.db, &plan).await.unwrap();
    let act = NewLetterAction { at_ms: 1, ..NewLetterAction::new(LetterAction::Replay, "cli:me@here") };
    let terms = ReplayTerms { rate: "1/s".into(), canary: 0, stop_percent: 0, skip_failing: false };
    assert!(begin_replay(&test.db, replay, ("l", 9), &ReplayStart::First(terms), &act).await.unwrap());
    assert_eq!(claim(&test.db, replay, "l", &[(id, first.letter.last_failed_ms)], 1).await.unwrap(), [id]);
    (first, Replayed { replay, letter: id, digest: "d".into() })
}

on_engines!(a_failed_copy_ends_its_replay_whatever_is_in_the_same_batch);
async fn a_failed_copy_ends_its_replay_whatever_is_in_the_same_batch(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    let (first, tag) = create_letter_in_flight(&test).await;
    let other = failed_at(&first, first.letter.last_failed_ms + 1);
    // Another copy of the same message becomes a dead letter while this one is still in flight.
    insert_dead_letters(&test.db, std::slice::from_ref(&other)).await.unwrap();
    assert_eq!(test.column("state", "hostmatch_dead_letters").await, ["replaying"], "{backend:?}");
    let copy = NewDeadLetter { replayed: Some(tag), ..first.clone() };
    for batch in [[other.clone(), copy.clone()], [copy, other]] {
        test.run(&[
            "UPDATE hostmatch_dead_letters SET state = 'replaying'",
            "UPDATE hostmatch_replay_items SET state = 'sent', result = NULL, outstanding = letter_id",
        ])
        .await;
        assert_eq!(insert_dead_letters(&test.db, &batch).await.unwrap(), 0);
        assert_eq!(test.column("state", "hostmatch_dead_letters").await, ["open"], "{backend:?}");
        assert_eq!(test.strings("SELECT result FROM hostmatch_replay_items").await, ["failed"]);
    }
}

on_engines!(a_replay_is_visible_only_with_access_to_all_its_letters);
async fn a_replay_is_visible_only_with_access_to_all_its_letters(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    let (_, tag) = create_letter_in_flight(&test).await;
    let company = |id| Scope::of(Some(CompanyId(id)));
    let nobodys = "UPDATE hostmatch_dead_letters SET company_id = NULL";
    for (before, scope, is_seen) in [
        (None, Scope::All, true),
        (None, company(7), true),
        (None, company(8), false),
        (Some(nobodys), company(7), false),
    ] {
        test.run(before.as_slice()).await;
        let found = replay(&test.db, &scope, tag.replay).await.unwrap();
        assert_eq!(found.is_some(), is_seen, "{backend:?} {scope:?}");
        let listed = replays(&test.db, &scope, None, 9).await.unwrap();
        assert_eq!(listed.len(), usize::from(is_seen), "{backend:?} {scope:?}");
    }
}

on_engines!(a_copy_whose_letter_was_deleted_is_recorded_as_a_new_letter);
async fn a_copy_whose_letter_was_deleted_is_recorded_as_a_new_letter(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    let (first, tag) = create_letter_in_flight(&test).await;
    test.run(&["DELETE FROM hostmatch_dead_letters"]).await;
    let copy = NewDeadLetter { replayed: Some(tag), ..first };
    assert_eq!(insert_dead_letters(&test.db, &[copy]).await.unwrap(), 1, "{backend:?}");
    assert_eq!(test.column("state", "hostmatch_dead_letters").await, ["open"]);
}

on_engines!(an_attempt_does_not_reopen_a_letter_that_was_closed_after_it);
async fn an_attempt_does_not_reopen_a_letter_that_was_closed_after_it(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    let first = letter("a", Some("ev-1"), "appointment_not_found");
    insert_dead_letters(&test.db, std::slice::from_ref(&first)).await.unwrap();
    let closed = first.letter.last_failed_ms + 10;
    for state in ["resolved", "skipped", "discarded"] {
        let close = format!(
            "UPDATE hostmatch_dead_letters SET state = '{state}', closed_ms = {closed}, last_failed_ms = 1"
        );
        test.run(&[close]).await;
        for (at, wanted) in [(closed - 1, state), (closed + 1, "open")] {
            let late = failed_at(&first, at);
            insert_dead_letters(&test.db, &[late]).await.unwrap();
            assert_eq!(test.column("state", "hostmatch_dead_letters").await, [wanted], "{backend:?}");
        }
    }
}

/// Returns the same letter with this time of failure.
fn failed_at(letter: &NewDeadLetter, last_failed_ms: i64) -> NewDeadLetter {
    let failed = DeadLetter { last_failed_ms, ..letter.letter.clone() };
    NewDeadLetter { letter: failed, ..letter.clone() }
}

fn letter(dead_id: &str, event_id: Option<&str>, reason: &str) -> NewDeadLetter {
    NewDeadLetter {
        letter: DeadLetter {
            id: 0,
            state: LetterState::Open.into(),
            replays: 0,
            closed_ms: None,
            dead_id: dead_id.into(),
            event_id: event_id.map(str::to_owned),
            event_type: Some("booking.created".into()),
            booking_ref: Some("Bk-aaa".into()),
            company_id: Some(CompanyId(7)),
            host_id: None,
            starts_ms: None,
            reason: reason.into(),
            error: "no appointment yet\0".into(),
            fingerprint: format!("{reason}:x"),
            attempts: 6,
            history: "[]".into(),
            routing_key: "booking.created".into(),
            headers: "{}".into(),
            body: b"\x00\xff{not json".to_vec(),
            first_seen_ms: 1_760_000_000_000,
            last_failed_ms: 1_760_000_100_000,
            recorded_ms: 1_760_000_100_005,
        },
        shape: Some("native".into()),
        publisher: Some("gateway".into()),
        replayed: None,
    }
}

on_engines!(dead_letters_are_recorded_once_and_listed);
async fn dead_letters_are_recorded_once_and_listed(backend: Backend) {
    let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
    let mut long = letter("c", Some("ev-3"), "malformed");
    long.letter.event_type = Some("ä".repeat(300));
    long.letter.company_id = None;
    let letters = [letter("b", Some("ev-2"), "appointment_not_found"), letter("a", None, "malformed"), long];
    test.run(&[
        "INSERT INTO hostmatch_events (event_id, event_type, shape, outcome, received_ms, decided_ms) \
                VALUES ('ev-2', 'booking.created', 'native', 'assigned', 1, 2)",
    ])
    .await;
    assert_eq!(insert_dead_letters(&test.db, &letters).await.unwrap(), 3, "{test:?}");
    assert_eq!(insert_dead_letters(&test.db, &letters).await.unwrap(), 0, "{test:?}");

    let all = dead_letters(&test.db, &Scope::All, &DeadLetterFilter::default(), 10).await.unwrap();
    let ids: Vec<_> = all.iter().map(|row| row.dead_id.as_str()).collect();
    assert_eq!(ids, ["c", "b", "a"], "newest first");
    assert_eq!(all[0].event_type.as_ref().map(|text| text.chars().count()), Some(64));
    let row = dead_letter(&test.db, &Scope::All, all[1].id).await.unwrap().unwrap();
    assert_eq!(row, all[1]);
    assert_eq!((row.state.as_ref(), row.body), ("open", letters[0].letter.body.clone()));
    assert_eq!(row.error, "no appointment yet\u{fffd}");
    assert!(dead_letter(&test.db, &Scope::All, all[0].id + 1).await.unwrap().is_none());

    let one = DeadLetterFilter { reason: Some("malformed".into()), ..DeadLetterFilter::default() };
    assert_eq!(dead_letters(&test.db, &Scope::All, &one, 10).await.unwrap().len(), 2);
    let page = DeadLetterFilter { before_id: Some(all[0].id), ..one };
    let page = dead_letters(&test.db, &Scope::of(Some(CompanyId(7))), &page, 10).await.unwrap();
    assert_eq!(page.iter().map(|row| row.id).collect::<Vec<_>>(), [all[2].id]);
    let closed = DeadLetterFilter { state: Some(LetterState::Resolved), ..DeadLetterFilter::default() };
    assert!(dead_letters(&test.db, &Scope::All, &closed, 10).await.unwrap().is_empty());

    // An event that was decided before its dead letter arrived keeps its outcome.
    let events = "SELECT outcome FROM hostmatch_events ORDER BY event_id";
    assert_eq!(test.strings(events).await, ["assigned", "dead_letter"], "{test:?}");
}
