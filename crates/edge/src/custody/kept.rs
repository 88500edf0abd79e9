//! What was delivered stays for a while, to be sent again; then it goes.

use std::sync::Arc;
use std::time::Duration;

use crate::shared::Shared;

/// Looked at so often, or twice in the time that it is kept.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// And no oftener than this.
const LOOK_MIN: Duration = Duration::from_millis(100);

/// Lets go what has been kept long enough, until the edge stops. What is above the quota, or in the way of something new,
/// the spool lets go by itself.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let every = (shared.config.delivery.keep / 2).clamp(LOOK_MIN, LOOK_EVERY);
    while !shared.stop.is_cancelled() {
        match shared.spool.give_up_kept().await {
            Ok(0) => {}
            Ok(entries) => tracing::debug!(entries, "delivered instances are kept no longer"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what has been kept long enough cannot go now"
            ),
        }
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}
