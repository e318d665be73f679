//! The stop signal: SIGINT and SIGTERM as a token that everything long-running watches.

use tokio_util::sync::CancellationToken;

/// Cloned into every task; `cancelled()` completes once somebody asked to stop.
pub type Shutdown = CancellationToken;

/// A token that is cancelled by the first SIGINT or SIGTERM.
///
/// The second signal ends the process at once with 130: whoever presses Ctrl-C twice means it.
/// What was in hand is not acknowledged and comes again.
///
/// # Errors
/// When the signal handlers cannot be installed.
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
            tracing::info!("stopping: finishing what is in hand; a second signal ends at once");
            stop.cancel();
        }
    });
    Ok(token)
}
