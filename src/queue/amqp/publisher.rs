//! Publishes messages and waits for their confirms.
//!
//! Each group of messages has its own channel until its last confirm. lapin attaches a returned message to the
//! next confirm, which may belong to another message; within a group this is harmless, because returned
//! messages are identified by their target.
//!
//! Messages that many callers publish at the same time ([`Publishing::publish_grouped`]) wait for a free
//! channel and are then published as one group, so the number of channels does not limit an edge with many
//! connections.

use std::sync::{Arc, Mutex};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, PublisherConfirm};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::connection::{BrokerConnection, ConnectionManager, NO_ANSWER};
use super::header_keys::HeaderKeys;
use super::problem::{Problem, code};
use super::{Amqp, Settings, wire};
use crate::queue::{Message, PublishError, metrics};
use crate::runtime::{crash_points, locked};

/// The number of messages that are published before their confirms are awaited.
const GROUP_SIZE: usize = 256;

/// A call with at least this many messages gets its own channel; smaller calls share groups.
const OWN_GROUP_SIZE: usize = 16;

/// The maximum number of groups, and so of channels, in flight at once. More groups would not be confirmed
/// faster.
const MAX_GROUPS_IN_FLIGHT: usize = 16;

const TOPOLOGY_MISSING: &str = "an exchange or a queue is missing; connecting again to check the topology";

/// The destination of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The exchange; empty for the default exchange, where the routing key is the name of a queue.
    pub(super) exchange: String,
    pub(super) routing_key: String,
}

impl Target {
    pub(super) fn queue(name: &str) -> Self {
        Self { exchange: String::new(), routing_key: name.to_owned() }
    }
}

/// The publishing connection and the messages in flight on it.
pub(in crate::queue) struct Publishing {
    pub(super) manager: ConnectionManager,
    pub(super) settings: Arc<Settings>,
    in_flight: Arc<Semaphore>,
    waiting: Mutex<Vec<WaitingCall>>,
}

/// A call whose messages wait to be published in a group.
struct WaitingCall {
    items: Vec<(Target, Message)>,
    reply: oneshot::Sender<Results>,
}

type Results = Vec<Result<(), PublishError>>;

/// The positions in a group of the messages that were returned because no queue accepted them.
type Returned = Vec<usize>;

impl Publishing {
    pub(super) fn new(manager: ConnectionManager, settings: Arc<Settings>) -> Self {
        Self {
            manager,
            settings,
            in_flight: Arc::new(Semaphore::new(MAX_GROUPS_IN_FLIGHT)),
            waiting: Mutex::default(),
        }
    }

    fn is_ready(&self) -> bool {
        self.manager
            .current()
            .is_some_and(|connection| !connection.is_blocked() && connection.inner.status().connected())
    }

    /// Waits for a connection if there is none, otherwise without end.
    pub(super) async fn wait_for_reconnect(&self) {
        if self.manager.current().is_some() {
            std::future::pending::<()>().await;
        }
        self.manager.wait_until_connected().await;
    }

    /// Publishes all messages in order. Returns, for each message, whether it was confirmed.
    pub(super) async fn publish_each(&self, items: &[(Target, Message)]) -> Results {
        let mut results = Vec::with_capacity(items.len());
        for group in items.chunks(GROUP_SIZE) {
            let deadline = self.deadline();
            let published = match timeout_at(deadline, self.in_flight.acquire()).await {
                Ok(Ok(_permit)) => self.publish_group(deadline, group).await,
                _ => Err(too_many_in_flight()),
            };
            match published {
                Ok(group) => results.extend(group),
                // The groups after a failed one are not published, to keep the order.
                Err(error) => {
                    results.resize(items.len(), Err(error));
                    break;
                }
            }
        }
        metrics::count_published(&results);
        results
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.settings.confirm_timeout
    }

    /// Publishes a few messages, in one group with the messages of other callers that wait for a channel. A
    /// caller that stops waiting before it gets a channel has published nothing.
    pub(super) async fn publish_grouped(self: &Arc<Self>, items: Vec<(Target, Message)>) -> Results {
        let (count, deadline) = (items.len(), self.deadline());
        let (reply, mut results) = oneshot::channel();
        locked(&self.waiting).push(WaitingCall { items, reply });
        let permit = tokio::select! {
            biased;
            results = &mut results => return results.unwrap_or_else(|_| vec![Err(PublishError::Timeout); count]),
            permit = timeout_at(deadline, Arc::clone(&self.in_flight).acquire_owned()) => permit,
        };
        let Ok(Ok(permit)) = permit else {
            let results = vec![Err(too_many_in_flight()); count];
            metrics::count_published(&results);
            return results;
        };
        // Take all waiting calls. This call is among them, unless another call has already taken it.
        let waiting = std::mem::take(&mut *locked(&self.waiting));
        if !waiting.is_empty() {
            let publishing = Arc::clone(self);
            // This runs in its own task, so that the other callers' messages are still published if this
            // caller stops waiting.
            tokio::spawn(async move {
                publishing.publish_waiting(waiting).await;
                drop(permit);
            });
        }
        results.await.unwrap_or_else(|_| vec![Err(PublishError::Timeout); count])
    }

    /// Publishes the messages of the callers that still wait, one group after the other.
    async fn publish_waiting(&self, mut waiting: Vec<WaitingCall>) {
        loop {
            waiting.retain(|call| !call.reply.is_closed());
            if waiting.is_empty() {
                return;
            }
            let mut messages = 0;
            let fits = |call: &&WaitingCall| {
                messages += call.items.len();
                messages <= GROUP_SIZE
            };
            // At least one call fits, because each has fewer than OWN_GROUP_SIZE messages.
            let count = waiting.iter().take_while(fits).count();
            let rest = waiting.split_off(count);
            self.publish_and_reply(std::mem::replace(&mut waiting, rest)).await;
        }
    }

    async fn publish_and_reply(&self, mut waiting: Vec<WaitingCall>) {
        let sizes: Vec<usize> = waiting.iter().map(|call| call.items.len()).collect();
        let group: Vec<_> = waiting.iter_mut().flat_map(|call| std::mem::take(&mut call.items)).collect();
        let all = self.publish_group(self.deadline(), &group).await;
        let mut first = 0;
        for (call, size) in waiting.into_iter().zip(sizes) {
            let own = first..first + size;
            first = own.end;
            let results = match &all {
                Ok(results) => results[own].to_vec(),
                // The broker may have closed the channel because of another caller's message.
                Err(PublishError::ExceedsLimit(_)) if size < group.len() => {
                    let separately = self.publish_group(self.deadline(), &group[own]).await;
                    separately.unwrap_or_else(|error| vec![Err(error); size])
                }
                Err(error) => vec![Err(error.clone()); size],
            };
            metrics::count_published(&results);
            let _ignored = call.reply.send(results);
        }
    }

    /// Publishes a group. Messages that no queue accepted are published once more, on the next connection,
    /// which creates what is missing. They may be returned again, because a new binding takes a moment to take
    /// effect.
    async fn publish_group(
        &self,
        deadline: Instant,
        group: &[(Target, Message)],
    ) -> Result<Results, PublishError> {
        let (mut results, returned) = self.publish_by_deadline(deadline, group).await?;
        if !returned.is_empty() {
            let again: Vec<_> = returned.iter().map(|n| group[*n].clone()).collect();
            if let Ok((second, _)) = self.publish_by_deadline(deadline, &again).await {
                for (n, result) in returned.into_iter().zip(second) {
                    results[n] = result;
                }
            }
        }
        Ok(results)
    }

    async fn publish_by_deadline(
        &self,
        deadline: Instant,
        group: &[(Target, Message)],
    ) -> Result<(Results, Returned), PublishError> {
        let connection = self
            .manager
            .wait_until_connected_by(deadline)
            .await
            .map_err(|problem| PublishError::Unavailable(problem.text))?;
        if connection.is_blocked() {
            return Err(PublishError::Unavailable("the broker is short of memory or disk".to_owned()));
        }
        match timeout_at(deadline, publish_on(&connection, group, &self.settings)).await {
            Ok(Ok(results)) => Ok(results),
            Ok(Err(error)) => Err(self.handle_failure(&connection, &error)),
            Err(_) => {
                // Pending confirms accumulate on a connection, so abandon it; but keep a blocked one, because
                // a new connection would be blocked as well.
                if !connection.is_blocked() {
                    connection.abandon(NO_ANSWER);
                }
                Err(PublishError::Timeout)
            }
        }
    }

    fn handle_failure(&self, connection: &BrokerConnection, error: &lapin::Error) -> PublishError {
        let problem = Problem::of(error, &self.settings);
        match code(error) {
            // The message is larger than the broker's max_message_size. This closes only the group's channel.
            Some(406) => PublishError::ExceedsLimit(problem.text),
            // The exchange does not exist: a new connection creates it again.
            Some(404) => {
                connection.abandon(TOPOLOGY_MISSING);
                PublishError::Unavailable(problem.text)
            }
            _ => PublishError::Unavailable(problem.text),
        }
    }
}

fn too_many_in_flight() -> PublishError {
    PublishError::Unavailable("too many messages are already being published".to_owned())
}

/// Publishes a group on its own channel and awaits the confirms. After any failure the channel is
/// dropped, which closes it.
async fn publish_on(
    connection: &BrokerConnection,
    group: &[(Target, Message)],
    settings: &Settings,
) -> lapin::Result<(Results, Returned)> {
    let idle = locked(&connection.idle_channels).pop();
    let channel = match idle {
        Some(channel) if channel.status().connected() => channel,
        _ => {
            let channel = connection.inner.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            channel
        }
    };
    let frame_max = connection.inner.configuration().frame_max();
    let frame_max = usize::try_from(frame_max).unwrap_or(usize::MAX);
    let (results, returned) = publish_and_confirm(&channel, group, frame_max, &settings.header_keys).await?;
    if !returned.is_empty() {
        // No queue is bound, or a queue does not exist: a new connection restores it.
        connection.abandon(TOPOLOGY_MISSING);
    } else if results.iter().all(Result::is_ok) {
        // Reuse the channel only after success: once a quorum queue was full, RabbitMQ 3.10 may keep refusing
        // messages on the same channel even when the queue has room again.
        locked(&connection.idle_channels).push(channel);
    }
    Ok((results, returned))
}

async fn publish_and_confirm(
    channel: &Channel,
    group: &[(Target, Message)],
    frame_max: usize,
    keys: &HeaderKeys,
) -> lapin::Result<(Results, Returned)> {
    let mandatory = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let mut confirms = Vec::with_capacity(group.len());
    for (target, message) in group {
        let (exchange, key) = (wire::short_string(&target.exchange), wire::short_string(&target.routing_key));
        let properties = wire::properties(message, keys);
        let size = wire::header_frame_size(&properties);
        if size > frame_max {
            // The broker would close the connection.
            let problem =
                format!("its headers need {size} bytes, and a frame may have {frame_max} (frame_max)");
            confirms.push(Err(PublishError::ExceedsLimit(problem)));
            continue;
        }
        match channel.basic_publish(exchange, key, mandatory, &message.body, properties).await {
            Ok(confirm) => confirms.push(Ok(confirm)),
            Err(error) => return Err(close_reason(error, confirms.into_iter().flatten()).await),
        }
    }
    crash_points::point("before_confirm");
    let mut results = Vec::with_capacity(group.len());
    let mut unroutable = Vec::new();
    for confirm in confirms {
        let confirmation = match confirm {
            Ok(confirm) => confirm.await?,
            Err(error) => {
                results.push(Err(error));
                continue;
            }
        };
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
    crash_points::point("after_confirm");
    let returned: Returned = (0..group.len()).filter(|n| unroutable.contains(&group[*n].0)).collect();
    for n in &returned {
        let Target { exchange, routing_key } = &group[*n].0;
        results[*n] = Err(PublishError::Returned(match exchange.as_str() {
            "" => format!("queue {routing_key:?} does not exist"),
            exchange => format!("exchange {exchange:?} routes the message to no queue"),
        }));
    }
    Ok((results, returned))
}

/// Returns the reason why the broker closed the channel, which lapin reports only to pending confirms.
async fn close_reason(error: lapin::Error, confirms: impl Iterator<Item = PublisherConfirm>) -> lapin::Error {
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
impl Amqp {
    pub(in crate::queue) async fn publish(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let exchange = self.exchange();
        let target = |key: &String| Target { exchange: exchange.to_owned(), routing_key: key.clone() };
        let items: Vec<_> = messages.into_iter().map(|m| (target(&m.routing_key), m)).collect();
        let results = match items.len() {
            1..OWN_GROUP_SIZE => self.publishing().publish_grouped(items).await,
            _ => self.publishing().publish_each(&items).await,
        };
        results.into_iter().collect()
    }

    pub(in crate::queue) async fn publish_to_work(&self, messages: Vec<Message>) -> Result<(), PublishError> {
        let work = Target::queue(&self.0.settings.topology.work);
        let items: Vec<_> = messages.into_iter().map(|message| (work.clone(), message)).collect();
        self.publishing().publish_each(&items).await.into_iter().collect()
    }

    pub(in crate::queue) fn exchange(&self) -> &str {
        &self.0.settings.topology.exchange
    }

    pub(in crate::queue) async fn is_blocked(&self) -> bool {
        self.publishing().is_blocked().await
    }

    pub(in crate::queue) fn is_ready(&self) -> bool {
        !self.0.stop.is_cancelled() && self.publishing().is_ready()
    }
}
