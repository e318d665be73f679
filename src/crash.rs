//! Named points at which a process kills itself, as a power failure would: for the tests that count
//! what is left after it.
//!
//! Only in a build with the cargo feature `crash-points`. In any other there is nothing of it, and
//! the variable has no meaning.

/// A point that the program passes. With `HOSTMATCH_CRASH_AT=<name>:<n>` in its environment, the
/// process gets a SIGKILL here when it comes by for the n-th time; with `<name>:<n>:panic` it panics,
/// which ends one task only.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ARMED: LazyLock<Option<(String, AtomicUsize, bool)>> = LazyLock::new(|| {
        let armed = std::env::var("HOSTMATCH_CRASH_AT").ok()?;
        let (armed, panics) = armed.strip_suffix(":panic").map_or((&*armed, false), |armed| (armed, true));
        let (name, passage) = armed.split_once(':')?;
        Some((name.to_owned(), AtomicUsize::new(passage.parse().ok()?), panics))
    });
    if let Some((armed, passages, panics)) = &*ARMED
        && armed == name
        && passages.fetch_sub(1, Ordering::SeqCst) == 1
    {
        tracing::warn!(point = name, "crashing here, as asked to");
        assert!(!panics, "crashing here, as asked to");
        // Does not return: the signal reaches this thread before the call is over.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// A point that the program passes; nothing happens there in this build.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_name: &str) {}
