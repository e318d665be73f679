//! Values as senders really write them: times without a zone or in the future, tagged addresses, HTML entities,
//! halves of characters.

use hostmatch::decide::DeliveryResult;
use hostmatch::event::BookingRef;
use hostmatch::store::recorded_appointment;
use serde_json::{Value, json};

use crate::support::{Backend, GatewayShape, World, delivery, event, host};

async fn salon(backend: Backend) -> World {
    let settings = [("gateway.timezone", "+02:00")];
    let world = World::with_settings(backend, GatewayShape::Roadmap, &settings).await;
    world.company(15).await;
    world.staff(1, 15, "Frida Spitz", "frida@salon.example").await;
    world.staff(2, 15, "Lea Müller", "lea@salon.example").await;
    for n in 1..=3 {
        world.appointment(n, 15, &format!("B{n}")).await;
    }
    world
}

fn at(id: &str, time: &str, hosts: Value) -> Value {
    let mut event = event(id, "B1", 0, hosts);
    event["calcom_booking"]["updatedAt"] = json!(time);
    event
}

fn frida() -> Value {
    host(101, "Frida Spitz", "frida@salon.example")
}

fn lea() -> Value {
    host(102, "Lea Müller", "lea@salon.example")
}

on_engines!(a_time_without_a_zone_is_read_in_the_gateways_zone);
async fn a_time_without_a_zone_is_read_in_the_gateways_zone(backend: Backend) {
    let world = salon(backend).await;
    assert_eq!(world.outcome_of(at("e1", "2026-03-01 12:00:00", lea())).await, "assigned");
    // 12:00 there is 10:00 in UTC.
    assert_eq!(world.outcome_of(at("e2", "2026-03-01T09:59:59Z", frida())).await, "stale");
    assert_eq!(world.outcome_of(at("e3", "2026-03-01 11:59:59", frida())).await, "stale");
    assert_eq!(world.outcome_of(at("e4", "2026-03-01T10:00:01Z", frida())).await, "assigned");
    assert_eq!(world.assigned(1).await, "1/101");
}

on_engines!(a_time_in_the_future_does_not_freeze_an_appointment);
async fn a_time_in_the_future_does_not_freeze_an_appointment(backend: Backend) {
    let world = salon(backend).await;
    let received = |mut event: Value, ms: i64| {
        event["first_seen"] = json!(ms);
        event
    };
    const NOON: i64 = 1_772_366_400_000;
    let far = received(at("e1", "9999-12-31T23:59:59Z", lea()), NOON);
    assert_eq!(world.outcome_of(far).await, "assigned", "it counts as sent when it was received");
    let next = received(at("e2", "2026-03-01T12:00:01Z", frida()), NOON + 1000);
    assert_eq!(world.outcome_of(next).await, "assigned");
    // A version before stored the time as it was.
    world.test.run(&["UPDATE hostmatch_assignments SET event_time_ms = 253402300799000"]).await;
    let now = 2_000_000_000_000;
    assert_eq!(world.outcome_of(received(at("e3", "2033-05-18T00:00:00Z", lea()), now)).await, "assigned");
    assert_eq!(world.assigned(1).await, "2/102");
}

on_engines!(an_organizers_address_with_calcoms_tag_matches);
async fn an_organizers_address_with_calcoms_tag_matches(backend: Backend) {
    let world = salon(backend).await;
    let webhook = |uid: &str, tag: &str| {
        json!({ "triggerEvent": "BOOKING_CREATED", "createdAt": "2026-03-01T08:00:00Z", "payload": {
            "uid": uid, "organizer": { "id": 102, "name": "L", "email": format!("lea+{tag}@salon.example") },
        }})
    };
    assert_eq!(world.outcome_of(webhook("B2", "hair")).await, "unmatched");
    assert_eq!(world.outcome_of(webhook("B1", "cm1x2y3z4a5b6c7d8e9f0g1h2")).await, "assigned");
    assert_eq!(world.assigned(1).await, "2/102");
}

on_engines!(entities_in_names_and_addresses_are_decoded);
async fn entities_in_names_and_addresses_are_decoded(backend: Backend) {
    let world = salon(backend).await;
    let by_name = host(102, "Lea M&uuml;ller", "elsewhere@salon.example");
    assert_eq!(world.outcome_of(event("e1", "B1", 1, by_name)).await, "needs_review", "a suggestion by name");
    let by_email = host(101, "F", "frida&#64;salon.example");
    assert_eq!(world.outcome_of(event("e2", "B2", 1, by_email)).await, "assigned");
}

on_engines!(halves_of_characters_are_no_fault);
async fn halves_of_characters_are_no_fault(backend: Backend) {
    let world = salon(backend).await;
    let sent = |id: &str, reference: &str, name: &str| {
        let mut event = event(id, reference, 1, host(102, name, "lea@salon.example"));
        event["calcom_booking"]["additionalNotes"] = json!("see you @half@, @nul@");
        let mut delivery = delivery(&event);
        let body = event.to_string().replace("@half@", "\\ud83d").replace("@nul@", "\\u0000");
        delivery.message.body = body.into();
        delivery
    };
    let deliveries = [sent("e1", "B1", "Lea Müller"), sent("e2", "B2", "Lea Müller @half@")];
    let results = world.processor.process(&deliveries).await.unwrap();
    assert!(results.iter().all(|it| matches!(it, DeliveryResult::Done(_))), "{results:?}");
    assert_eq!(world.assigned(1).await, "2/102");
    assert_eq!(world.assigned(2).await, "2/102");
    // What is stored of a booking can be read again.
    let schema = world.test.schema().await;
    for reference in ["B1", "B2"] {
        let reference = BookingRef::new(reference).unwrap();
        let recorded = recorded_appointment(world.test.db.connection(), &schema, &reference).await;
        let event = recorded.unwrap().unwrap().assignment.unwrap().newest_event().unwrap();
        assert!(event.bookings[0].raw.as_ref().unwrap().contains("see you"), "{event:?}");
        let host = &event.bookings[0].host.as_ref().unwrap().0;
        assert!(host.name.as_ref().unwrap().starts_with("Lea Müller"), "{host:?}");
    }
}
