//! Publishing with confirmation.
//!
//! Each group of messages has a channel to itself until its last confirm. lapin pairs a returned
//! message with whichever confirm comes next, which is not always its own; within a group this is
//! harmless because the returned ones are found by where they were going.

use std::sync::Arc;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::link::{Keeper, Link, NO_ANSWER};
use super::problem::{Problem, code};
use super::{Amqp, Settings, wire};
use crate::crash;
use crate::queue::{Message, PublishError};

/// Messages that are published before their confirms are awaited.
const GROUP: usize = 256;

/// Groups, and so channels, in flight at once. More would not be confirmed faster.
const IN_FLIGHT: usize = 16;

const GONE: &str = "an exchange or a queue is gone; a new connection looks for it";

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Empty: the default exchange, where the routing key is the name of a queue.
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

impl Target {
    pub(super) fn queue(name: &str) -> Self {
        Self { exchange: String::new(), routing_key: name.to_owned() }
    }
}

/// The publishing connection and what is in flight on it.
pub(super) struct Publishing {
    keeper: Keeper,
    settings: Arc<Settings>,
    in_flight: Semaphore,
}

type Results = Vec<Result<(), PublishError>>;

/// The places in a group of what came back because no queue took it.
type Returned = Vec<usize>;

impl Publishing {
    pub(super) fn new(keeper: Keeper, settings: Arc<Settings>) -> Self {
        Self { keeper, settings, in_flight: Semaphore::new(IN_FLIGHT) }
    }

    fn is_ready(&self) -> bool {
        self.keeper.now().is_some_and(|link| !link.is_blocked() && link.connection.status().connected())
    }

    /// Publishes all, in order, and says of each whether it was confirmed.
    pub(super) async fn publish_each(&self, items: &[(Target, Message)]) -> Results {
        let mut results = Vec::with_capacity(items.len());
        for group in items.chunks(GROUP) {
            match self.publish_group(group).await {
                Ok(group) => results.extend(group),
                // What comes after a group that failed is not tried: the order would suffer.
                Err(error) => {
                    results.resize(items.len(), Err(error));
                    break;
                }
            }
        }
        results
    }

    /// What no queue took is published once more, over the next connection, which makes what is
    /// missing. It need not be missing: just after it was made, a broker may not know of a binding yet.
    async fn publish_group(&self, group: &[(Target, Message)]) -> Result<Results, PublishError> {
        let deadline = Instant::now() + self.settings.confirm_timeout;
        let (mut results, returned) = self.publish_before(deadline, group).await?;
        if !returned.is_empty() {
            let again: Vec<_> = returned.iter().map(|n| group[*n].clone()).collect();
            if let Ok((second, _)) = self.publish_before(deadline, &again).await {
                for (n, result) in returned.into_iter().zip(second) {
                    results[n] = result;
                }
            }
        }
        Ok(results)
    }

    async fn publish_before(
        &self,
        deadline: Instant,
        group: &[(Target, Message)],
    ) -> Result<(Results, Returned), PublishError> {
        let Ok(Ok(_turn)) = timeout_at(deadline, self.in_flight.acquire()).await else {
            return Err(PublishError::Unavailable("too much is being published already".to_owned()));
        };
        let link =
            self.keeper.up(deadline).await.map_err(|problem| PublishError::Unavailable(problem.text))?;
        if link.is_blocked() {
            return Err(PublishError::Unavailable("the broker is short of memory or disk".to_owned()));
        }
        match timeout_at(deadline, publish_on(&link, group)).await {
            Ok(Ok(results)) => Ok(results),
            Ok(Err(error)) => Err(self.failed(&link, &error)),
            Err(_) => {
                // Unanswered confirms pile up on a connection; a blocked one is only waited for,
                // because every new one would be blocked as well.
                if !link.is_blocked() {
                    link.give_up(NO_ANSWER);
                }
                Err(PublishError::Timeout)
            }
        }
    }

    fn failed(&self, link: &Link, error: &lapin::Error) -> PublishError {
        let problem = Problem::of(error, &self.settings);
        match code(error) {
            // 406 on a publish: larger than the broker's max_message_size.
            Some(406) => PublishError::Unfit(problem.text),
            // The exchange is gone: a new connection makes it again.
            Some(404) => {
                link.give_up(GONE);
                PublishError::Unavailable(problem.text)
            }
            _ => PublishError::Unavailable(problem.text),
        }
    }
}

/// Publishes a group on a channel of its own and awaits its confirms. A channel on which anything
/// went wrong is dropped, which closes it.
async fn publish_on(link: &Link, group: &[(Target, Message)]) -> lapin::Result<(Results, Returned)> {
    let channel = match link.take_spare() {
        Some(channel) if channel.status().connected() => channel,
        _ => {
            let channel = link.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            channel
        }
    };
    let (results, returned) = publish_and_confirm(&channel, group).await?;
    if !returned.is_empty() {
        // Nothing is bound, or a queue is gone: a new connection makes it again.
        link.give_up(GONE);
    } else if results.iter().all(Result::is_ok) {
        // Only then: once a quorum queue was full, a RabbitMQ 3.10 may go on refusing what comes over
        // the same channel, also after its limit was lifted.
        link.put_spare(channel);
    }
    Ok((results, returned))
}

async fn publish_and_confirm(
    channel: &Channel,
    group: &[(Target, Message)],
) -> lapin::Result<(Results, Returned)> {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut confirms = Vec::with_capacity(group.len());
    for (target, message) in group {
        let (exchange, key) = (wire::short(&target.exchange), wire::short(&target.routing_key));
        let properties = wire::properties(message);
        match channel.basic_publish(exchange, key, mandatory, &message.body, properties).await {
            Ok(confirm) => confirms.push(confirm),
            Err(error) => return Err(cause(error, confirms).await),
        }
    }
    crash::point("before_confirm");
    let mut results = Vec::with_capacity(group.len());
    let mut unroutable = Vec::new();
    for confirm in confirms {
        let confirmation = confirm.await?;
        results.push(match &confirmation {
            Confirmation::Ack(_) => Ok(()),
            Confirmation::Nack(_) => Err(PublishError::Refused("the queue is full".to_owned())),
            Confirmation::NotRequested => {
                Err(PublishError::Refused("the channel is not in confirm mode".to_owned()))
            }
        });
        if let Confirmation::Ack(Some(returned)) | Confirmation::Nack(Some(returned)) = confirmation {
            unroutable.push(Target {
                exchange: returned.exchange.as_str().to_owned(),
                routing_key: returned.routing_key.as_str().to_owned(),
            });
        }
    }
    crash::point("after_confirm");
    let returned: Returned = (0..group.len()).filter(|n| unroutable.contains(&group[*n].0)).collect();
    for n in &returned {
        results[*n] = Err(PublishError::Refused(format!(
            "no queue takes what is published to exchange {:?}",
            group[*n].0.exchange
        )));
    }
    Ok((results, returned))
}

/// Why a channel takes no more: the broker tells it to those that wait for a confirm.
async fn cause(error: lapin::Error, confirms: Vec<PublisherConfirm>) -> lapin::Error {
    for confirm in confirms {
        if let Err(cause) = confirm.await
            && code(&cause).is_some()
        {
            return cause;
        }
    }
    error
}

/// Publishes to the exchange of events, or straight to the work queue.
#[derive(Clone)]
pub(in crate::queue) struct AmqpPublisher {
    queue: Amqp,
    publishing: Arc<Publishing>,
}

impl AmqpPublisher {
    pub(super) fn new(queue: Amqp, publishing: Arc<Publishing>) -> Self {
        Self { queue, publishing }
    }

    pub(in crate::queue) async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let exchange = &self.queue.settings().topology.exchange;
        let target = |key: &String| Target { exchange: exchange.clone(), routing_key: key.clone() };
        let items: Vec<_> = messages.into_iter().map(|m| (target(&m.routing_key), m)).collect();
        self.publishing.publish_each(&items).await.into_iter().collect()
    }

    pub(in crate::queue) async fn publish_to_work(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let work = Target::queue(&self.queue.settings().topology.work);
        let items: Vec<_> = messages.into_iter().map(|message| (work.clone(), message)).collect();
        self.publishing.publish_each(&items).await.into_iter().collect()
    }

    pub(in crate::queue) fn is_ready(&self) -> bool {
        !self.queue.stop().is_cancelled() && self.publishing.is_ready()
    }
}
