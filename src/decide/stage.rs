//! One stage of a batch: how long it took is counted, and it is a step in the trace of the batch.

use std::time::{Instant, SystemTime};

use super::metrics::Meters;
use crate::telemetry::traces::Span;

/// A stage that has begun. Dropped before its end, because something failed, it is not counted.
pub(crate) struct Stage<'m> {
    meters: &'m Meters,
    name: &'static str,
    begun: Instant,
    /// The same by the clock of the world.
    pub(crate) begun_at: SystemTime,
    _step: Span,
}

impl<'m> Stage<'m> {
    pub(crate) fn begin(meters: &'m Meters, name: &'static str) -> Self {
        Self { meters, name, begun: Instant::now(), begun_at: SystemTime::now(), _step: Span::step(name) }
    }

    /// It is over.
    pub(crate) fn end(self) {
        self.meters.stage(self.name, self.begun.elapsed());
    }
}
