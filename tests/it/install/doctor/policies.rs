//! Tests findings about policies that an administrator has defined for other queues.

use std::time::Duration;

use serde_json::Value;

use super::Installation;
use crate::support::broker::Broker;
use crate::support::{Backend, GatewayShape, TestDatabase, eventually};

/// A policy's definition, the code that finds it, and the queues of ours to which it applies.
const POLICIES: [(&str, &str, &str); 7] = [
    (r#"{"message-ttl":60000}"#, "policy_expires_messages", ".bookings"),
    (r#"{"max-length":1000}"#, "policy_bounds_queue", ".dead"),
    (r#"{"max-length-bytes":100000}"#, "policy_bounds_queue", ".bookings"),
    (r#"{"expires":3600000}"#, "policy_deletes_queue", ".bookings"),
    (r#"{"dead-letter-exchange":"graveyard"}"#, "policy_redirects", ".dead"),
    (r#"{"delivery-limit":5}"#, "policy_delivery_limit", ".bookings"),
    (r#"{"alternate-exchange":"nirvana"}"#, "alternate_exchange", ".events"),
];

pub(super) async fn only_policies_that_interfere_are_reported(broker: &Broker, management: &str) {
    let test = TestDatabase::migrated(Backend::Sqlite, GatewayShape::Roadmap).await;
    let installation = Installation::on(test, broker, management).await;
    let mut worker = installation.worker().await;
    let pattern = format!("^{}\\.", installation.stack.config.prefix);
    for (definition, code, subject) in POLICIES {
        broker.control(&["set_policy", "--apply-to", "all", "everything", &pattern, definition]).await;
        let report = eventually(
            "the policy applies, and the previous one does not",
            Duration::from_secs(30),
            async || {
                let report = installation.doctor(&[]);
                // A policy takes effect queue by queue.
                let is_expected = |one: &Value| one["subject"].as_str().unwrap().contains(subject);
                let is_found = report.codes() == [code] && report.findings().iter().any(is_expected);
                is_found.then_some(report)
            },
        )
        .await;
        report.finds(code, subject, "policy");
        broker.control(&["clear_policy", "everything"]).await;
    }
    // These policies are irrelevant, or their limits are no shorter than a wait queue's own arguments.
    let waits = format!("^{}\\.bookings\\.retry", installation.stack.config.prefix);
    broker
        .control(&["set_policy", "--apply-to", "queues", "waits", &waits, r#"{"message-ttl":3600000}"#])
        .await;
    broker.control(&["set_policy", "--apply-to", "all", "others", "^others", r#"{"max-length":1}"#]).await;
    let healthy = eventually("the policies are gone", Duration::from_secs(30), async || {
        let report = installation.doctor(&[]);
        report.codes().is_empty().then_some(report)
    })
    .await;
    assert_eq!(healthy.code, Some(0));
    assert_eq!(worker.stop().await, Some(0), "{}", worker.stderr());
}
