//! The basics that every part of a process uses: the clock, growing delays, the stop signal, the limit on open
//! files, throttled log lines, and the points at which a test build can be made to crash. This file contains
//! the string values of enums, and locking.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod clock;
pub mod backoff;
pub mod shutdown;
pub mod crash_points;
pub mod open_files;
pub mod private_file;
pub(crate) mod throttle;

/// Gives each enum an `as_str` method, like that of other string types; strum's own conversion is either
/// undocumented or not a method.
macro_rules! string_values {
    ($($list:ty),+ $(,)?) => {$(
        impl $list {
            /// Returns the string that is stored and displayed.
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }
    )+};
}
pub(crate) use string_values;

/// Locks a mutex, even after a panic while it was locked. This is safe, because everything that is locked in
/// this program is changed in one step.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
