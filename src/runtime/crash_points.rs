//! Named points at which a process kills itself, as a power failure would: for the tests that count
//! what is left after it.
//!
//! Only in a build with the cargo feature `crash-points`. In any other there is nothing of it, and
//! the variable has no meaning.

/// A point that the program passes. With `HOSTMATCH_CRASH_AT=<name>:<n>` in its environment, the
/// process gets a SIGKILL here when it comes by for the n-th time; with `<name>:<n>:panic` it panics,
/// which ends one task only, and with `<name>:<n>:hang` that task stays here for ever.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static ARMED: LazyLock<Option<(String, AtomicUsize, String)>> = LazyLock::new(|| {
        let armed = std::env::var("HOSTMATCH_CRASH_AT").ok()?;
        let mut parts = armed.split(':');
        let (name, passage) = (parts.next()?.to_owned(), parts.next()?.parse().ok()?);
        Some((name, AtomicUsize::new(passage), parts.next().unwrap_or_default().to_owned()))
    });
    if let Some((armed, passages, how)) = &*ARMED
        && armed == name
        && passages.fetch_sub(1, Ordering::SeqCst) == 1
    {
        tracing::warn!(point = name, "crashing here, as asked to");
        assert!(how != "panic", "crashing here, as asked to");
        if how == "hang" {
            // The threads of the runtime go on.
            tokio::task::block_in_place(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        // Does not return: the signal reaches this thread before the call is over.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// A point that the program passes; nothing happens there in this build.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_name: &str) {}
