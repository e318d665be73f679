//! Keeps one connection to the broker alive.
//!
//! A task connects, creates or checks the topology, provides the connection, watches it, closes it on the first
//! error, waits (growing delays with jitter), and starts again, until the queue is closed. When one of the two
//! connections is stable, the other one does not wait any longer.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::problem::{Problem, code};
use super::{Settings, large_frames, topology};
use crate::queue::metrics;
use crate::runtime::backoff::Delays;

const FIRST_DELAY: Duration = Duration::from_millis(200);
const MAX_DELAY: Duration = Duration::from_secs(30);
/// A connection that has lasted this long is stable: the delays start over. Before that, two connections that are
/// lost at once would make each other try again without a delay.
const STABLE_AFTER: Duration = Duration::from_secs(2);
/// The shortest wait after a problem that only an operator can solve.
const CONFIGURATION_DELAY: Duration = Duration::from_secs(5);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The reply code for a frame that is too large. lapin uses it too, for a frame from the broker.
const FRAME_ERROR: u16 = 501;

/// The purpose of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Role {
    Consume,
    Publish,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Consume => "consume",
            Self::Publish => "publish",
        }
    }
}

/// One established connection; a reconnect creates another one. A delivery can be settled only on the
/// connection that received it.
pub(super) struct BrokerConnection {
    pub(super) inner: Connection,
    /// Idle channels in confirm mode.
    pub(super) idle_channels: Mutex<Vec<Channel>>,
    blocked: AtomicBool,
    /// Cancelled when the connection is no longer used.
    pub(super) ended: CancellationToken,
    /// The reason why the connection was abandoned.
    reason: OnceLock<&'static str>,
}

/// The most common reason to abandon a connection.
pub(super) const NO_ANSWER: &str = "the broker did not answer in time";

impl BrokerConnection {
    /// Abandons the connection. The reason of the first call is logged.
    pub(super) fn abandon(&self, reason: &'static str) {
        let _ = self.reason.set(reason);
        self.ended.cancel();
    }

    /// Returns whether the broker is short of memory or disk, and so does not read from this connection.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
enum State {
    Down(Problem),
    Up(Arc<BrokerConnection>),
}

/// Provides the current connection, which a task establishes again whenever it is lost.
#[derive(Clone)]
pub(super) struct ConnectionManager(watch::Receiver<State>);

impl ConnectionManager {
    /// Starts the task that keeps a connection for `role`, until `stop`. `broker_back` is shared by all
    /// connections.
    pub(super) fn start(
        role: Role,
        settings: Arc<Settings>,
        broker_back: watch::Sender<()>,
        stop: CancellationToken,
        tasks: &TaskTracker,
    ) -> Self {
        let (state, receiver) = watch::channel(State::Down(Problem::temporary("not connected yet")));
        tasks.spawn(keep_connected(role, settings, state, broker_back, stop));
        Self(receiver)
    }

    /// Returns the current connection, if there is one.
    pub(super) fn current(&self) -> Option<Arc<BrokerConnection>> {
        match &*self.0.borrow() {
            State::Up(connection) if !connection.ended.is_cancelled() => Some(connection.clone()),
            _ => None,
        }
    }

    /// Waits for a connection until `deadline`.
    ///
    /// # Errors
    /// Returns the newest problem if there is no connection by then.
    pub(super) async fn wait_until_connected_by(
        &self,
        deadline: Instant,
    ) -> Result<Arc<BrokerConnection>, Problem> {
        match timeout_at(deadline, self.wait_until_connected()).await {
            Ok(connection) => Ok(connection),
            Err(_) => Err(match &*self.0.borrow() {
                State::Down(problem) => problem.clone(),
                State::Up(_) => Problem::temporary("the connection was lost"),
            }),
        }
    }

    /// Waits for a connection, without a time limit.
    pub(super) async fn wait_until_connected(&self) -> Arc<BrokerConnection> {
        let mut state = self.0.clone();
        loop {
            if let State::Up(connection) = &*state.borrow_and_update()
                && !connection.ended.is_cancelled()
            {
                return connection.clone();
            }
            if state.changed().await.is_err() {
                // The task has ended because the queue was closed: no connection will ever come.
                std::future::pending::<()>().await;
            }
        }
    }
}

async fn keep_connected(
    role: Role,
    settings: Arc<Settings>,
    state: watch::Sender<State>,
    broker_back: watch::Sender<()>,
    stop: CancellationToken,
) {
    let mut is_back = broker_back.subscribe();
    metrics::register_connection(role.name());
    let mut was_up = false;
    let mut delays = Delays::new(FIRST_DELAY, MAX_DELAY);
    let mut logged_problem = None;
    let mut needs_large_frames = false;
    loop {
        // From here on, the other connection ends the wait below.
        is_back.mark_unchanged();
        let connected = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            connected = connect(role, &settings, needs_large_frames) => connected,
        };
        let problem = match connected {
            Ok(connection) => {
                tracing::info!(role = role.name(), "connected to the broker");
                logged_problem = None;
                metrics::set_connected(role.name(), true);
                if std::mem::replace(&mut was_up, true) {
                    metrics::count_reconnect(role.name());
                }
                let watching =
                    watch_until_lost(role, connection, &settings, &state, &stop, &mut needs_large_frames);
                let mut watching = pin!(watching);
                let problem = match timeout(STABLE_AFTER, watching.as_mut()).await {
                    Ok(problem) => problem,
                    Err(_) => {
                        delays.reset();
                        broker_back.send_replace(());
                        watching.await
                    }
                };
                is_back.mark_unchanged();
                metrics::set_connected(role.name(), false);
                problem
            }
            Err(problem) => problem,
        };
        if stop.is_cancelled() {
            return;
        }
        // Log each problem once, so that a long outage does not fill the log.
        if logged_problem.as_ref() != Some(&problem.text) {
            tracing::warn!(
                role = role.name(),
                problem = problem.text,
                "no connection to the broker; trying again"
            );
            logged_problem = Some(problem.text.clone());
        }
        let shortest = if problem.configuration { CONFIGURATION_DELAY } else { Duration::ZERO };
        state.send_replace(State::Down(problem));
        tokio::select! {
            () = stop.cancelled() => return,
            Ok(()) = is_back.changed() => delays.reset(),
            () = tokio::time::sleep(delays.next().max(shortest)) => {}
        }
    }
}

async fn connect(role: Role, settings: &Settings, large_frames: bool) -> Result<Connection, Problem> {
    let connected = async {
        let (address, properties) = (settings.address.clone(), properties(role.name()));
        let connection = if large_frames {
            large_frames::connect(address, properties).await?
        } else {
            Connection::connect_uri(address, properties).await?
        };
        topology::ensure(&connection, &settings.topology, settings.mode).await?;
        Ok(connection)
    };
    match timeout(settings.connect_timeout, connected).await {
        Ok(connected) => connected.map_err(|error| Problem::of(&error, settings)),
        Err(_) => Err(Problem::temporary(format!(
            "{}:{} did not answer within queue.connect_timeout",
            settings.address.authority.host, settings.address.authority.port
        ))),
    }
}

/// Opens a connection whose name states its purpose. Declares nothing on it.
pub(crate) async fn open(purpose: &str, settings: &Settings) -> lapin::Result<Connection> {
    Connection::connect_uri(settings.address.clone(), properties(purpose)).await
}

fn properties(purpose: &str) -> ConnectionProperties {
    let name = format!("hostmatch {purpose} ({})", std::process::id());
    ConnectionProperties::default()
        .with_connection_name(name.into_bytes().into())
        .with_client_property("product".into(), "hostmatch".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
}

/// Provides the connection through `state` until it breaks, is abandoned or is no longer needed. Returns the
/// reason, and sets `needs_large_frames` if the broker sent a frame that was too large.
async fn watch_until_lost(
    role: Role,
    connection: Connection,
    settings: &Settings,
    state: &watch::Sender<State>,
    stop: &CancellationToken,
    needs_large_frames: &mut bool,
) -> Problem {
    let mut events = Box::pin(connection.events_listener());
    let connection = Arc::new(BrokerConnection {
        inner: connection,
        idle_channels: Mutex::default(),
        blocked: AtomicBool::new(false),
        ended: CancellationToken::new(),
        reason: OnceLock::new(),
    });
    state.send_replace(State::Up(connection.clone()));
    // Events report most failures at once; a check every second detects the others.
    let mut check = tokio::time::interval(Duration::from_secs(1));
    let problem = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break Problem::temporary("the queue was closed"),
            () = connection.ended.cancelled() => break Problem::temporary(*connection.reason.get().unwrap_or(&NO_ANSWER)),
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    connection.blocked.store(true, Ordering::Relaxed);
                    metrics::set_blocked(role.name(), true);
                    tracing::warn!(role = role.name(), problem = reason, "the broker accepts no messages for now");
                }
                Some(Event::ConnectionUnblocked) => {
                    connection.blocked.store(false, Ordering::Relaxed);
                    metrics::set_blocked(role.name(), false);
                    tracing::info!(role = role.name(), "the broker accepts messages again");
                }
                // The broker closes the channel of a message that is too large, and the publisher gets that error.
                Some(Event::Error(error)) if matches!(role, Role::Publish) && code(&error) == Some(406) => {}
                Some(Event::Error(error)) => {
                    *needs_large_frames |= matches!(role, Role::Consume) && code(&error) == Some(FRAME_ERROR);
                    break Problem::of(&error, settings);
                }
                Some(_) => {}
                None => break Problem::temporary("the connection ended"),
            },
            _ = check.tick() => {
                if !connection.inner.status().connected() {
                    break Problem::temporary("the connection was lost");
                }
            }
        }
    };
    connection.ended.cancel();
    state.send_replace(State::Down(problem.clone()));
    // A blocked or dead connection does not answer; lapin then closes it in the background.
    if timeout(CLOSE_TIMEOUT, connection.inner.close(200, "bye".into())).await.is_err() {
        tracing::debug!(role = role.name(), "the broker did not confirm that the connection was closed");
    }
    problem
}
