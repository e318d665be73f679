//! Compares a broker's topology, as AMQP and the management API report it, with the expected one.

use serde::Serialize;
use serde_json::Value;

use super::management::{Management, ManagementError};
use super::reader::{BrokerReader, Existing, Lookup, ReadError};
use super::{BINDING_KEY, QueueRole};
use crate::app::pluralize;
use crate::install::finding::{Code, Finding, NotChecked};
use crate::queue::topology::QueueSpec;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "object")]
pub(crate) enum Object {
    Exchange { name: String },
    Queue { name: String },
    Binding { source: String, destination: String, routing_key: &'static str },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub(crate) enum Change {
    Missing,
    /// An argument (or a property) differs. Contains the expected and the actual value; null means no value.
    Argument {
        argument: String,
        wanted: Value,
        found: Value,
    },
    /// The object differs in a way that only the broker can describe.
    Other {
        said: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Difference {
    #[serde(flatten)]
    pub(crate) object: Object,
    #[serde(flatten)]
    pub(crate) change: Change,
}

/// One of our queues that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FoundQueue {
    pub(crate) name: String,
    pub(crate) role: QueueRole,
    /// The number of ready messages and the number of consumers; `None` if this user may not inspect the
    /// queue.
    pub(crate) counts: Option<(u32, u32)>,
    /// What the management API reports about the queue; null if it reports nothing.
    pub(crate) info: Value,
}

#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// The deviations, each with its [`Difference`].
    pub(crate) findings: Vec<Finding>,
    pub(crate) not_checked: Vec<NotChecked>,
    pub(crate) queues: Vec<FoundQueue>,
    /// The exchange that gets the messages that no queue accepts; `None` if they are returned to the
    /// publisher.
    pub(crate) alternate: Option<String>,
    /// Whether the broker did not compare an existing object with the expected one, because our user may not
    /// configure it.
    pub(crate) has_uncompared: bool,
    /// The first error of the management API, if it was queried.
    pub(crate) api_error: Option<ManagementError>,
}

/// Compares the topology, using the management API if it is configured. Returns an error only if the broker
/// cannot be queried at all.
pub(crate) async fn compare(
    reader: &BrokerReader,
    management: Option<&Management>,
) -> Result<Comparison, ReadError> {
    let mut comparer = Comparer { reader, management, found: Comparison::default() };
    comparer.query_api(&["overview"]).await;
    if comparer.found.api_error.is_some() {
        comparer.management = None;
    }
    comparer.compare_exchange().await?;
    for spec in &reader.settings.topology.queues {
        comparer.compare_queue(spec).await?;
    }
    comparer.compare_binding().await;
    Ok(comparer.found)
}

impl Comparison {
    pub(crate) fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.findings.iter().filter_map(|one| one.difference.as_ref())
    }
}

impl Object {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Exchange { name } | Self::Queue { name } => name,
            Self::Binding { destination, .. } => destination,
        }
    }
}

struct Comparer<'a> {
    reader: &'a BrokerReader,
    management: Option<&'a Management>,
    found: Comparison,
}

const ALTERNATE: &str = "alternate-exchange";

impl Comparer<'_> {
    /// Returns the API's response; records its first error.
    async fn query_api(&mut self, path: &[&str]) -> Value {
        let Some(api) = self.management else { return Value::Null };
        let response = api.get(path).await.map_err(|error| self.found.api_error.get_or_insert(error));
        response.ok().flatten().unwrap_or_default()
    }

    async fn compare_exchange(&mut self) -> Result<(), ReadError> {
        let (name, vhost) = (&self.reader.settings.topology.exchange, self.reader.vhost());
        let object = Object::Exchange { name: name.clone() };
        let lookup = self.reader.exchange().await?;
        let info = self.query_api(&["exchanges", vhost, name]).await;
        let remedy = format!(
            "an exchange cannot be changed: stop the publishers, run rabbitmqadmin delete exchange \
             name={name}, then hostmatch topology apply. Or choose another queue.prefix"
        );
        let Some(existing) = self.existing_or_report(lookup, &object, !info.is_null()) else { return Ok(()) };
        if info.is_null() {
            if let Some(said) = &existing.differs {
                self.report_difference(&object, parse_difference(said), &remedy);
            }
            return Ok(());
        }
        let wanted = [("type", "topic".into()), ("durable", true.into()), ("internal", false.into())];
        for (argument, wanted) in wanted {
            self.compare_argument(&object, argument, wanted, &info[argument], &remedy);
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        self.found.alternate = text(&info["arguments"][ALTERNATE]);
        if let Some(policy) = info["policy"].as_str() {
            let policy = self.query_api(&["policies", vhost, policy]).await;
            self.found.alternate = self.found.alternate.take().or(text(&policy["definition"][ALTERNATE]));
        }
        Ok(())
    }

    async fn compare_queue(&mut self, spec: &QueueSpec) -> Result<(), ReadError> {
        let vhost = self.reader.vhost();
        let object = Object::Queue { name: spec.name.clone() };
        let lookup = self.reader.queue(spec).await?;
        let info = self.query_api(&["queues", vhost, &spec.name]).await;
        let is_hidden = matches!(lookup, Lookup::Hidden);
        if matches!(lookup, Lookup::Missing) {
            self.existing_or_report(lookup, &object, false);
            return Ok(());
        }
        let existing = self.existing_or_report(lookup, &object, !info.is_null()).unwrap_or_default();
        let first_step = match existing.messages {
            0 => {
                "stop publishers and workers; check that it is empty (rabbitmqctl list_queues name messages)"
                    .to_owned()
            }
            n => {
                let count = pluralize(n, "message is", "messages are");
                format!("{count} in it: stop the publishers, let workers finish, then stop them")
            }
        };
        let remedy = format!(
            "a queue keeps the arguments with which it was created. {first_step}; then run rabbitmqctl \
             delete_queue --vhost '{vhost}' '{}' and hostmatch topology apply. Or choose another queue.prefix",
            spec.name
        );
        let before = self.found.findings.len();
        if !info.is_null() {
            self.compare_arguments(&object, spec, &info, &existing, &remedy);
        }
        if let Some(said) = existing.differs.as_ref().filter(|_| self.found.findings.len() == before) {
            self.report_difference(&object, parse_difference(said), &remedy);
        }
        let counts = (!is_hidden).then_some((existing.messages, existing.consumers));
        self.found.queues.push(FoundQueue { name: spec.name.clone(), role: spec.role, counts, info });
        Ok(())
    }

    /// Compares a queue's arguments: ours must be present. Additional arguments are a difference, unless the
    /// broker accepted our declaration of the queue as equal.
    fn compare_arguments(
        &mut self,
        object: &Object,
        spec: &QueueSpec,
        info: &Value,
        existing: &Existing,
        remedy: &str,
    ) {
        let found = &info["arguments"];
        for (name, wanted) in &spec.arguments {
            let found = &found[*name];
            let remedy = if *name == "x-delivery-limit" && found.is_number() && spec.role == QueueRole::Work {
                format!("set queue.delivery_limit = {found}, if that is intended; or {remedy}")
            } else {
                remedy.to_owned()
            };
            self.compare_argument(object, name, wanted.clone(), found, &remedy);
        }
        let is_same = existing.compared && existing.differs.is_none();
        let harmless =
            ["x-queue-leader-locator", "x-quorum-initial-group-size", "x-quorum-target-group-size"];
        for (name, found) in found.as_object().into_iter().flatten().filter(|_| !is_same) {
            if !spec.arguments.contains_key(name.as_str()) && !harmless.contains(&name.as_str()) {
                self.compare_argument(object, name, Value::Null, found, remedy);
            }
        }
    }

    async fn compare_binding(&mut self) {
        let (source, destination) =
            (&self.reader.settings.topology.exchange, &self.reader.settings.topology.work);
        let has_work = self.found.queues.iter().any(|queue| queue.role == QueueRole::Work);
        // Without the exchange or the queue there can be no binding, and what is missing has been reported.
        if !has_work || self.found.findings.iter().any(|one| one.code == Code::ExchangeMissing) {
            return;
        }
        let path = ["bindings", self.reader.vhost(), "e", source, "q", destination];
        let bindings = if self.found.api_error.is_none() { self.query_api(&path).await } else { Value::Null };
        if self.management.is_none() || self.found.api_error.is_some() {
            let why = match &self.found.api_error {
                Some(error) => error.to_string(),
                None => "AMQP does not report them; set queue.management_url".to_owned(),
            };
            let what = "bindings and policies".to_owned();
            return self.found.not_checked.push(NotChecked { code: Code::BindingMissing, what, why });
        }
        let mut all = bindings.as_array().into_iter().flatten();
        if !all.any(|binding| binding["routing_key"] == BINDING_KEY) {
            let (source, destination) = (source.clone(), destination.clone());
            self.report_missing(&Object::Binding { source, destination, routing_key: BINDING_KEY });
        }
    }

    /// Returns the object if it exists. Otherwise reports that it is missing or, unless the API has described it,
    /// that it was not checked.
    fn existing_or_report(&mut self, lookup: Lookup, object: &Object, is_in_api: bool) -> Option<Existing> {
        match lookup {
            Lookup::Missing => {
                self.report_missing(object);
                return None;
            }
            Lookup::Existing(existing) => {
                self.found.has_uncompared |= !existing.compared;
                return Some(existing);
            }
            Lookup::Hidden => self.found.has_uncompared = true,
        }
        if is_in_api {
            return Some(Existing::default());
        }
        let is_exchange = matches!(object, Object::Exchange { .. });
        let (code, kind) =
            if is_exchange { (Code::ExchangeMissing, "exchange") } else { (Code::QueueMissing, "queue") };
        let why = "this user may not inspect it (from RabbitMQ 4.3 on that needs the configure permission); set \
                   queue.management_url";
        let what = format!("the {kind} {}", object.name());
        self.found.not_checked.push(NotChecked { code, what, why: why.to_owned() });
        None
    }

    fn report_missing(&mut self, object: &Object) {
        let remedy = "hostmatch topology apply, as a user with the configure permission";
        self.report_difference(object, Change::Missing, remedy);
    }

    fn compare_argument(
        &mut self,
        object: &Object,
        argument: &str,
        wanted: Value,
        found: &Value,
        remedy: &str,
    ) {
        if wanted != *found {
            let (argument, found) = (argument.to_owned(), found.clone());
            self.report_difference(object, Change::Argument { argument, wanted, found }, remedy);
        }
    }

    fn report_difference(&mut self, object: &Object, change: Change, remedy: &str) {
        let is_missing = change == Change::Missing;
        let (code, subject) = match object {
            Object::Exchange { name } if is_missing => (Code::ExchangeMissing, name.clone()),
            Object::Exchange { name } => (Code::ExchangeDiffers, name.clone()),
            Object::Queue { name } if is_missing => (Code::QueueMissing, name.clone()),
            Object::Queue { name } => (Code::QueueDiffers, name.clone()),
            Object::Binding { source, destination, .. } => {
                (Code::BindingMissing, format!("{source} -> {destination}"))
            }
        };
        let what = match &change {
            Change::Missing if self.reader.declares() => {
                "it is missing (queue.topology = \"declare\": hostmatch creates it when it starts)".to_owned()
            }
            Change::Missing => "it is missing".to_owned(),
            Change::Argument { argument, wanted, found } => {
                format!("its {argument} is {found}, but {wanted} is expected")
            }
            Change::Other { said } => said.clone(),
        };
        let difference = Some(Difference { object: object.clone(), change });
        let finding = Finding::new(code, subject, what).with_remedy(remedy);
        self.found.findings.push(Finding { difference, ..finding });
    }
}

/// Parses the broker's text `inequivalent arg 'x' for queue 'q' in vhost '/': received the value '50' of
/// type 'long' but current is the value '20' of type 'long'`; either value may be `none`.
fn parse_difference(said: &str) -> Change {
    let other = || Change::Other { said: said.to_owned() };
    let Some((head, values)) = said.split_once(": received ") else { return other() };
    let Some(argument) = head.split('\'').nth(1).filter(|_| head.contains("inequivalent arg")) else {
        return other();
    };
    let Some((wanted, found)) = values.split_once(" but current is ") else { return other() };
    let value = |text: &str| {
        let quoted = text.split('\'').nth(1);
        quoted.map_or(Value::Null, |text| text.parse::<i64>().map_or_else(|_| text.into(), Value::from))
    };
    Change::Argument { argument: argument.to_owned(), wanted: value(wanted), found: value(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_text_of_a_difference_is_parsed() {
        let said = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'salon.bookings' in vhost \
                    '/': received the value '50' of type 'signedint' but current is the value '20' of type 'long'";
        let expected = |wanted: Value, found: Value, argument: &str| Change::Argument {
            argument: argument.to_owned(),
            wanted,
            found,
        };
        assert_eq!(parse_difference(said), expected(50.into(), 20.into(), "x-delivery-limit"));
        let said = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the \
                    value 'quorum' of type 'longstr' but current is none";
        assert_eq!(parse_difference(said), expected("quorum".into(), Value::Null, "x-queue-type"));
        assert_eq!(parse_difference("RESOURCE_LOCKED"), Change::Other { said: "RESOURCE_LOCKED".to_owned() });
    }
}
