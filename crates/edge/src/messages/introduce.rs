//! Making sites known to each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use packhorse_ids::{DeliveryId, SiteName};
use packhorse_policy::Route;
use packhorse_spool::backoff;
use tokio::time::Instant;

use super::Message;
use crate::directory::Standing;
use crate::shared::Shared;

/// A site that has not announced itself is asked again after this time, then after twice that, and so on,
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// up to this time.
const ASK_AGAIN_MAX: Duration = Duration::from_secs(300);
/// How often it is looked whether a site is to be asked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Sites that the relay does not know, with what it said. They may join later.
#[derive(Debug, Default)]
pub(crate) struct UnknownSites(Mutex<HashMap<SiteName, String>>);

impl UnknownSites {
    fn lock(&self) -> MutexGuard<'_, HashMap<SiteName, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remember(&self, site: &SiteName, said: &str) {
        self.lock().insert(site.clone(), said.to_owned());
    }

    pub(crate) fn forget(&self, site: &SiteName) {
        self.lock().remove(site);
    }

    /// What the relay said of a site that it does not know.
    pub(crate) fn said_of(&self, site: &SiteName) -> Option<String> {
        self.lock().get(site).cloned()
    }
}

/// One site that our routes lead to.
struct Asked {
    site: SiteName,
    /// The last question: while it waits for the link there is no other.
    last: Option<DeliveryId>,
    tries: u32,
    next: Instant,
}

impl Asked {
    async fn is_due(&self, shared: &Shared) -> bool {
        if self.next > Instant::now() || (self.tries > 0 && !is_unknown(shared, &self.site)) {
            return false;
        }
        match self.last {
            Some(last) => shared.has_gone(last).await,
            None => true,
        }
    }

    async fn ask(&mut self, shared: &Shared) {
        match shared.send_message(&self.site, &Message::Ask).await {
            Ok(asked) => self.last = asked,
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "a site cannot be asked now"),
        }
        self.tries = self.tries.saturating_add(1);
        self.next = Instant::now() + backoff(self.tries, ASK_AGAIN, ASK_AGAIN_MAX, rand::random());
    }
}

/// Whether a site that a route leads to has not announced itself.
fn is_unknown(shared: &Shared, site: &SiteName) -> bool {
    let leads_there = |route: &&Route| route.to_site == *site;
    let mut routes = shared.config.engine.routes().iter().filter(leads_there);
    routes.any(|route| shared.directory.standing(site, &route.to_ae_title) == Standing::NotAnnounced)
}

/// Asks sites that our routes lead to, once and as long as they have not announced themselves, and announces us to those
/// who asked, at the start and whenever something has changed.
pub(crate) async fn introduce(shared: Arc<Shared>) {
    let mut sites: Vec<_> = shared
        .config
        .engine
        .routes()
        .iter()
        .map(|route| route.to_site.clone())
        .collect();
    sites.sort();
    sites.dedup();
    let now = Instant::now();
    let begin = |site| Asked {
        site,
        last: None,
        tries: 0,
        next: now,
    };
    let mut asked: Vec<Asked> = sites.into_iter().map(begin).collect();
    let mut is_changed = true;
    while !shared.stop.is_cancelled() {
        for site in &mut asked {
            if site.is_due(&shared).await {
                site.ask(&shared).await;
            }
        }
        if std::mem::take(&mut is_changed) {
            for site in shared.directory.askers() {
                if let Err(why) = shared.announce_to(&site).await {
                    tracing::warn!(%site, why, "our destinations cannot be announced now");
                }
            }
        }
        tokio::select! {
            () = shared.announce.notified() => is_changed = true,
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use packhorse_spool::{Index as _, Settlement};

    use super::*;
    use crate::testing::{Edge, site};

    fn begin(shared: &Shared) -> (&Shared, Asked) {
        let (site, next) = (site("b"), Instant::now());
        let (last, tries) = (None, 0);
        let asked = Asked {
            site,
            last,
            tries,
            next,
        };
        (shared, asked)
    }

    async fn acked(shared: &Shared, message: Option<DeliveryId>) {
        let settled = vec![(message.unwrap(), Settlement::Released)];
        shared.spool.settle(shared.epoch, settled, Vec::new()).await.unwrap();
    }

    const TO_B: &str = "[[route]]\ncalled_ae_title = \"R\"\nto = \"b/P\"\n";

    #[tokio::test(start_paused = true)]
    async fn one_question_waits_for_the_link_however_long_the_link_is_down() {
        let edge = Edge::new("a", TO_B);
        let (shared, mut asked) = begin(&edge.shared);
        assert!(asked.is_due(shared).await);
        asked.ask(shared).await;
        assert_eq!(edge.sent().await, [(site("b"), Message::Ask)]);
        tokio::time::advance(ASK_AGAIN_MAX * 10).await;
        assert!(!asked.is_due(shared).await, "the first one still waits");
        acked(shared, asked.last).await;
        assert!(asked.is_due(shared).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_site_that_does_not_announce_itself_is_asked_with_growing_pauses() {
        let edge = Edge::new("a", TO_B);
        let (shared, mut asked) = begin(&edge.shared);
        let mut pauses = Vec::new();
        for _ in 0..10 {
            asked.ask(shared).await;
            acked(shared, asked.last).await;
            assert!(!asked.is_due(shared).await);
            pauses.push(asked.next - Instant::now());
            tokio::time::advance(pauses[pauses.len() - 1]).await;
            assert!(asked.is_due(shared).await);
        }
        assert!(pauses[0] <= ASK_AGAIN && pauses[9] >= ASK_AGAIN_MAX / 2, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= ASK_AGAIN_MAX), "{pauses:?}");
    }
}
