//! The basics of every part of a process: the clock, growing delays, the stop signal, and the points at
//! which a test build can be made to crash; in this file the words of closed lists, and locking.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod clock;
pub mod backoff;
pub mod shutdown;
pub mod crash_points;

/// Gives each list an `as_str` method, as every text type here has; strum's own is either undocumented
/// or not a method.
macro_rules! words {
    ($($list:ty),+ $(,)?) => {$(
        impl $list {
            /// Returns the word under which it is stored and shown.
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }
    )+};
}
pub(crate) use words;

/// Locks a mutex, even after a panic under the lock: everything locked here is changed in one step.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
