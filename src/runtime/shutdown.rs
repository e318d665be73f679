//! Turns the signals SIGINT and SIGTERM into a token that every long-running task watches.

use tokio_util::sync::CancellationToken;

/// A token that is cloned into every task; `cancelled()` completes once the process must stop.
pub type Shutdown = CancellationToken;

/// Returns a token that the first SIGINT or SIGTERM cancels.
///
/// The second signal ends the process at once with exit code 130, because a user who presses Ctrl-C twice
/// means it. Deliveries in progress are not acknowledged, and are delivered again.
///
/// # Errors
/// Fails if the signal handlers cannot be installed.
pub fn on_signals() -> std::io::Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = Shutdown::new();
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = token.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            tracing::info!(
                "stopping: finishing the work in progress; a second signal ends the process at once"
            );
            stop.cancel();
        }
    });
    Ok(token)
}
