//! What policies, and arguments that an administrator added, make of our queues.

use std::time::Duration;

use serde_json::Value;

use super::Report;
use super::code::Code;
use crate::config::Config;
use crate::install::topology::{Comparison, FoundQueue, Rules};
use crate::queue::Part;

/// Judges what was found.
pub(super) fn judge(found: &Comparison, config: &Config, report: &mut Report) {
    if let Some(to) = &found.alternate {
        let subject = format!("{}.events", config.queue.prefix);
        report.found(Code::AlternateExchange, subject, format!("what no queue takes goes to {to}"));
    }
    for queue in &found.queues {
        if let Some(rules) = &queue.rules {
            Judge { queue, rules, report }.rules(config);
        }
    }
}

struct Judge<'a> {
    queue: &'a FoundQueue,
    rules: &'a Rules,
    report: &'a mut Report,
}

impl Judge<'_> {
    fn rules(&mut self, config: &Config) {
        let is_retry = self.queue.part == Part::Retry;
        // A wait queue has a time of its own; what is shorter counts.
        let wait = self.argument("message-ttl");
        if let Some(ttl) =
            self.policy("message-ttl").filter(|ttl| !is_retry || wait.is_none_or(|wait| *ttl < wait))
        {
            self.found(Code::PolicyExpiresMessages, format!("message-ttl is {ttl} ms"));
        }
        for bound in ["max-length", "max-length-bytes"] {
            if let Some(most) = self.policy(bound) {
                self.found(Code::PolicyBoundsQueue, format!("{bound} is {most}"));
            }
        }
        if let Some(ms) = self.policy("expires") {
            self.found(Code::PolicyDeletesQueue, format!("expires is {ms} ms"));
        }
        // An argument of ours goes before a policy; the dead letters' queue has none.
        let redirects = self.rules.by_policy.get("dead-letter-exchange").and_then(Value::as_str);
        if let Some(exchange) =
            redirects.filter(|_| !self.rules.by_argument.contains_key("dead-letter-exchange"))
        {
            self.found(Code::PolicyRedirects, format!("dead-letter-exchange is {exchange:?}"));
        }
        let limit = self.argument("delivery-limit").unwrap_or(i64::MAX);
        if let Some(lower) = self.policy("delivery-limit").filter(|lower| *lower < limit) {
            self.found(Code::PolicyDeliveryLimit, format!("delivery-limit is {lower}"));
        }
        let timeouts = [self.policy("consumer-timeout"), self.argument("consumer-timeout")];
        let shortest = timeouts.into_iter().flatten().min().filter(|_| !is_retry);
        if let Some(ms) = shortest.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis)
            && ms < config.worker.hold * 2
        {
            let what = format!(
                "its consumer timeout is {} ms, and worker.hold is {} ms",
                ms.as_millis(),
                config.worker.hold.as_millis()
            );
            self.found(Code::ConsumerTimeoutShort, what);
        }
    }

    fn policy(&self, rule: &str) -> Option<i64> {
        self.rules.by_policy.get(rule).and_then(Value::as_i64)
    }

    fn argument(&self, rule: &str) -> Option<i64> {
        self.rules.by_argument.get(rule).and_then(Value::as_i64)
    }

    fn found(&mut self, code: Code, what: String) {
        let by = if self.rules.policies.is_empty() {
            String::new()
        } else {
            format!(" ({})", self.rules.policies)
        };
        self.report.found(code, format!("{}{by}", self.queue.name), what);
    }
}
