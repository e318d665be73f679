//! Runs the demo's edge and worker in this process.

use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::cli::failure::Failure;
use crate::config::Config;
use crate::edge;
use crate::queue::Queue;
use crate::runtime::shutdown::Shutdown;
use crate::store::{Database, GatewaySchema};
use crate::worker::{Tally, Worker};

/// The running edge and worker. They end with [`Servers::stop`], or when the value is dropped.
pub(super) struct Servers {
    tasks: JoinSet<Result<(), Failure>>,
    stop: Shutdown,
    pub(super) queue: Queue,
    /// The worker's counts.
    pub(super) tally: Tally,
}

impl Servers {
    /// Starts the edge and the worker.
    ///
    /// # Errors
    /// Fails if the queue file or the database cannot be used.
    pub(super) async fn start(
        config: &Arc<Config>,
        database: &Database,
        listener: TcpListener,
    ) -> Result<Self, Failure> {
        let schema = GatewaySchema::read(database, &config.gateway).await?;
        let queue = Queue::open(&config.queue).await?;
        let stop = Shutdown::new();
        let mut tasks = JoinSet::new();
        let worker = Worker::new(config.clone(), database.clone(), schema, queue.clone());
        let (tally, until) = (worker.tally(), stop.clone());
        tasks.spawn(async move { Ok(worker.run(until, false).await?) });
        let (edge, publisher, until) = (config.clone(), queue.publisher(), stop.clone());
        tasks.spawn(async move { Ok(edge::serve(&edge.edge, publisher, listener, None, until).await?) });
        Ok(Self { tasks, stop, queue, tally })
    }

    /// Waits until the edge or the worker stops unexpectedly, and returns the reason.
    pub(super) async fn wait_for_failure(&mut self) -> Failure {
        let early = "the edge or the worker stopped unexpectedly; run the demo again with -v to see why";
        match self.tasks.join_next().await {
            Some(Ok(Err(failure))) => failure,
            _ => Failure::new(crate::cli::exit::Exit::Failed, early),
        }
    }

    /// Stops both after they have finished what they are processing.
    pub(super) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.queue.close().await;
    }
}
