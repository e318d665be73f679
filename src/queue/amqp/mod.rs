//! The queue on RabbitMQ.
//!
//! There are two connections, each kept alive by its own task ([`connection`]): one publishes, the other consumes
//! and acknowledges, because a broker that is short of memory blocks a publishing connection completely,
//! including acknowledgements. lapin's own recovery is not used, because consumers get no error if it fails.
//! Every wait for the network has a deadline.

pub mod topology;
mod address;
mod problem;
mod connection;
mod large_frames;
mod header_keys;
mod wire;
mod publisher;
mod probe;
mod subscription;
mod delivery_tags;
mod settle;
mod consumer;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::uri::AMQPUri;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::{ConnectionManager, Role};
use self::header_keys::HeaderKeys;
use self::publisher::Publishing;
use self::topology::{QueueSpec, Topology};
use super::consumer::WaitingCopies;
use super::{Level, QueueError, QueueRole};
use crate::config::{self, QueueConfig};

pub(crate) use self::connection::open;
pub(super) use self::consumer::AmqpConsumer;
pub(crate) use self::probe::{PublishAnswer, wait_unless_blocked};
pub(crate) use self::problem::{Problem, code};
pub(super) use self::settle::AmqpSettler;

/// The time limit of [`Amqp::close`].
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings that all connections share. There is no `Debug`, because the address contains a password.
pub(crate) struct Settings {
    pub(crate) address: AMQPUri,
    pub(crate) topology: Topology,
    pub(crate) mode: config::Topology,
    header_keys: HeaderKeys,
    prefetch: u16,
    confirm_timeout: Duration,
    pub(crate) connect_timeout: Duration,
}

impl Settings {
    pub(crate) fn of(config: &QueueConfig) -> Result<Self, QueueError> {
        let address = address::parse(config.url.expose())?;
        Ok(Self {
            header_keys: HeaderKeys::new(&config.header_key, &address.authority.userinfo.password),
            address,
            topology: Topology::new(config)?,
            mode: config.topology,
            prefetch: config.prefetch,
            confirm_timeout: config.confirm_timeout,
            connect_timeout: config.connect_timeout,
        })
    }
}

#[derive(Clone)]
pub(super) struct Amqp(Arc<Inner>);

struct Inner {
    settings: Arc<Settings>,
    /// Connected on first use, because the edge never consumes.
    consuming: OnceLock<ConnectionManager>,
    publishing: OnceLock<Arc<Publishing>>,
    waiting_copies: WaitingCopies,
    /// Notifies each connection when the other one is stable.
    broker_back: watch::Sender<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Amqp {
    pub(super) fn open(config: &QueueConfig) -> Result<Self, QueueError> {
        Ok(Self(Arc::new(Inner {
            settings: Arc::new(Settings::of(config)?),
            consuming: OnceLock::new(),
            publishing: OnceLock::new(),
            waiting_copies: WaitingCopies::default(),
            broker_back: watch::Sender::default(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })))
    }

    pub(super) async fn levels(&self) -> Result<Vec<Level>, QueueError> {
        let settings = &self.0.settings;
        let deadline = Instant::now() + settings.connect_timeout;
        let unavailable = |problem: Problem| QueueError::Unavailable(problem.text);
        let connection = self.consuming().wait_until_connected_by(deadline).await.map_err(unavailable)?;
        let Topology { work, queues, .. } = &settings.topology;
        let counted = async {
            let channel = connection.inner.create_channel().await?;
            let mut levels: Vec<Level> = Vec::new();
            for QueueSpec { role, name, .. } in queues {
                let (ready, consumers) = topology::inspect(&channel, name).await?;
                match levels.iter_mut().find(|level| level.role == *role) {
                    Some(level) => {
                        level.ready += u64::from(ready);
                        level.consumers = level.consumers.map(|others| others + u64::from(consumers));
                    }
                    None => levels.push(Level {
                        name: if *role == QueueRole::Retry { format!("{work}.retry") } else { name.clone() },
                        role: *role,
                        ready: ready.into(),
                        unacked: None,
                        consumers: Some(consumers.into()),
                    }),
                }
            }
            // Dropping the channel would close it too, but without reporting a failure.
            channel.close(200, "inspected".into()).await?;
            Ok(levels)
        };
        match timeout(settings.connect_timeout, counted).await {
            Ok(Ok(levels)) => Ok(levels),
            Ok(Err(error)) => Err(unavailable(Problem::of(&error, settings))),
            Err(_) => Err(QueueError::Unavailable("it did not answer in time".to_owned())),
        }
    }

    pub(super) fn waiting_copies(&self) -> WaitingCopies {
        self.0.waiting_copies.clone()
    }

    pub(super) async fn close(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        if timeout(CLOSE_TIMEOUT, self.0.tasks.wait()).await.is_err() {
            tracing::warn!("the broker did not close the connections in time; they were abandoned");
        }
    }

    /// Returns the manager of the connection that consumes and acknowledges.
    fn consuming(&self) -> &ConnectionManager {
        self.0.consuming.get_or_init(|| self.start_connection(Role::Consume))
    }

    /// Returns the publisher on the connection that publishes.
    pub(super) fn publishing(&self) -> &Arc<Publishing> {
        let start =
            || Arc::new(Publishing::new(self.start_connection(Role::Publish), self.0.settings.clone()));
        self.0.publishing.get_or_init(start)
    }

    fn start_connection(&self, role: Role) -> ConnectionManager {
        let Inner { settings, broker_back, stop, tasks, .. } = &*self.0;
        ConnectionManager::start(role, settings.clone(), broker_back.clone(), stop.clone(), tasks)
    }
}
