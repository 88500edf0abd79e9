//! The end of a daemon.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the signals cannot be had.
pub async fn shutdown_signal() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// Waits for `work`, at most `grace`. Whether it ended in time.
pub async fn wait_at_most(grace: Duration, work: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(grace, work).await.is_ok()
}
