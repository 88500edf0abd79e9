//! The sites: who may be linked, who is, and where a delivery for each waits.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_hop::{Hop, HopConfig, Place, Placement};
use packhorse_identity::{Registry, RegistryError, Revocations};
use packhorse_ids::{Clock, Epoch, Routing, SiteName, WallTime};
use packhorse_spool::{Body, Custody, Entry, NewState, QueueName, Spool, Store};
use packhorse_transport::{CustodianError, LinkHandle, Refusal};

/// Close code to a site whose certificate is revoked or missing.
pub(crate) const CLOSE_NOT_A_SITE: u16 = 16;
/// What it is told.
pub(crate) const NOT_A_SITE: &str = "a link needs the certificate of a site that has joined and is not revoked: join with a token \
                          from `relay invite`";
/// Close code to a link that a newer one of the same site replaces.
pub(crate) const CLOSE_REPLACED: u16 = 17;
/// Refusal of a delivery whose source is not the link's site.
const REFUSE_WRONG_SOURCE: u16 = 16;
/// Refusal of a delivery to a site that has not joined.
const REFUSE_UNKNOWN_SITE: u16 = 17;
/// What was forwarded is remembered so long: shorter than the hour after which an edge offers again what was not
/// confirmed, so that a relay that lost its disk does not keep a delivery from coming again.
const REMEMBERED: Duration = Duration::from_secs(1800);

/// The queue in which deliveries for `site` wait: `@` and its whole name, for two names may differ in the last letter only.
pub(crate) fn queue_of(site: &SiteName) -> QueueName {
    QueueName::try_from(format!("@{site}").as_str())
        .expect("a queue name has 64 printable characters, a site name at most 63")
}

/// The registry's sites as links see them; refreshed when something changes.
#[derive(Debug)]
pub(crate) struct Directory {
    registry: Arc<dyn Registry>,
    revocations: Revocations,
    known: RwLock<HashMap<SiteName, bool>>,
}

impl Directory {
    pub(crate) fn new(registry: Arc<dyn Registry>) -> Self {
        Self {
            registry,
            revocations: Revocations::default(),
            known: RwLock::default(),
        }
    }

    pub(crate) fn registry(&self) -> &Arc<dyn Registry> {
        &self.registry
    }

    pub(crate) const fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    pub(crate) async fn refresh(&self) -> Result<(), RegistryError> {
        let (sites, revoked) = (self.registry.sites().await?, self.registry.revoked().await?);
        self.revocations.set(revoked);
        let known = sites
            .into_iter()
            .map(|record| (record.site, record.revoked.is_none()))
            .collect();
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = known;
        Ok(())
    }

    /// Whether the site has joined, and whether it is not revoked.
    pub(crate) fn standing(&self, site: &SiteName) -> Option<bool> {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(site)
            .copied()
    }
}

/// Where deliveries from one site go.
#[derive(Debug)]
struct FromSite {
    site: SiteName,
    directory: Arc<Directory>,
}

#[async_trait]
impl Place for FromSite {
    fn admit(&self, routing: &Routing) -> Result<(), Refusal> {
        if routing.source != self.site {
            let text = format!("a link of {} cannot bring deliveries of {}", self.site, routing.source);
            return Err(Refusal {
                code: REFUSE_WRONG_SOURCE,
                text,
            });
        }
        match self.directory.standing(&routing.destination) {
            // What waits for a revoked site stays; nothing new is taken for it.
            Some(true) => Ok(()),
            Some(false) => Err(Refusal {
                code: REFUSE_UNKNOWN_SITE,
                text: format!(
                    "site {0} was revoked at the relay: it joins again with a token from `relay invite {0}`; then retry",
                    routing.destination
                ),
            }),
            None => Err(Refusal {
                code: REFUSE_UNKNOWN_SITE,
                text: format!(
                    "no site {0} has joined the relay: is the name right? It joins with a token from `relay invite {0}`; \
                     then retry",
                    routing.destination
                ),
            }),
        }
    }

    async fn place(&self, routing: &Routing, _body: &Body, _store: &dyn Store) -> Result<Placement, CustodianError> {
        let queue = queue_of(&routing.destination);
        Ok(Placement {
            queue,
            custody: Custody::UntilAcked,
            state: NewState::Ready,
            facts: Vec::new(),
        })
    }

    fn remembers(&self) -> Duration {
        REMEMBERED
    }

    async fn repeated(&self, _routing: &Routing) {}

    /// Its copy is dropped, and remembered for less time than the edge takes until it offers its own again.
    fn is_only_a_stop(&self) -> bool {
        true
    }

    fn acked(&self, _entry: &Entry, _at: WallTime) -> Vec<Bytes> {
        Vec::new()
    }

    fn refused(&self, _entry: &Entry, _why: &Refusal) -> Vec<Bytes> {
        Vec::new()
    }
}

/// One site's link, as it is now.
#[derive(Debug)]
struct Linked {
    handle: LinkHandle,
    since: WallTime,
    number: u64,
}

/// Hops and links by site.
pub(crate) struct Sites {
    spool: Arc<Spool>,
    epoch: Epoch,
    clock: Arc<dyn Clock>,
    directory: Arc<Directory>,
    hops: Mutex<HashMap<SiteName, Arc<Hop>>>,
    links: Mutex<HashMap<SiteName, Linked>>,
    downs: Mutex<HashMap<SiteName, WallTime>>,
    next: std::sync::atomic::AtomicU64,
}

impl fmt::Debug for Sites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sites").finish_non_exhaustive()
    }
}

/// How a site's link is.
#[derive(Clone, Debug)]
pub(crate) enum LinkState {
    Up { since: WallTime, handle: LinkHandle },
    Down { since: Option<WallTime> },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sites {
    pub(crate) fn new(spool: Arc<Spool>, epoch: Epoch, clock: Arc<dyn Clock>, directory: Arc<Directory>) -> Self {
        let (hops, links, downs) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            spool,
            epoch,
            clock,
            directory,
            hops,
            links,
            downs,
            next: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// The spool's epoch, as it was opened.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The site's hop: it lives across links, so that payloads go on where they were.
    pub(crate) fn hop(&self, site: &SiteName) -> Arc<Hop> {
        let make = || {
            let place = Arc::new(FromSite {
                site: site.clone(),
                directory: Arc::clone(&self.directory),
            });
            let store: Arc<dyn Store> = Arc::<Spool>::clone(&self.spool);
            let config = HopConfig::new(queue_of(site));
            Arc::new(Hop::new(store, self.epoch, Arc::clone(&self.clock), place, config))
        };
        Arc::clone(lock(&self.hops).entry(site.clone()).or_insert_with(make))
    }

    /// The site's link is up; an older one is closed. Gives the link's number for [`down`](Self::down); `None`, with the
    /// link closed, when the site may have none.
    pub(crate) fn up(&self, site: &SiteName, handle: LinkHandle) -> Option<u64> {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let linked = Linked {
            handle: handle.clone(),
            since: self.clock.now(),
            number,
        };
        if let Some(old) = lock(&self.links).insert(site.clone(), linked) {
            old.handle.close(CLOSE_REPLACED, "this site has opened a newer link");
        }
        // Asked once the link is where `close` finds it: a revocation comes before the question, or finds the link.
        if self.directory.standing(site) == Some(true) {
            return Some(number);
        }
        handle.close(CLOSE_NOT_A_SITE, NOT_A_SITE);
        self.down(site, number);
        None
    }

    /// The site's link with this number is down.
    pub(crate) fn down(&self, site: &SiteName, number: u64) {
        let mut links = lock(&self.links);
        if links.get(site).is_some_and(|linked| linked.number == number) {
            links.remove(site);
            lock(&self.downs).insert(site.clone(), self.clock.now());
        }
    }

    /// Closes the site's link.
    pub(crate) fn close(&self, site: &SiteName, code: u16, sentence: &str) {
        if let Some(linked) = lock(&self.links).get(site) {
            linked.handle.close(code, sentence);
        }
    }

    pub(crate) fn state(&self, site: &SiteName) -> LinkState {
        match lock(&self.links).get(site) {
            Some(linked) => LinkState::Up {
                since: linked.since,
                handle: linked.handle.clone(),
            },
            None => LinkState::Down {
                since: lock(&self.downs).get(site).copied(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_has_a_queue_of_its_own_however_long_its_name() {
        let name = |last: &str| SiteName::try_from(format!("{}{last}", "a".repeat(62)).as_str()).unwrap();
        assert_eq!(name("b").as_str().len(), SiteName::LEN_MAX);
        assert_ne!(queue_of(&name("b")), queue_of(&name("c")));
    }
}
