//! Making sites known to each other.

use std::sync::Arc;
use std::time::Duration;

use super::Message;
use crate::directory::Standing;
use crate::shared::Shared;

/// A site that has not announced itself is asked again after this time.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// Asks sites that our routes lead to and that have not announced themselves, and announces us to those who asked.
pub(crate) async fn introduce(shared: Arc<Shared>) {
    let mut is_first = true;
    loop {
        let routes = shared.config.engine.routes();
        let mut sites: Vec<_> = routes
            .iter()
            .map(|route| &route.to_site)
            .filter(|site| **site != shared.site)
            .collect();
        sites.sort();
        sites.dedup();
        for site in sites {
            let unknown = routes
                .iter()
                .filter(|route| route.to_site == *site)
                .any(|route| shared.directory.standing(site, &route.to_ae_title) == Standing::NotAnnounced);
            if (is_first || unknown)
                && let Err(error) = shared.send_message(site, &Message::Ask).await
            {
                tracing::warn!(error = &error as &dyn std::error::Error, "a site cannot be asked now");
            }
        }
        is_first = false;
        for site in shared.directory.askers() {
            if let Err(error) = shared.announce_to(&site).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "our destinations cannot be announced now"
                );
            }
        }
        loop {
            tokio::select! {
                () = shared.announce.notified() => break,
                () = tokio::time::sleep(ASK_AGAIN) => {}
                () = shared.stop.cancelled() => return,
            }
            let waits = |route: &packhorse_policy::Route| {
                shared.directory.standing(&route.to_site, &route.to_ae_title) == Standing::NotAnnounced
            };
            if routes.iter().any(waits) {
                break;
            }
        }
    }
}
