//! What every part of a process stands on: the present, growing delays, the stop signal, and the
//! points at which a test build can be made to crash.

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
