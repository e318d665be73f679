//! Recording dead letters, once, and finding them again.

use hostmatch::store::{DeadLetterFilter, NewDeadLetter, dead_letter, dead_letters, insert_dead_letters};

use crate::support::{GatewayShape, TestDatabase, backends};

#[tokio::test]
async fn one_that_dies_again_shows_its_newest_attempt_and_is_open_again() {
    for backend in backends() {
        let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
        let first = letter("a", Some("ev-1"), "appointment_not_found");
        let again = NewDeadLetter {
            reason: "tenant_mismatch".into(),
            attempts: 1,
            last_failed_ms: first.last_failed_ms + 1,
            ..first.clone()
        };
        assert_eq!(insert_dead_letters(&test.db, std::slice::from_ref(&first)).await.unwrap(), 1);
        test.run(&["UPDATE dead_letters SET state = 'discarded'"]).await;
        assert_eq!(insert_dead_letters(&test.db, std::slice::from_ref(&first)).await.unwrap(), 0);
        assert_eq!(test.texts("SELECT state FROM dead_letters").await, ["discarded"], "it is the same death");
        assert_eq!(insert_dead_letters(&test.db, &[again]).await.unwrap(), 0);
        // An older one that comes late changes nothing.
        assert_eq!(insert_dead_letters(&test.db, &[first]).await.unwrap(), 0);
        let all = dead_letters(&test.db, &DeadLetterFilter::default(), 10).await.unwrap();
        let shown = (all[0].state.as_str(), all[0].letter.reason.as_str(), all[0].letter.attempts);
        assert_eq!((all.len(), shown), (1, ("open", "tenant_mismatch", 1)), "{test:?}");
    }
}

fn letter(dead_id: &str, event_id: Option<&str>, reason: &str) -> NewDeadLetter {
    NewDeadLetter {
        dead_id: dead_id.into(),
        event_id: event_id.map(str::to_owned),
        event_type: Some("booking.created".into()),
        shape: Some("native".into()),
        booking_ref: Some("Bk-aaa".into()),
        company_id: Some(7),
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
        replayed: None,
    }
}

#[tokio::test]
async fn dead_letters_are_recorded_once_and_listed() {
    for backend in backends() {
        let test = TestDatabase::migrated(backend, GatewayShape::Roadmap).await;
        let mut long = letter("c", Some("ev-3"), "malformed");
        long.event_type = Some("ä".repeat(300));
        long.company_id = None;
        let letters =
            [letter("b", Some("ev-2"), "appointment_not_found"), letter("a", None, "malformed"), long];
        test.run(&[
            "INSERT INTO booking_events (event_id, event_type, shape, outcome, received_ms, decided_ms) \
                    VALUES ('ev-2', 'booking.created', 'native', 'assigned', 1, 2)",
        ])
        .await;
        assert_eq!(insert_dead_letters(&test.db, &letters).await.unwrap(), 3, "{test:?}");
        assert_eq!(insert_dead_letters(&test.db, &letters).await.unwrap(), 0, "{test:?}");

        let all = dead_letters(&test.db, &DeadLetterFilter::default(), 10).await.unwrap();
        let ids: Vec<_> = all.iter().map(|row| row.letter.dead_id.as_str()).collect();
        assert_eq!(ids, ["c", "b", "a"], "newest first");
        assert_eq!(all[0].letter.event_type.as_ref().map(|text| text.chars().count()), Some(64));
        let row = dead_letter(&test.db, all[1].id).await.unwrap().unwrap();
        assert_eq!(row, all[1]);
        assert_eq!((row.state.as_str(), row.letter.body), ("open", letters[0].body.clone()));
        assert_eq!(row.letter.error, "no appointment yet\u{fffd}");
        assert!(dead_letter(&test.db, all[0].id + 1).await.unwrap().is_none());

        let one = DeadLetterFilter { reason: Some("malformed".into()), ..DeadLetterFilter::default() };
        assert_eq!(dead_letters(&test.db, &one, 10).await.unwrap().len(), 2);
        let page = DeadLetterFilter { before_id: Some(all[0].id), company_id: Some(7), ..one };
        let page = dead_letters(&test.db, &page, 10).await.unwrap();
        assert_eq!(page.iter().map(|row| row.id).collect::<Vec<_>>(), [all[2].id]);
        let closed = DeadLetterFilter { state: Some("resolved".into()), ..DeadLetterFilter::default() };
        assert!(dead_letters(&test.db, &closed, 10).await.unwrap().is_empty());

        // What was decided on an event before its dead letter arrived stays.
        let events = "SELECT outcome FROM booking_events ORDER BY event_id";
        assert_eq!(test.texts(events).await, ["assigned", "dead_letter"], "{test:?}");
    }
}
