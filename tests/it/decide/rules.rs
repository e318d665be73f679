//! The matching rules, one by one.

use serde_json::json;

use crate::support::{Backend, GatewayShape, World, event, host, shapes};

/// Runs a scenario on every engine and every shape of gateway.
macro_rules! everywhere {
    ($name:ident, $scenario:expr) => {
        on_engines!($name);
        async fn $name(backend: Backend) {
            for shape in shapes() {
                let world = World::new(backend, shape).await;
                world.company(15).await;
                world.staff(1, 15, "Frida Spitz", "frida@salon.example").await;
                world.staff(2, 15, "Boris Kamm", "boris@salon.example").await;
                world.appointment(1, 15, "ABC123").await;
                world.appointment(2, 15, "DEF456").await;
                let scenario = $scenario;
                scenario(world).await;
            }
        }
    };
}

fn frida() -> serde_json::Value {
    host(1_420_209, "Frida Spitz", "frida@salon.example")
}

// An e-mail match resolves the host and creates the mapping.
everywhere!(an_email_match_assigns_and_creates_a_mapping, |world: World| async move {
    let body = json!({
        "event": "appointment.created", "call_id": "test_call_123",
        "calcom_booking": { "id": "ABC123", "hosts": frida() }
    });
    assert_eq!(world.outcome_of(body).await, "assigned");
    assert_eq!(world.assigned(1).await, "1/1420209");
    let mapping =
        world.rows("calcom_host_mappings", &["company_id", "staff_id", "mapping_source", "confidence_score"]);
    assert_eq!(mapping.await, ["15|1|auto_email|95"]);
    let audit = world.rows("calcom_host_mapping_audits", &["action", "actor", "staff_id", "reason"]).await;
    assert_eq!(audit, ["auto_matched|worker|1|Auto-matched via auto_email with 95% confidence"]);
    // The next booking of this host no longer needs the e-mail.
    assert_eq!(
        world.outcome_of(event("e2", "DEF456", 1, host(1_420_209, "Someone", "new@else.example"))).await,
        "assigned"
    );
    assert_eq!(world.assigned(2).await, "1/1420209");
    assert_eq!(
        world.rows("hostmatch_assignments", &["appointment_id", "strategy"]).await,
        ["1|email", "2|existing"]
    );
    assert_eq!(world.count("calcom_host_mapping_audits").await, 1);
});

everywhere!(a_name_alone_is_a_suggestion_and_nothing_is_assigned, |world: World| async move {
    let outcome =
        world.outcome_of(event("e1", "ABC123", 1, host(7, "  boris   KAMM ", "b@else.example"))).await;
    assert_eq!(outcome, "needs_review");
    assert_eq!(world.assigned(1).await, "-/7");
    let inbox = world.rows("hostmatch_inbox", &["company_id", "host_id", "kind", "state"]).await;
    assert_eq!(inbox, ["15|7|below_threshold|open"]);
    let suggestions = world.rows("hostmatch_inbox", &["suggestions"]).await.remove(0);
    assert!(suggestions.contains(r#""strategy":"name","confidence":75"#), "{suggestions}");
    assert_eq!(world.count("calcom_host_mappings").await, 0);
});

everywhere!(two_members_of_staff_with_the_same_name_are_ambiguous, |world: World| async move {
    world.staff(3, 15, "Boris Kamm", "kamm@salon.example").await;
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, host(7, "Boris Kamm", ""))).await, "needs_review");
    assert_eq!(world.rows("hostmatch_inbox", &["kind"]).await, ["ambiguous"]);
});

everywhere!(an_unknown_host_waits_and_is_assigned_when_it_becomes_known, |world: World| async move {
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, host(9, "Nobody Here", ""))).await, "unmatched");
    assert_eq!(world.assigned(1).await, "-/9");
    // The same host now has the address of a member of staff.
    assert_eq!(
        world.outcome_of(event("e2", "DEF456", 2, host(9, "Nobody Here", "BORIS@salon.example "))).await,
        "assigned"
    );
    assert_eq!(world.assigned(2).await, "2/9");
    assert_eq!(world.assigned(1).await, "2/9", "the waiting appointment is decided again");
    assert_eq!(world.rows("hostmatch_inbox", &["state"]).await, ["resolved"]);
});

everywhere!(without_a_host_nothing_is_assigned, |world: World| async move {
    for (id, hosts) in [
        ("e1", json!([])),
        ("e2", json!(null)),
        ("e3", json!([{ "id": "unknown", "name": "unknown", "email": "unknown", "username": "unknown" }])),
    ] {
        assert_eq!(world.outcome_of(event(id, "ABC123", 1, hosts)).await, "no_host");
    }
    assert_eq!(world.assigned(1).await, "-/-");
    assert_eq!(world.count("hostmatch_inbox").await, 0);
});

everywhere!(
    an_older_event_never_overwrites_a_newer_one_but_still_creates_a_mapping,
    |world: World| async move {
        assert_eq!(world.outcome_of(event("new", "ABC123", 20, frida())).await, "assigned");
        let boris = host(8, "Boris", "boris@salon.example");
        assert_eq!(world.outcome_of(event("old", "ABC123", 10, boris)).await, "stale");
        assert_eq!(world.assigned(1).await, "1/1420209");
        assert_eq!(
            world.count("calcom_host_mappings").await,
            2,
            "the mapping of the older event's host is created"
        );
    }
);

everywhere!(at_equal_times_an_event_with_its_own_time_wins_then_the_larger_id, |world: World| async move {
    let boris = || host(8, "Boris", "boris@salon.example");
    assert_eq!(world.outcome_of(event("b", "ABC123", 1, frida())).await, "assigned");
    let mut without_time = event("z", "ABC123", 1, boris());
    without_time["calcom_booking"].as_object_mut().unwrap().remove("updatedAt");
    without_time["first_seen"] = json!(1_772_323_260_000_i64); // the same minute
    assert_eq!(world.outcome_of(without_time).await, "stale");
    assert_eq!(world.outcome_of(event("a", "ABC123", 1, boris())).await, "stale");
    assert_eq!(world.outcome_of(event("c", "ABC123", 1, boris())).await, "assigned");
    assert_eq!(world.assigned(1).await, "2/8");
});

everywhere!(another_host_changes_or_withdraws_only_what_we_assigned, |world: World| async move {
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
    assert_eq!(
        world.outcome_of(event("e2", "ABC123", 2, host(8, "Boris", "boris@salon.example"))).await,
        "assigned"
    );
    assert_eq!(world.assigned(1).await, "2/8");
    assert_eq!(world.outcome_of(event("e3", "ABC123", 3, host(9, "Nobody", ""))).await, "unmatched");
    assert_eq!(world.assigned(1).await, "-/9", "the earlier match is certainly wrong");
    // Without an id: matched by address for this appointment only.
    let nameless = json!([{ "email": "boris@salon.example" }]);
    assert_eq!(world.outcome_of(event("e4", "ABC123", 4, nameless)).await, "assigned");
    assert_eq!(world.assigned(1).await, "2/-");
});

everywhere!(a_decision_by_another_program_is_kept, |world: World| async move {
    world.set_staff_externally(1, Some(2)).await;
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "kept");
    assert_eq!(world.assigned(1).await, "2/1420209");
    assert_eq!(world.count("calcom_host_mappings").await, 1, "the mapping is created anyway");
    assert_eq!(world.outcome_of(event("e2", "ABC123", 2, host(9, "Nobody", ""))).await, "kept");
    // An assignment of ours that another program cleared stays cleared.
    assert_eq!(world.outcome_of(event("e3", "DEF456", 1, frida())).await, "assigned");
    world.set_staff_externally(2, None).await;
    assert_eq!(world.outcome_of(event("e4", "DEF456", 2, frida())).await, "kept");
    assert_eq!(world.assigned(2).await, "-/1420209");
    // The appointment already has this person: unchanged, and still not ours.
    world.set_staff_externally(2, Some(1)).await;
    world.run("UPDATE hostmatch_assignments SET staff_id = NULL").await;
    assert_eq!(world.outcome_of(event("e5", "DEF456", 3, frida())).await, "unchanged");
    assert_eq!(
        world.outcome_of(event("e6", "DEF456", 4, host(8, "Boris", "boris@salon.example"))).await,
        "kept"
    );
});

everywhere!(tenants_never_mix, |world: World| async move {
    world.company(16).await;
    world.staff(4, 16, "Frida Spitz", "frida@salon.example").await;
    world.appointment(3, 16, "GHI789").await;
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
    assert_eq!(world.outcome_of(event("e2", "GHI789", 1, frida())).await, "assigned");
    assert_eq!(world.assigned(1).await, "1/1420209");
    assert_eq!(
        world.assigned(3).await,
        "4/1420209",
        "the same host and address in another company is another person"
    );
    let mut foreign = event("e3", "ABC123", 2, frida());
    foreign["company_id"] = json!(16);
    assert_eq!(world.outcome_of(foreign).await, "dead: tenant_mismatch");
    // No strategy ever finds a member of staff of another company.
    assert_eq!(
        world.outcome_of(event("e4", "GHI789", 2, host(8, "Boris Kamm", "boris@salon.example"))).await,
        "unmatched"
    );
});

everywhere!(a_mapping_is_valid_only_while_its_member_of_staff_is_active, |world: World| async move {
    world.staff(3, 15, "Frida Spitz", "frida@salon.example").await;
    world.set_staff_active(3, false).await;
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
    world.set_staff_active(1, false).await;
    world.set_staff_active(3, true).await;
    assert_eq!(world.outcome_of(event("e2", "DEF456", 2, frida())).await, "assigned");
    assert_eq!(world.assigned(2).await, "3/1420209");
    let columns = ["calcom_host_id", "staff_id", "is_active"];
    let mappings = world.rows("calcom_host_mappings", &columns).await;
    assert_eq!(mappings.len(), 2, "{mappings:?}");
    let audits = world.rows("calcom_host_mapping_audits", &["staff_id", "action"]).await;
    assert_eq!(audits, ["1|auto_matched", "1|updated", "3|auto_matched"]);
    // When the host changes back, the worker's own mapping is reactivated, not created again.
    world.set_staff_active(1, true).await;
    world.set_staff_active(3, false).await;
    assert_eq!(world.outcome_of(event("e3", "DEF456", 3, frida())).await, "assigned");
    assert_eq!(world.assigned(2).await, "1/1420209");
    assert_eq!(world.count("calcom_host_mappings").await, 2);
    assert_eq!(world.count("calcom_host_mapping_audits").await, 5);
});

everywhere!(a_mapping_that_a_person_switched_off_stays_off, |world: World| async move {
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
    world.deactivate_mappings().await;
    world
        .run(
            "INSERT INTO calcom_host_mapping_audits (mapping_id, action, actor) \
             SELECT id, 'deleted', 'user:7' FROM calcom_host_mappings",
        )
        .await;
    assert_eq!(world.outcome_of(event("e2", "DEF456", 2, frida())).await, "needs_review");
    assert_eq!(world.assigned(2).await, "-/1420209");
    assert_eq!(world.rows("hostmatch_inbox", &["kind"]).await, ["switched_off"]);
});

everywhere!(
    a_mapping_switched_off_without_an_audit_row_counts_as_switched_off_by_a_person,
    |world: World| async move {
        assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
        world.deactivate_mappings().await;
        assert_eq!(world.outcome_of(event("e2", "DEF456", 2, frida())).await, "needs_review");
        assert_eq!(world.rows("hostmatch_inbox", &["kind"]).await, ["switched_off"]);
    }
);

everywhere!(
    a_mapping_created_again_after_its_row_was_deleted_gets_another_audit_row,
    |world: World| async move {
        assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
        world.run("DELETE FROM calcom_host_mappings").await;
        assert_eq!(world.outcome_of(event("e2", "DEF456", 2, frida())).await, "assigned");
        assert_eq!(world.count("calcom_host_mappings").await, 1);
        assert_eq!(world.count("calcom_host_mapping_audits").await, 2);
    }
);

everywhere!(a_usable_database_passes_the_probe_which_leaves_no_rows, |world: World| async move {
    let before = world.all_decided_rows().await;
    world.processor.probe().await.unwrap();
    assert_eq!(world.all_decided_rows().await, before);
    assert_eq!(world.count("hostmatch_host_locks").await, 0);
    world.run("DROP TABLE hostmatch_inbox").await;
    world.processor.probe().await.unwrap_err();
});

everywhere!(an_event_waits_for_an_appointment_that_does_not_exist_yet, |world: World| async move {
    assert_eq!(world.outcome_of(event("e1", "LATER", 1, frida())).await, "retry: appointment_not_found");
    assert_eq!(world.outcome_of(event("e2", "LATER", 1, json!([]))).await, "no_host", "nothing to wait for");
    let by_id = json!({ "event": "appointment.created", "appointment_id": 99,
        "calcom_booking": { "uid": "ABC123", "hosts": frida() } });
    assert_eq!(
        world.outcome_of(by_id).await,
        "retry: appointment_not_found",
        "an event with an id is not found by its reference"
    );
    world.appointment(3, 15, "LATER").await;
    assert_eq!(world.outcome_of(event("e1", "LATER", 1, frida())).await, "assigned");
});

everywhere!(references_are_compared_byte_for_byte, |world: World| async move {
    world.appointment(3, 15, "abc123").await;
    world.appointment(4, 15, "123abc").await;
    assert_eq!(world.outcome_of(event("e1", "abc123", 1, frida())).await, "assigned");
    assert_eq!(world.assigned(3).await, "1/1420209");
    assert_eq!(world.assigned(1).await, "-/-");
    let number = json!({ "event": "appointment.created", "calcom_booking": { "id": 123, "hosts": frida() } });
    assert_eq!(world.outcome_of(number).await, "retry: appointment_not_found");
});

everywhere!(several_appointments_of_one_booking_need_a_person, |world: World| async move {
    if world.test.shape == GatewayShape::Live {
        world.appointment(3, 15, "other").await;
        world.run("UPDATE appointments SET calcom_v2_booking_uid = 'ABC123' WHERE id = 3").await;
        assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "needs_review");
        assert_eq!(world.assigned(1).await, "-/-");
        // The numeric id is in a separate column.
        world.run("UPDATE appointments SET calcom_booking_id = 4711 WHERE id = 2").await;
        let number =
            json!({ "event": "appointment.created", "calcom_booking": { "id": 4711, "hosts": frida() } });
        assert_eq!(world.outcome_of(number).await, "assigned");
        assert_eq!(world.assigned(2).await, "1/1420209");
    }
});

everywhere!(a_rescheduled_booking_is_found_by_the_one_it_replaced, |world: World| async move {
    let mut moved = event("e1", "NEW-UID", 1, frida());
    moved["calcom_booking"]["rescheduledFromUid"] = json!("ABC123");
    // At first the gateway may be about to write a row of its own for the new booking.
    assert_eq!(world.outcome_of(moved.clone()).await, "retry: appointment_not_found");
    moved["attempt"] = json!(1);
    assert_eq!(world.outcome_of(moved).await, "assigned");
    assert_eq!(world.assigned(1).await, "1/1420209");
});

everywhere!(cancelled_bookings_never_touch_staff, |world: World| async move {
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
    let mut cancelled = event("e2", "ABC123", 2, host(9, "Nobody", ""));
    cancelled["calcom_booking"]["status"] = json!("cancelled");
    assert_eq!(world.outcome_of(cancelled).await, "recorded");
    assert_eq!(world.assigned(1).await, "1/1420209");
});

everywhere!(several_bookings_in_one_event_are_decided_independently, |world: World| async move {
    let body = json!({ "event": "appointment.created", "event_id": "e1", "calcom_booking": { "data": [
        { "uid": "ABC123", "hosts": frida() },
        { "uid": "LATER", "hosts": frida() },
        { "uid": "DEF456", "hosts": frida() },
    ] } });
    assert_eq!(world.outcome_of(body.clone()).await, "retry: appointment_not_found");
    assert_eq!(world.assigned(1).await, "1/1420209");
    assert_eq!(world.assigned(2).await, "1/1420209", "a missing appointment does not delay the others");
    world.appointment(3, 15, "LATER").await;
    assert_eq!(world.outcome_of(body).await, "assigned");
    assert_eq!(world.rows("hostmatch_events", &["event_id", "outcome"]).await, ["e1|assigned"]);
});

everywhere!(the_same_event_twice_leaves_the_same_rows, |world: World| async move {
    let events = [event("e1", "ABC123", 1, frida()), event("e2", "DEF456", 1, host(9, "Nobody", ""))];
    world.send(&events).await;
    let before = world.all_decided_rows().await;
    for batch in [&events[..], &events[..1], &events[1..]] {
        world.send(batch).await;
        assert_eq!(world.all_decided_rows().await, before);
    }
});

everywhere!(values_too_long_for_their_column_are_cut_and_the_columns_recorded, |world: World| async move {
    let long = "ß😀".repeat(400);
    assert_eq!(
        world.outcome_of(event("e1", "ABC123", 1, host(8, &long, "boris@salon.example"))).await,
        "assigned"
    );
    let metadata = world.rows("calcom_host_mappings", &["metadata"]).await.remove(0);
    assert!(metadata.contains("calcom_name"), "{metadata}");
    let nobody = host(9, &long, &format!("{}@else.example", "x".repeat(400)));
    assert_eq!(world.outcome_of(event(&"i".repeat(999), "DEF456", 1, nobody)).await, "unmatched");
});

everywhere!(updated_at_changes_only_when_the_appointment_changes, |world: World| async move {
    world.run("UPDATE appointments SET updated_at = '2020-01-01 00:00:00'").await;
    assert_eq!(world.outcome_of(event("e1", "ABC123", 1, frida())).await, "assigned");
    let touched = "SELECT COUNT(*) FROM appointments WHERE updated_at > '2021-01-01 00:00:00'";
    assert_eq!(world.test.number(touched).await, 1);
    world.run("UPDATE appointments SET updated_at = '2020-01-01 00:00:00'").await;
    assert_eq!(world.outcome_of(event("e2", "ABC123", 2, frida())).await, "unchanged");
    assert_eq!(world.test.number(touched).await, 0);
});
