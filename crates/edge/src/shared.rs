//! What every part of a running edge shares.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_identity::SigningKey;
use packhorse_ids::{Clock, DeliveryId, Epoch, PayloadId, SiteName, WallTime};
use packhorse_ledger::{AssociationId, Fact, Projection};
use packhorse_spool::{QueueName, Spool, Store};
use packhorse_transport::LinkStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::arrivals::Arrivals;
use crate::asking::Asking;
use crate::config::{Config, Destination};
use crate::directory::Directory;
use crate::echo::FarEchoes;
use crate::holds::Holds;
use crate::ingest::{Hall, Reader, Rejections, open_reader};
use crate::messages::UnknownSites;
use crate::mirror::{self, FarMirrors, Wanted};
use crate::names::Names;
use crate::notices::Desk;
use crate::pacs::Pacs;
use crate::quiet::QuietStudies;

/// What goes to the relay.
pub(crate) const LINK_QUEUE: &str = "link";
/// Messages that came in.
pub(crate) const MESSAGES_QUEUE: &str = "messages";

/// Everything that the parts of an edge have in common.
pub(crate) struct Shared {
    pub(crate) site: SiteName,
    pub(crate) folder: PathBuf,
    pub(crate) config: Config,
    /// The destinations, with the consent as it is now.
    destinations: RwLock<Vec<Destination>>,
    pub(crate) spool: Arc<Spool>,
    pub(crate) epoch: Epoch,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: Directory,
    pub(crate) signing: SigningKey,
    /// The relay's addresses, `host:port`, as the token named them.
    pub(crate) relay: Vec<String>,
    /// Where each listener listens, once it does.
    pub(crate) bound: OnceLock<Vec<(String, SocketAddr)>>,
    projection: Arc<Mutex<Projection>>,
    pub(crate) link: watch::Sender<LinkStatus>,
    pub(crate) health: Mutex<HashMap<AeTitle, Health>>,
    associations: Mutex<HashMap<IpAddr, usize>>,
    /// Addresses of the names in `hosts`.
    pub(crate) names: Arc<Names>,
    /// Connections that are no association yet.
    pub(crate) hall: Arc<Hall>,
    /// Sites that the relay does not know.
    pub(crate) unknown_sites: UnknownSites,
    /// Held while consent is given: one at a time.
    pub(crate) consenting: tokio::sync::Mutex<()>,
    /// No new association is taken.
    pub(crate) draining: CancellationToken,
    /// Everything ends.
    pub(crate) stop: CancellationToken,
    /// Wakes whoever announces our destinations.
    pub(crate) announce: tokio::sync::Notify,
    pub(crate) started: WallTime,
    /// Questions to other edges.
    pub(crate) asking: Asking,
    /// Our PACS, by AE title: whose turn it is to call each, and what is known of it.
    pub(crate) pacs: HashMap<AeTitle, Arc<Pacs>>,
    /// The last checks of PACS at the far end of routes.
    pub(crate) far_echoes: FarEchoes,
    /// What has come from each site.
    pub(crate) arrivals: Arrivals,
    /// Studies that are over at their source.
    pub(crate) quiet: QuietStudies,
    /// What is known of notices and their channels.
    pub(crate) notices: Desk,
    /// What the PACS at the far end of routes take.
    pub(crate) far_mirrors: FarMirrors,
    /// Sites that are to be told again what our PACS take.
    pub(crate) mirror_wanted: Wanted,
    /// Callers that were rejected lately.
    pub(crate) rejections: Rejections,
    /// Bytes that rules hold.
    pub(crate) holds: Holds,
    reader: OnceLock<Reader>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("site", &self.site)
            .finish_non_exhaustive()
    }
}

/// How a destination is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It took the last instance.
    Good { since: WallTime },
    /// It does not take instances now; it is tried again by itself.
    Down {
        since: WallTime,
        why: String,
        next: WallTime,
    },
    /// It rejects us; somebody must change something. It is tried now and then.
    Paused {
        since: WallTime,
        why: String,
        next: WallTime,
    },
}

/// What an edge is made of; see [`Shared`].
pub(crate) struct Parts {
    pub(crate) site: SiteName,
    pub(crate) folder: PathBuf,
    pub(crate) config: Config,
    pub(crate) spool: Arc<Spool>,
    pub(crate) epoch: Epoch,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) directory: Directory,
    pub(crate) signing: SigningKey,
    pub(crate) relay: Vec<String>,
    pub(crate) projection: Projection,
    pub(crate) names: Arc<Names>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let started = parts.clock.now();
        Self {
            pacs: mirror::load(&parts.folder, &parts.config.destinations),
            far_mirrors: FarMirrors::load(&parts.folder),
            mirror_wanted: Wanted::default(),
            site: parts.site,
            folder: parts.folder,
            destinations: RwLock::new(parts.config.destinations.clone()),
            config: parts.config,
            spool: parts.spool,
            epoch: parts.epoch,
            clock: parts.clock,
            directory: parts.directory,
            signing: parts.signing,
            relay: parts.relay,
            bound: OnceLock::new(),
            projection: Arc::new(Mutex::new(parts.projection)),
            link: watch::Sender::new(LinkStatus::Connecting { since: started }),
            health: Mutex::default(),
            associations: Mutex::default(),
            names: parts.names,
            hall: Arc::default(),
            unknown_sites: UnknownSites::default(),
            consenting: tokio::sync::Mutex::default(),
            draining: CancellationToken::new(),
            stop: CancellationToken::new(),
            announce: tokio::sync::Notify::new(),
            started,
            asking: Asking::default(),
            far_echoes: FarEchoes::default(),
            arrivals: Arrivals::default(),
            quiet: QuietStudies::default(),
            notices: Desk::default(),
            rejections: Rejections::default(),
            holds: Holds::default(),
            reader: OnceLock::new(),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::<Spool>::clone(&self.spool)
    }

    /// The destinations with the consent as it is now.
    pub(crate) fn destinations(&self) -> Vec<Destination> {
        self.destinations.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Another consent, from now on.
    pub(crate) fn set_consent(&self, site: &SiteName, destination: &AeTitle) {
        let mut all = self.destinations.write().unwrap_or_else(PoisonError::into_inner);
        let wanted = all.iter_mut().find(|known| known.ae_title == *destination);
        if let Some(destination) = wanted.filter(|known| !known.accept_from.contains(site)) {
            destination.accept_from.push(site.clone());
        }
        // Remembered when nobody waits just now.
        self.announce.notify_one();
    }

    /// The ledger, for short questions on a thread that may block, whatever is being written to it. `None`: it cannot be
    /// opened.
    pub(crate) fn reader(&self) -> Option<&Mutex<Projection>> {
        self.reader.get_or_init(|| open_reader(&self.folder)).as_ref()
    }

    /// Asks the ledger on a thread that may block.
    pub(crate) async fn ledger<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Projection) -> T + Send + 'static,
    ) -> Option<T> {
        let projection = Arc::clone(&self.projection);
        tokio::task::spawn_blocking(move || question(&mut lock(&projection)))
            .await
            .ok()
    }

    /// Counts an association from `peer` in, if the limits let it.
    pub(crate) fn count_in(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let mut associations = lock(&self.associations);
        let all: usize = associations.values().sum();
        let here = associations.get(&peer).copied().unwrap_or(0);
        if all >= self.config.associations || here >= self.config.associations_per_peer {
            return None;
        }
        associations.insert(peer, here + 1);
        Some(Place {
            shared: Arc::clone(self),
            peer,
        })
    }

    pub(crate) fn association_count(&self) -> usize {
        lock(&self.associations).values().sum()
    }

    /// Waits for the next change in the spool, at most `most`.
    pub(crate) async fn changed(&self, wakeups: &mut watch::Receiver<u64>, most: Duration) {
        tokio::select! {
            changed = wakeups.changed() => if changed.is_err() { tokio::time::sleep(most).await },
            () = tokio::time::sleep(most) => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// A counted association; counted out when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut associations = lock(&self.shared.associations);
        if let Some(count) = associations.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                associations.remove(&self.peer);
            }
        }
    }
}

/// The queue for a destination here.
pub(crate) fn queue_to(ae_title: &AeTitle) -> QueueName {
    queue(&format!("to/{ae_title}"))
}

/// The title that a queue for a destination is for.
pub(crate) fn title_of(queue: &QueueName) -> Option<&str> {
    queue.as_str().strip_prefix("to/")
}

/// A queue of ours.
pub(crate) fn queue(name: &str) -> QueueName {
    QueueName::try_from(name).expect("names of ours are short and printable")
}

/// A fact's bytes. One that cannot be written is a bug; the log says so and the instance goes on.
pub(crate) fn fact_bytes(fact: &Fact) -> Option<Bytes> {
    let bytes = fact.to_bytes();
    bytes
        .inspect_err(|error| tracing::error!(%error, "a fact cannot be written"))
        .ok()
        .map(Bytes::from)
}

/// Random ids.
pub(crate) mod draw {
    use super::{AssociationId, DeliveryId, PayloadId};

    pub(crate) fn delivery() -> DeliveryId {
        DeliveryId::from_bytes(rand::random())
    }

    pub(crate) fn payload() -> PayloadId {
        PayloadId::from_bytes(rand::random())
    }

    pub(crate) fn association() -> AssociationId {
        AssociationId::from_bytes(rand::random())
    }
}
