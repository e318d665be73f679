//! What every part of a process stands on: the present, growing delays, the stop signal, and the
//! points at which a test build can be made to crash.

pub mod clock;
pub mod backoff;
pub mod shutdown;
pub mod crash_points;
