//! Runs the measurements, one after the other, each with its own queue and database.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;
use tempfile::TempDir;

use crate::Result;
use crate::bookings::Booking;
use crate::broker::Broker;
use crate::costs::{Costs, Watched, measure};
use crate::database::Engine;
use crate::disk;
use crate::filling;
use crate::floor::{self, BatchSettings, Floor};
use crate::large;
use crate::quantiles::Quantiles;
use crate::record;
use crate::salon::Salon;
use crate::table::{self, TableRow};
use crate::workers::{self, Setup};

/// The floors use the worker's defaults.
const SETTINGS: BatchSettings = BatchSettings { pipelines: 2, batch: 200, prefetch: 400 };

/// At batch size 1, the number of events is divided by this.
const SINGLE_BATCH_DIVISOR: u64 = 6;

/// The rate and the duration of the measurement at a steady rate.
const STEADY_PER_SECOND: u32 = 200;
const STEADY_SECONDS: u64 = 10;

/// One measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) engine: &'static str,
    pub(crate) what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) costs: Option<Costs>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publish_to_commit: Option<Quantiles>,
}

/// All measurements of a run.
pub(crate) struct Measurements {
    events: u64,
    times: usize,
    directory: TempDir,
    figures: Vec<Figure>,
}

impl Measurements {
    /// Creates a run with this many events in each measurement, repeated this many times.
    ///
    /// # Errors
    /// Fails if no directory can be created.
    pub(crate) fn new(events: u64, times: usize) -> Result<Self> {
        table::print_header(events)?;
        Ok(Self { events, times: times.max(1), directory: tempfile::tempdir()?, figures: Vec::new() })
    }

    /// Measures the floors.
    ///
    /// # Errors
    /// Fails if something cannot be measured.
    pub(crate) async fn floors(&mut self, engine: Engine) -> Result<()> {
        for (floor, what) in [
            (Floor::Consume, "floor a: consume and acknowledge"),
            (Floor::Update, "floor b: parse and one UPDATE"),
            (Floor::Rows, "floor c: the worker's rows"),
        ] {
            let costs = self.median(engine, self.events, async |broker, salon, events, watched| {
                let work = floor::drain(floor, broker, salon.clone(), events, SETTINGS);
                let costs = measure(events, watched, work).await?;
                if floor != Floor::Consume {
                    salon.check_appointments(events).await?;
                }
                if floor == Floor::Rows {
                    salon.check_rows(events, floor::count_readable(events)).await?;
                }
                Ok(costs)
            });
            let costs = costs.await?;
            self.show_costs(engine, what.to_owned(), costs)?;
        }
        Ok(())
    }

    /// Measures the worker with its defaults.
    ///
    /// # Errors
    /// Fails if something cannot be measured.
    pub(crate) async fn worker(&mut self, engine: Engine) -> Result<()> {
        self.measure(engine, "worker", self.events, Setup::default()).await
    }

    /// Measures the worker with one event in each transaction.
    ///
    /// # Errors
    /// Fails if something cannot be measured.
    pub(crate) async fn one_by_one(&mut self, engine: Engine) -> Result<()> {
        let setup = Setup { batch: Some(1), ..Setup::default() };
        self.measure(engine, "worker, batch size 1", self.events / SINGLE_BATCH_DIVISOR, setup).await
    }

    /// Measures the worker with other batch sizes and other numbers of pipelines, processes and waiting
    /// events.
    ///
    /// # Errors
    /// Fails if something cannot be measured.
    pub(crate) async fn sizes(&mut self, engine: Engine) -> Result<()> {
        let usual = Setup::default();
        for batch in [10, 50, 200, 1000] {
            let setup = Setup { batch: Some(batch), ..usual };
            self.measure(engine, &format!("worker, batch size {batch}"), self.events, setup).await?;
        }
        for pipelines in [1, 2, 3, 4] {
            let setup = Setup { pipelines: Some(pipelines), ..usual };
            self.measure(engine, &format!("worker, pipelines {pipelines}"), self.events, setup).await?;
        }
        self.measure(engine, "2 workers", self.events, Setup { processes: 2, ..usual }).await?;
        for events in [10_000, 1_000_000] {
            self.measure(engine, &format!("worker, {events} waiting"), events, usual).await?;
        }
        Ok(())
    }

    /// Measures the time that an event takes when the worker is not busy.
    ///
    /// # Errors
    /// Fails if something cannot be measured.
    pub(crate) async fn steady(&mut self, engine: Engine) -> Result<()> {
        let events = u64::from(STEADY_PER_SECOND) * STEADY_SECONDS;
        let (broker, salon) =
            (Broker::open().await?, Salon::open(engine, self.directory.path(), events).await?);
        let took = workers::measure_latency(&broker, &salon, STEADY_PER_SECOND, self.directory.path()).await;
        broker.remove().await?;
        salon.scratch.remove().await?;
        let figure = Figure {
            engine: engine.name(),
            what: format!("worker, {STEADY_PER_SECOND} events/s"),
            costs: None,
            publish_to_commit: Some(took?),
        };
        self.show(figure)
    }

    /// Compares a large installation with a small one.
    ///
    /// # Errors
    /// Fails if something cannot be measured.
    pub(crate) async fn large(&mut self, engine: Engine) -> Result<()> {
        let directory = self.directory.path().to_owned();
        large::measure(engine, &directory, |what, costs| {
            self.show(Figure { engine: engine.name(), what, costs, publish_to_commit: None })
        })
        .await
    }

    /// Measures the size of the tables after all events are decided.
    ///
    /// # Errors
    /// Fails if something cannot be measured.
    pub(crate) async fn disk(&mut self, engine: Engine) -> Result<()> {
        let (directory, events) = (self.directory.path().to_owned(), self.events);
        let (broker, watched) = (Broker::open().await?, Watched::of(engine));
        let salon = Salon::open(engine, &directory, events).await?;
        filling::publish(&broker, (0..events).map(Booking::nth)).await?;
        workers::drain(&Setup::default(), &broker, &salon, events, &watched, &directory).await?;
        for what in disk::sizes(&salon, events).await? {
            self.show(Figure { engine: engine.name(), what, costs: None, publish_to_commit: None })?;
        }
        broker.remove().await?;
        salon.scratch.remove().await
    }

    async fn measure(&mut self, engine: Engine, what: &str, events: u64, setup: Setup) -> Result<()> {
        let directory = self.directory.path().to_owned();
        let costs = self.median(engine, events, async |broker, salon, events, watched| {
            workers::drain(&setup, broker, salon, events, watched, &directory).await
        });
        let costs = costs.await?;
        self.show_costs(engine, what.to_owned(), costs)
    }

    /// Fills a queue and a database, runs `work` on them, and removes them, as often as requested. Returns
    /// the median of the costs.
    async fn median(
        &self,
        engine: Engine,
        events: u64,
        work: impl AsyncFn(&Broker, &Arc<Salon>, u64, &Watched) -> Result<Costs>,
    ) -> Result<Costs> {
        let watched = Watched::of(engine);
        let mut all = Vec::new();
        for _ in 0..self.times {
            let broker = Broker::open().await?;
            let salon = Arc::new(Salon::open(engine, self.directory.path(), events).await?);
            filling::publish(&broker, (0..events).map(Booking::nth)).await?;
            let costs = work(&broker, &salon, events, &watched).await;
            broker.remove().await?;
            Arc::into_inner(salon).ok_or("the database is still in use")?.scratch.remove().await?;
            all.push(costs?);
        }
        all.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
        let middle = all.len() / 2;
        Ok(all.swap_remove(middle))
    }

    fn show_costs(&mut self, engine: Engine, what: String, costs: Costs) -> Result<()> {
        self.show(Figure { engine: engine.name(), what, costs: Some(costs), publish_to_commit: None })
    }

    fn show(&mut self, figure: Figure) -> Result<()> {
        let floor = |letter: &str| {
            let prefix = format!("floor {letter}");
            let floor =
                self.figures.iter().find(|one| one.engine == figure.engine && one.what.starts_with(&prefix));
            floor.and_then(|one| one.costs.as_ref()).map(|costs| costs.per_second)
        };
        table::print_row(&TableRow { figure: &figure, floors: ["a", "b", "c"].map(floor) })?;
        self.figures.push(figure);
        Ok(())
    }

    /// Writes all figures.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub(crate) fn write(self, path: Option<PathBuf>) -> Result<()> {
        record::write(path, "drain", &self.figures)
    }
}
