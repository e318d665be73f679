//! What every part of a process stands on: the present, growing delays, the stop signal, and the
//! points at which a test build can be made to crash; here the words of closed lists, and locking.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub mod clock;
pub mod backoff;
pub mod shutdown;
pub mod crash_points;

/// Gives each list its words under the name that everything here has for a text: strum's own is either
/// undocumented or no method.
macro_rules! words {
    ($($list:ty),+ $(,)?) => {$(
        impl $list {
            /// The word under which it is stored and shown.
            pub fn as_str(self) -> &'static str {
                self.into()
            }
        }
    )+};
}
pub(crate) use words;

/// What a mutex holds. Also after a panic under the lock: what is locked here is changed in one step each time.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
