//! From observing to assigning: what was decided by workers that only observed is decided once more,
//! as if its newest event came again, and written this time.
//!
//! So nothing is forgotten, and what somebody else has decided meanwhile is kept, as always.

use super::in_flight::InFlight;
use super::processor::Processor;
use super::trace::BatchTrace;
use crate::event::AppointmentId;
use crate::store::{self, StoreError};

/// Appointments read at once.
const SOME: u64 = 200;

impl Processor {
    /// Decides again what was only observed, unless this worker only observes itself. What cannot be
    /// decided now is left for the next time.
    ///
    /// # Errors
    /// [`StoreError`]; it is tried again the next time.
    pub async fn write_observed(&self) -> Result<(), StoreError> {
        if self.observes() {
            return Ok(());
        }
        let (mut after, mut decided) = (AppointmentId(0), 0);
        loop {
            let look = store::observed(self.database().connection(), after, SOME);
            let some = self.database().in_time(look).await?;
            let Some(last) = some.last().map(|assignment| assignment.appointment) else { break };
            after = last;
            let mut flights: Vec<InFlight> = some
                .iter()
                .filter_map(|assignment| {
                    Some(InFlight::again(assignment.newest_event()?, assignment.decided_ms))
                })
                .collect();
            self.decide_all(&mut flights, &BatchTrace::default()).await?;
            decided += flights.len();
        }
        if decided > 0 {
            tracing::info!(appointments = decided, "what was only observed before was decided again");
        }
        Ok(())
    }
}
