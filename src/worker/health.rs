//! Whether a worker does its work: for the health routes.

use std::sync::{Arc, Mutex, PoisonError};

use crate::queue::ConsumerHealth;
use crate::shutdown::Shutdown;

/// What others may know of a worker, from before it starts until it has ended. Clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct WorkerHealth(Arc<Mutex<Option<Running>>>);

#[derive(Debug)]
struct Running {
    /// Who takes deliveries, by name.
    consumers: Vec<(String, ConsumerHealth)>,
    stop: Shutdown,
}

impl WorkerHealth {
    /// What keeps it from its work, in words; nothing when all is well.
    pub fn problems(&self) -> Vec<String> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            None => vec!["the worker has not started yet; the log says what it waits for".to_owned()],
            Some(running) if running.stop.is_cancelled() => vec!["the worker is stopping".to_owned()],
            Some(running) => {
                let idle = running.consumers.iter().filter(|(_, health)| !health.is_consuming());
                idle.map(|(name, _)| format!("{name} is handed out nothing; the log says why")).collect()
            }
        }
    }

    /// It runs, with these consumers, until `stop`.
    pub(super) fn runs(&self, consumers: Vec<(String, ConsumerHealth)>, stop: Shutdown) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { consumers, stop });
    }
}
