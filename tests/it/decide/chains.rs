//! Chains of reschedules: each one gives the booking a new uid, and names only its predecessor.

use hostmatch::decide::DeliveryResult;
use hostmatch::event::BookingRef;
use hostmatch::matching::{Reason, Target};
use hostmatch::store::recorded_appointment;
use serde_json::{Value, json};

use super::invariants::salon;
use crate::support::{Backend, GatewayShape, World, event, host, shapes};

fn anna() -> Value {
    json!({ "id": 101, "name": "Anna B.", "email": "anna@salon.example" })
}

fn carla() -> Value {
    json!({ "id": 103, "name": "Carla", "email": "carla@salon.example" })
}

/// Returns Cal.com's webhook about one booking, at minute `at` of a day, on its second attempt.
fn webhook(trigger: &str, uid: &str, at: u32, organizer: &Value, more: &Value) -> Value {
    let mut payload = json!({ "uid": uid, "organizer": organizer });
    merge(&mut payload, more);
    let created = format!("2026-03-01T{:02}:{:02}:00.000Z", at / 60, at % 60);
    json!({ "triggerEvent": trigger, "createdAt": created, "attempt": 1, "payload": payload })
}

fn rescheduled(uid: &str, from: &str, at: u32, organizer: &Value) -> Value {
    webhook("BOOKING_RESCHEDULED", uid, at, organizer, &json!({ "rescheduleUid": from }))
}

/// Returns the gateway's event about a booking from the API, on its second attempt.
fn from_api(uid: &str, at: u32, hosts: &Value, more: &Value) -> Value {
    let mut body = event(&format!("{uid}-{at}"), uid, at, json!([hosts]));
    body["attempt"] = json!(1);
    merge(&mut body["calcom_booking"], more);
    body
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        into[key] = value.clone();
    }
}

on_engines!(each_booking_of_a_chain_leads_to_the_appointment);
async fn each_booking_of_a_chain_leads_to_the_appointment(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        assert_eq!(world.outcome_of(rescheduled("cB", "B11", 1, &anna())).await, "assigned");
        assert_eq!(world.outcome_of(rescheduled("cC", "cB", 2, &carla())).await, "assigned");
        assert_eq!(world.assigned(11).await, "13/103");
        let reassigned = webhook("BOOKING_REASSIGNED", "cC", 3, &anna(), &json!({}));
        assert_eq!(world.outcome_of(reassigned).await, "assigned");
        assert_eq!(world.assigned(11).await, "11/101");
        let moved = from_api("cD", 4, &carla(), &json!({ "rescheduledFromUid": "cC" }));
        assert_eq!(world.outcome_of(moved).await, "assigned");
        assert_eq!(world.assigned(11).await, "13/103");
        // An event of the chain's end needs no second attempt.
        let mut paid = webhook("BOOKING_PAID", "cD", 5, &anna(), &json!({}));
        paid["attempt"] = json!(0);
        assert_eq!(world.outcome_of(paid).await, "assigned");
        let references = world.rows("hostmatch_booking_references", &["reference", "replaced_by"]).await;
        assert_eq!(references, ["B11|cB", "cB|cC", "cC|cD", "cD|-"]);
        assert_eq!(
            world.outcome_of(rescheduled("cE", "CD", 6, &anna())).await,
            "retry: appointment_not_found"
        );

        // `match explain --uid` finds it, too.
        let schema = world.test.schema().await;
        let found =
            recorded_appointment(world.test.db.connection(), &schema, &BookingRef::new("cC").unwrap()).await;
        assert_eq!(found.unwrap().unwrap().appointment.0, 11);
        world.run("DELETE FROM appointments WHERE id = 11").await;
        assert_eq!(world.count("hostmatch_booking_references").await, 0);
    }
}

on_engines!(a_booking_without_a_uid_is_found_by_the_one_that_it_replaced);
async fn a_booking_without_a_uid_is_found_by_the_one_that_it_replaced(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        let mut moved = rescheduled("", "B11", 1, &anna());
        moved["payload"]["uid"] = json!(null);
        // No row can be written for it, so that the first attempt finds the old one.
        moved["attempt"] = json!(0);
        assert_eq!(world.outcome_of(moved.clone()).await, "assigned");
        assert_eq!(world.assigned(11).await, "11/101");
        let recorded = world.rows("hostmatch_events", &["booking_ref", "appointment_id"]).await;
        assert_eq!(recorded, ["B11|11"]);
        // It does not say what replaced B11: the times decide.
        let paid = |at| webhook("BOOKING_PAID", "B11", at, &carla(), &json!({}));
        assert_eq!(world.outcome_of(paid(0)).await, "stale");
        assert_eq!(world.outcome_of(paid(2)).await, "assigned");
        moved["payload"]["rescheduleUid"] = json!("unseen");
        assert_eq!(world.outcome_of(moved).await, "retry: appointment_not_found");
    }
}

on_engines!(a_whole_chain_may_arrive_in_one_batch);
async fn a_whole_chain_may_arrive_in_one_batch(backend: Backend) {
    let world = salon(backend, GatewayShape::Live).await;
    let chain = [
        rescheduled("cB", "B11", 1, &anna()),
        webhook("BOOKING_PAID", "cB", 2, &carla(), &json!({})),
        rescheduled("cC", "cB", 3, &anna()),
        webhook("BOOKING_PAID", "cC", 4, &carla(), &json!({})),
    ];
    let answers = world.send(&chain).await;
    assert!(answers.iter().all(|answer| matches!(answer, DeliveryResult::Done(_))), "{answers:?}");
    assert_eq!(world.assigned(11).await, "13/103");
}

on_engines!(the_first_booking_of_a_chain_and_numeric_ids_lead_to_the_appointment);
async fn the_first_booking_of_a_chain_and_numeric_ids_lead_to_the_appointment(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        let root = json!({ "rescheduleUid": "unseen", "rootBookingUid": "B11", "bookingId": 7 });
        let moved = webhook("BOOKING_RESCHEDULED", "cC", 1, &anna(), &root);
        assert_eq!(world.outcome_of(moved).await, "assigned");
        assert_eq!(world.outcome_of(webhook("BOOKING_PAID", "B11", 2, &carla(), &json!({}))).await, "stale");
        let by_id = json!({ "rescheduleId": 7, "bookingId": 8 });
        assert_eq!(
            world.outcome_of(webhook("BOOKING_REQUESTED", "cD", 3, &carla(), &by_id)).await,
            "assigned"
        );
        // The bookings in between are recorded as well, and are over.
        assert_eq!(
            world.outcome_of(webhook("BOOKING_PAID", "unseen", 4, &anna(), &json!({}))).await,
            "stale"
        );
        assert_eq!(world.assigned(11).await, "13/103");
        // The cancelled booking names the one that replaced it.
        let cancelled = json!({ "status": "cancelled", "rescheduledToUid": "cE" });
        assert_eq!(world.outcome_of(from_api("cD", 5, &carla(), &cancelled)).await, "recorded");
        assert_eq!(
            world.outcome_of(webhook("BOOKING_CREATED", "cE", 0, &anna(), &json!({}))).await,
            "assigned"
        );
        assert_eq!(world.assigned(11).await, "11/101");
    }
}

on_engines!(a_booking_that_was_replaced_is_over_whatever_the_times);
async fn a_booking_that_was_replaced_is_over_whatever_the_times(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        let moved = [
            rescheduled("eB", "B11", 2, &anna()),
            from_api("eB", 2, &anna(), &json!({ "rescheduledFromUid": "B11" })),
        ];
        for moved in moved {
            let paid = webhook("BOOKING_PAID", "B11", 3, &carla(), &json!({}));
            for stream in [[moved.clone(), paid.clone()], [paid, moved]] {
                for size in [1, 2] {
                    world.delete_decisions().await;
                    for batch in stream.chunks(size) {
                        world.send(batch).await;
                    }
                    assert_eq!(world.assigned(11).await, "11/101", "{:?}: {stream:?}", world.test);
                }
            }
        }
        let late = webhook("BOOKING_PAID", "B11", 9, &carla(), &json!({}));
        assert_eq!(world.outcome_of(late).await, "stale");
        let recorded = world.rows("hostmatch_events WHERE outcome = 'stale'", &["reason"]).await;
        assert_eq!(recorded, ["booking_replaced"]);
    }
}

on_engines!(a_guest_who_moves_to_another_time_does_not_end_the_booking_of_the_group);
async fn a_guest_who_moves_to_another_time_does_not_end_the_booking_of_the_group(backend: Backend) {
    for seat in ["seatUid", "seatReferenceUid", "attendeeSeatId"] {
        let world = salon(backend, GatewayShape::Live).await;
        let of_seat = json!({ "rescheduleUid": "B11", seat: "seat-1" });
        assert_eq!(
            world.outcome_of(webhook("BOOKING_RESCHEDULED", "eB", 2, &anna(), &of_seat)).await,
            "assigned"
        );
        let paid = webhook("BOOKING_PAID", "B11", 3, &carla(), &json!({ seat: "seat-2" }));
        assert_eq!(world.outcome_of(paid).await, "assigned", "{seat}");
        assert_eq!(world.assigned(11).await, "13/103");
    }
}

on_engines!(a_recorded_reference_never_crosses_companies);
async fn a_recorded_reference_never_crosses_companies(backend: Backend) {
    for shape in shapes() {
        let world = salon(backend, shape).await;
        let with_company = |mut event: Value, company: u32| {
            event["company_id"] = json!(company);
            event
        };
        let moved = |uid, from, at| from_api(uid, at, &anna(), &json!({ "rescheduledFromUid": from }));
        assert_eq!(world.outcome_of(moved("cB", "B11", 1)).await, "assigned");
        // Another company cannot use the reference, and its refused event leaves none.
        for uid in ["cB", "B11"] {
            let foreign = with_company(moved("cX", uid, 2), 2);
            assert_eq!(world.outcome_of(foreign).await, "dead: tenant_mismatch");
        }
        assert_eq!(
            world.outcome_of(from_api("cX", 3, &anna(), &json!({}))).await,
            "retry: appointment_not_found"
        );

        // It may claim the reference for an appointment of its own: the first company still finds its own.
        let mut claim = with_company(from_api("cB", 4, &carla(), &json!({ "rescheduledFromUid": "B11" })), 2);
        claim["appointment_id"] = json!(21);
        assert_eq!(world.outcome_of(claim).await, "assigned");
        let own = with_company(from_api("cB", 5, &carla(), &json!({})), 1);
        assert_eq!(world.outcome_of(own).await, "assigned");
        assert_eq!((world.assigned(11).await, world.assigned(21).await), ("13/103".into(), "23/103".into()));
        // Without a company a person has to decide; the gateway's own column wins over the record.
        assert_eq!(world.outcome_of(from_api("cB", 6, &anna(), &json!({}))).await, "needs_review");
        assert_eq!(world.outcome_of(from_api("B11", 6, &anna(), &json!({}))).await, "stale");
        world.run("UPDATE appointments SET calcom_v2_booking_id = 'cB' WHERE id = 12").await;
        assert_eq!(world.outcome_of(from_api("cB", 7, &anna(), &json!({}))).await, "assigned");
        assert_eq!(world.assigned(12).await, "11/101");
    }
}

on_engines!(an_appointment_keeps_a_bounded_number_of_references);
async fn an_appointment_keeps_a_bounded_number_of_references(backend: Backend) {
    let world = salon(backend, GatewayShape::Live).await;
    let invented: Vec<Value> = (0..300)
        .map(|n| {
            let mut body =
                event(&format!("e{n}"), &format!("x{n:03}"), n, host(101, "Anna B.", "anna@salon.example"));
            body["appointment_id"] = json!(11);
            body
        })
        .collect();
    for batch in invented.chunks(100) {
        world.send(batch).await;
    }
    assert_eq!(world.count("hostmatch_booking_references").await, 200);
    let schema = world.test.schema().await;
    let reference = BookingRef::new("x299").unwrap();
    let found = recorded_appointment(world.test.db.connection(), &schema, &reference).await.unwrap();
    assert_eq!(found.unwrap_err(), Target::Missing);
}

/// Makes an event one about some booking of its appointment's chain of reschedules: the first, which the gateway
/// knows, the second or the third. Not every event names the booking before its own.
pub(crate) fn in_a_chain(mut event: Value) -> Value {
    let number: usize = event["event_id"].as_str().unwrap()[1..].parse().unwrap();
    let Some(first) = event["calcom_booking"]["uid"].as_str() else { return event };
    let chain = ["", "-b", "-c"].map(|end| format!("{first}{end}"));
    let place = (number % 5).min(2);
    let booking = &mut event["calcom_booking"];
    booking["uid"] = json!(chain[place]);
    // An event that cannot assign does not wait for its appointment: what it names depends on the order of arrival.
    let waits = booking["status"] != "cancelled" && booking["hosts"] != json!([]);
    if place > 0 && number.is_multiple_of(2) && waits {
        booking["rescheduledFromUid"] = json!(chain[place - 1]);
    }
    // The booking before is tried only from the second attempt on.
    event["attempt"] = json!(1);
    event
}

/// Checks that no appointment has the host of a booking that another one with a host has replaced. (In a chain the
/// references are in ascending order.)
pub(super) async fn assert_last_bookings_count(world: &World) {
    let with_host =
        "hostmatch_events WHERE appointment_id IS NOT NULL AND outcome NOT IN ('no_host', 'recorded')";
    let decided = world.rows(with_host, &["appointment_id", "booking_ref"]).await;
    let counted = "hostmatch_assignments WHERE event_id IS NOT NULL";
    for row in world.rows(counted, &["appointment_id", "booking_ref"]).await {
        let (appointment, booking) = row.split_once('|').unwrap();
        let of_appointment = decided.iter().filter_map(|row| row.strip_prefix(&format!("{appointment}|")));
        let last = of_appointment.max().unwrap_or_default();
        assert!(booking >= last, "appointment {appointment}: {booking} counts, not {last}: {decided:?}");
    }
}

/// Decides these events, and those whose appointment was not found again and again, as the queue would, until
/// no more are found: an event may name a booking that only another event leads to the appointment.
pub(super) async fn send_until_found(world: &World, stream: &[Value]) {
    let mut pending = stream.to_vec();
    loop {
        let answers = world.send(&pending).await;
        let is_missing =
            |answer: &DeliveryResult| matches!(answer, DeliveryResult::Retry(Reason::AppointmentNotFound, _));
        let before = pending.len();
        let missing = pending.into_iter().zip(answers).filter(|(_, answer)| is_missing(answer));
        pending = missing.map(|(event, _)| event).collect();
        if pending.len() == before {
            return;
        }
    }
}
