//! What a broker has against what is wanted: for `hostmatch topology diff` and `hostmatch doctor`.
//!
//! AMQP tells whether a thing is there and the first argument that differs; the management API
//! tells all arguments, the bindings and the policies. What neither tells is `unseen`.

mod look;
mod greeting;
mod management;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use self::look::{Here, Seen};
use self::management::QueueInfo;
use crate::config::QueueConfig;
use crate::queue::amqp::Settings;
use crate::queue::topology::{EVERYTHING, QueueSpec, Topology};
use crate::queue::{Part, QueueError};

pub use self::look::{Look, LookError, Right, Written};
pub use self::management::{Management, ManagementError};

/// A part of the topology.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "object")]
pub enum Object {
    /// The exchange that publishers write to.
    Exchange {
        /// Its name.
        name: String,
    },
    /// A queue.
    Queue {
        /// Its name.
        name: String,
    },
    /// A binding of the exchange.
    Binding {
        /// The exchange.
        source: String,
        /// The queue.
        destination: String,
        /// With this routing key.
        routing_key: &'static str,
    },
}

/// How something differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// It is not there.
    Missing,
    /// An argument (or a property) is another.
    Argument {
        /// Which.
        argument: String,
        /// What is wanted; null: none.
        wanted: Value,
        /// What is there; null: none.
        found: Value,
    },
    /// It differs in a way that only the broker can say.
    Other {
        /// In its words.
        said: String,
    },
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Where.
    #[serde(flatten)]
    pub object: Object,
    /// What.
    #[serde(flatten)]
    pub change: Change,
    /// What to do about it.
    pub remedy: String,
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// What.
    pub what: String,
    /// And why not.
    pub why: String,
}

/// A queue of ours that is there.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundQueue {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub part: Part,
    /// Messages that are ready; none where it may not be looked at.
    pub messages: Option<u32>,
    /// Its consumers; likewise.
    pub consumers: Option<u32>,
    /// Its arguments and the rules of policies that apply to it, by their names without `x-`; none where
    /// the management API does not tell.
    pub rules: Option<Rules>,
}

/// What policies (and an administrator's arguments) make of a queue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// The names of the policies, in words; empty without any.
    pub policies: String,
    /// What they say.
    pub by_policy: BTreeMap<String, Value>,
    /// What its arguments say.
    pub by_argument: BTreeMap<String, Value>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// What is not as it is wanted.
    pub differences: Vec<Difference>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
    /// The queues that are there.
    pub queues: Vec<FoundQueue>,
    /// Where the exchange sends what no queue takes; none: back to the publisher.
    pub alternate: Option<String>,
    /// Something is there that the broker did not compare with ours: our user may not configure it.
    pub uncompared: bool,
    /// Why the management API tells nothing, if it was asked.
    pub silent: Option<ManagementError>,
}

/// The virtual host that `queue.url` names.
///
/// # Errors
/// [`QueueError::Url`]
pub fn vhost(config: &QueueConfig) -> Result<String, QueueError> {
    Ok(Settings::of(config)?.address.vhost)
}

/// Exchange, queues and binding in this virtual host, as RabbitMQ's definitions; nothing else, so that
/// importing them changes nothing else.
pub fn definitions(topology: &Topology, vhost: &str) -> Value {
    let queues = topology.queues.iter().map(|queue| {
        json!({
            "name": queue.name, "vhost": vhost, "durable": true, "auto_delete": false,
            "arguments": queue.arguments,
        })
    });
    json!({
        "exchanges": [{
            "name": topology.exchange, "vhost": vhost, "type": "topic", "durable": true,
            "auto_delete": false, "internal": false, "arguments": {},
        }],
        "queues": queues.collect::<Vec<_>>(),
        "bindings": [{
            "source": topology.exchange, "vhost": vhost, "destination": topology.work,
            "destination_type": "queue", "routing_key": EVERYTHING, "arguments": {},
        }],
    })
}

/// Compares. `management`: where it is configured.
///
/// # Errors
/// [`LookError`], when the broker cannot be asked at all.
pub async fn compare(look: &Look, management: Option<&Management>) -> Result<Comparison, LookError> {
    let mut comparison = Comparison::default();
    let mut management = management;
    if let Some(api) = management
        && let Err(error) = api.overview().await
    {
        comparison.silent = Some(error);
        management = None;
    }
    comparison.exchange(look, management).await?;
    for spec in &look.topology().queues {
        comparison.queue(look, management, spec).await?;
    }
    comparison.binding(look, management).await;
    Ok(comparison)
}

impl Comparison {
    /// Whether nothing differs, as far as could be seen.
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    async fn exchange(&mut self, look: &Look, management: Option<&Management>) -> Result<(), LookError> {
        let name = &look.topology().exchange;
        let object = Object::Exchange { name: name.clone() };
        let seen = look.exchange().await?;
        self.uncompared |= !seen.is_compared();
        let info = match management {
            Some(api) => self.told(api.exchange(name).await).flatten(),
            None => None,
        };
        match (&seen, &info) {
            (Seen::Missing, _) => return self.missing(object),
            (_, Some(info)) => {
                let properties = [
                    ("type", Value::from("topic"), Value::from(info.kind.as_str())),
                    ("durable", true.into(), info.durable.into()),
                    ("internal", false.into(), info.internal.into()),
                ];
                for (argument, wanted, found) in properties.into_iter().filter(|(_, a, b)| a != b) {
                    self.differs(object.clone(), argument, wanted, found, &remake_exchange(name));
                }
                self.alternate = text(info.arguments.get(ALTERNATE));
                if let (Some(api), Some(policy)) = (management, &info.policy) {
                    let policy = self.told(api.policy(policy).await).flatten();
                    let by_policy = policy.and_then(|policy| text(policy.definition.get(ALTERNATE)));
                    self.alternate = self.alternate.take().or(by_policy);
                }
            }
            (Seen::Here(Here { differs: Some(said), .. }), None) => {
                self.said(object, said, &remake_exchange(name));
            }
            (Seen::Here(_), None) => {}
            (Seen::Hidden, None) => self.hidden(format!("the exchange {name}")),
        }
        Ok(())
    }

    async fn queue(
        &mut self,
        look: &Look,
        management: Option<&Management>,
        spec: &QueueSpec,
    ) -> Result<(), LookError> {
        let object = Object::Queue { name: spec.name.clone() };
        let seen = look.queue(spec).await?;
        self.uncompared |= !seen.is_compared();
        let info = match management {
            Some(api) => self.told(api.queue(&spec.name).await).flatten(),
            None => None,
        };
        let here = match seen {
            Seen::Missing => return self.missing(object),
            Seen::Hidden if info.is_none() => {
                self.hidden(format!("the queue {}", spec.name));
                None
            }
            Seen::Hidden => None,
            Seen::Here(here) => Some(here),
        };
        let remedy = remake_queue(look.vhost(), &spec.name, here.as_ref());
        let before = self.differences.len();
        if let Some(info) = &info {
            self.arguments(&object, spec, info, here.as_ref(), &remedy);
        }
        if let Some(said) = here.as_ref().and_then(|here| here.differs.as_ref())
            && self.differences.len() == before
        {
            self.said(object, said, &remedy);
        }
        self.queues.push(FoundQueue {
            name: spec.name.clone(),
            part: spec.part,
            messages: here.as_ref().map(|here| here.messages),
            consumers: here.as_ref().map(|here| here.consumers),
            rules: info.map(Rules::of),
        });
        Ok(())
    }

    /// What we want must be there. What is there beside it is a difference, unless the broker, when
    /// asked for ours, said that this is the same queue.
    fn arguments(
        &mut self,
        object: &Object,
        spec: &QueueSpec,
        info: &QueueInfo,
        here: Option<&Here>,
        remedy: &str,
    ) {
        let wanted: BTreeMap<&str, Value> =
            spec.arguments.iter().map(|(name, value)| (*name, value.into())).collect();
        for (name, value) in &wanted {
            let found = info.arguments.get(*name).cloned().unwrap_or_default();
            if *value != found {
                let remedy = if *name == "x-delivery-limit" && found.is_number() && spec.part == Part::Work {
                    format!("set queue.delivery_limit = {found}, if that is meant; or {remedy}")
                } else {
                    remedy.to_owned()
                };
                self.differs(object.clone(), name, value.clone(), found, &remedy);
            }
        }
        let same = here.is_some_and(|here| here.compared && here.differs.is_none());
        for (name, found) in &info.arguments {
            let harmless =
                ["x-queue-leader-locator", "x-quorum-initial-group-size", "x-quorum-target-group-size"];
            if !same && !wanted.contains_key(name.as_str()) && !harmless.contains(&name.as_str()) {
                self.differs(object.clone(), name, Value::Null, found.clone(), remedy);
            }
        }
    }

    async fn binding(&mut self, look: &Look, management: Option<&Management>) {
        let topology = look.topology();
        let here = self.queues.iter().any(|queue| queue.part == Part::Work);
        let exchange = Object::Exchange { name: topology.exchange.clone() };
        // Without one of its ends it is not there either, and that has been told.
        if !here || self.differences.iter().any(|one| one.object == exchange && one.change == Change::Missing)
        {
            return;
        }
        let Some(api) = management.filter(|_| self.silent.is_none()) else {
            return self.unseen.push(Unseen {
                what: "bindings and policies".to_owned(),
                why: match &self.silent {
                    Some(error) => error.to_string(),
                    None => "AMQP does not tell them; set queue.management_url".to_owned(),
                },
            });
        };
        let Some(bindings) = self.told(api.bindings(&topology.exchange, &topology.work).await) else {
            return;
        };
        if !bindings.iter().any(|binding| binding.routing_key == EVERYTHING) {
            let _noted = self.missing(Object::Binding {
                source: topology.exchange.clone(),
                destination: topology.work.clone(),
                routing_key: EVERYTHING,
            });
        }
    }

    /// What the API told; what it did not tell is noted once.
    fn told<T>(&mut self, answer: Result<T, ManagementError>) -> Option<T> {
        answer.map_err(|error| self.silent.get_or_insert(error)).ok()
    }

    fn missing(&mut self, object: Object) -> Result<(), LookError> {
        let remedy = "hostmatch topology apply, as a user with the right to configure it".to_owned();
        self.differences.push(Difference { object, change: Change::Missing, remedy });
        Ok(())
    }

    fn differs(&mut self, object: Object, argument: &str, wanted: Value, found: Value, remedy: &str) {
        let change = Change::Argument { argument: argument.to_owned(), wanted, found };
        self.differences.push(Difference { object, change, remedy: remedy.to_owned() });
    }

    fn said(&mut self, object: Object, said: &str, remedy: &str) {
        self.differences.push(Difference { object, change: change(said), remedy: remedy.to_owned() });
    }

    fn hidden(&mut self, what: String) {
        let why = "this user may not look at it (from RabbitMQ 4.3 on that needs the right to configure); \
                   set queue.management_url";
        self.unseen.push(Unseen { what, why: why.to_owned() });
    }
}

const ALTERNATE: &str = "alternate-exchange";

impl Rules {
    fn of(info: QueueInfo) -> Self {
        let names = [("policy", &info.policy), ("operator policy", &info.operator_policy)];
        let named = names.iter().filter_map(|(kind, name)| {
            let name = name.as_ref().filter(|name| !name.is_empty())?;
            Some(format!("{kind} {name}"))
        });
        let plain = |(name, value): (String, Value)| (name.trim_start_matches("x-").to_owned(), value);
        Self {
            policies: named.collect::<Vec<_>>().join(" and "),
            by_policy: info.effective_policy_definition,
            by_argument: info.arguments.into_iter().map(plain).collect(),
        }
    }
}

fn text(value: Option<&Value>) -> Option<String> {
    value.and_then(Value::as_str).map(str::to_owned)
}

/// `inequivalent arg 'x' for queue 'q' in vhost '/': received the value '50' of type 'long' but current
/// is the value '20' of type 'long'`; either value may be `none`.
fn change(said: &str) -> Change {
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

fn remake_queue(vhost: &str, name: &str, here: Option<&Here>) -> String {
    let first = match here.map_or(0, |here| here.messages) {
        0 => "stop whoever publishes and consumes, and see that it is empty (rabbitmqctl list_queues name messages)"
            .to_owned(),
        n => format!("{n} messages are in it: let the workers finish them, stop them and whoever publishes"),
    };
    format!(
        "arguments stay as they were when the queue was made. {first}; then rabbitmqctl delete_queue --vhost \
         '{vhost}' '{name}', and hostmatch topology apply. Or choose another queue.prefix"
    )
}

fn remake_exchange(name: &str) -> String {
    format!(
        "an exchange cannot be changed: stop whoever publishes, rabbitmqadmin delete exchange name={name}, and \
         hostmatch topology apply. Or choose another queue.prefix"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_broker_words_of_a_difference_are_read() {
        let said = "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'salon.bookings' in vhost \
                    '/': received the value '50' of type 'signedint' but current is the value '20' of type 'long'";
        let expected = |wanted: Value, found: Value, argument: &str| Change::Argument {
            argument: argument.to_owned(),
            wanted,
            found,
        };
        assert_eq!(change(said), expected(50.into(), 20.into(), "x-delivery-limit"));
        let said = "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'q' in vhost '/': received the \
                    value 'quorum' of type 'longstr' but current is none";
        assert_eq!(change(said), expected("quorum".into(), Value::Null, "x-queue-type"));
        assert_eq!(change("RESOURCE_LOCKED"), Change::Other { said: "RESOURCE_LOCKED".to_owned() });
    }
}
