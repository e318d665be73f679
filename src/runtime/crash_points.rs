//! Named points at which a test can make a process kill itself, which simulates a crash at the worst moment.
//!
//! The points exist only in a build with the cargo feature `crash-points`. In any other build the function is
//! empty, and the environment variable has no effect.

/// Marks a point that the program passes. With `HOSTMATCH_CRASH_AT=<name>:<n>` in its environment, the
/// process sends itself SIGKILL here when it passes for the n-th time; with `<name>:<n>:panic` it panics,
/// which ends only one task, and with `<name>:<n>:hang` that task blocks here forever.
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
        tracing::warn!(point = name, "crashing here, as requested");
        assert!(how != "panic", "crashing here, as requested");
        if how == "hang" {
            // The other threads of the runtime keep running.
            tokio::task::block_in_place(|| {
                loop {
                    std::thread::park();
                }
            });
        }
        // This does not return: the signal reaches this thread before the call ends.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

/// Marks a point that the program passes; does nothing in this build.
#[cfg(not(feature = "crash-points"))]
pub(crate) fn point(_name: &str) {}
