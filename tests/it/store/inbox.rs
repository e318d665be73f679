//! The inbox is bounded: the hosts named longest ago go first, and those with a waiting booking stay.

use hostmatch::event::CompanyId;
use hostmatch::store::{bound_inbox, purge_inbox};

use crate::support::{Backend, GatewayShape, World};

/// Creates two companies with hosts 1 to 6 each, named in that order. A booking waits for host 1 of company 15, and
/// a person ignores its host 2.
async fn create_inbox(backend: Backend) -> World {
    let world = World::new(backend, GatewayShape::Roadmap).await;
    for company in [15, 16] {
        world.company(company).await;
        for host in 1..=6 {
            let state = if (company, host) == (15, 2) { "ignored" } else { "open" };
            world
                .run(&format!(
                    "INSERT INTO hostmatch_inbox (company_id, host_id, event_stamped, first_seen_ms, last_seen_ms, \
                     kind, suggestions, state, state_changed_ms) \
                     VALUES ({company}, {host}, FALSE, 1, {host}, 'unknown', '[]', '{state}', 1)"
                ))
                .await;
        }
    }
    world.appointment(1, 15, "bA").await;
    world
        .run(
            "INSERT INTO hostmatch_assignments (appointment_id, company_id, event_stamped, host_id, outcome, \
             decided_ms) VALUES (1, 15, FALSE, 1, 'unmatched', 1)",
        )
        .await;
    world
}

async fn hosts(world: &World, company: u32) -> Vec<String> {
    world.rows(&format!("hostmatch_inbox WHERE company_id = {company} ORDER BY host_id"), &["host_id"]).await
}

on_engines!(a_full_inbox_loses_the_hosts_named_longest_ago);
async fn a_full_inbox_loses_the_hosts_named_longest_ago(backend: Backend) {
    let world = create_inbox(backend).await;
    world.run("DELETE FROM hostmatch_inbox WHERE company_id = 16 AND host_id > 4").await;
    let removed = bound_inbox(&world.test.db, 4).await.unwrap();
    assert_eq!(removed, [(CompanyId(15), 2)]);
    assert_eq!(hosts(&world, 15).await, ["1", "2", "5", "6"]);
    assert_eq!(hosts(&world, 16).await, ["1", "2", "3", "4"]);
    assert_eq!(bound_inbox(&world.test.db, 1).await.unwrap(), [(CompanyId(15), 2), (CompanyId(16), 3)]);
    assert_eq!(hosts(&world, 15).await, ["1", "2"], "a booking waits for one, a person ignores the other");
}

on_engines!(hosts_that_no_booking_has_named_for_long_are_removed);
async fn hosts_that_no_booking_has_named_for_long_are_removed(backend: Backend) {
    let world = create_inbox(backend).await;
    assert_eq!(purge_inbox(&world.test.db, 5).await.unwrap(), 6);
    assert_eq!(hosts(&world, 15).await, ["1", "2", "5", "6"]);
    assert_eq!(hosts(&world, 16).await, ["5", "6"]);
}
