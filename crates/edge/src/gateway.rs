//! The running edge gateway.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use packhorse_association::driver::tls::Certificate;
use packhorse_daemon::admin::{self, AdminHandler};
use packhorse_daemon::config::ConfigError;
use packhorse_daemon::{FolderLock, LockError};
use packhorse_identity::{IdentityError, KeyError, SigningKey, SiteIdentity};
use packhorse_ids::{Clock, SystemClock};
use packhorse_ledger::Projection;
use packhorse_ledger::store::ProjectionError;
use packhorse_spool::{OpenError, Spool, SpoolConfig, StoreError};
use packhorse_transport::{Endpoint, EndpointError, TransportConfig};
use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use crate::admin::{Door, unclaimed};
use crate::config::{self, Config, DatedCertificate};
use crate::custody::kept;
use crate::deliver::Deliverer;
use crate::directory::{Directory, DirectoryError};
use crate::names::Names;
use crate::shared::{Parts, Shared};
use crate::{consent, holds, ingest, ledger, link, messages, mirror, notices};

/// What the edge calls itself on links.
pub(crate) const BUILD: &str = concat!("edge-gateway ", env!("CARGO_PKG_VERSION"));
/// Folder of keys and certificates.
pub(crate) const IDENTITY_FOLDER: &str = "identity";
/// A certificate that ends within so many days is told at the start.
const EXPIRY_TOLD_DAYS: i64 = 30;
/// How long the parts may take to end once the link is closed.
const END_WAIT: Duration = Duration::from_secs(5);

/// The gateway could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder belongs to another process.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The signing key.
    #[error("the signing key cannot be used")]
    Key(#[from] KeyError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The spool's facts.
    #[error("the spool's facts cannot be read")]
    Facts(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] ProjectionError),
    /// The directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A listener.
    #[error("listener \"{name}\" cannot listen on {address}")]
    Listen {
        /// Its name.
        name: String,
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The socket to the relay.
    #[error("no socket for the link")]
    Link(#[from] EndpointError),
    /// The admin door.
    #[error("the admin door cannot be opened")]
    Admin(#[source] std::io::Error),
}

/// A gateway that is bound and not serving yet.
#[derive(Debug)]
pub struct Gateway {
    shared: Arc<Shared>,
    listeners: Vec<(String, TcpListener)>,
    endpoint: Endpoint,
    identity: link::CurrentIdentity,
    door: tokio::net::UnixListener,
    lock: FolderLock,
}

/// Opens what a folder holds, without binding anything. Also what `send` uses when no daemon runs.
pub(crate) async fn open(folder: &Path) -> Result<(Arc<Shared>, SiteIdentity, FolderLock), StartError> {
    let config = Config::load(folder)?;
    let lock = FolderLock::take(folder)?;
    let identity_folder = folder.join(IDENTITY_FOLDER);
    let identity = SiteIdentity::open(&identity_folder)?;
    config
        .check_site(identity.site())
        .map_err(|problems| ConfigError::Wrong {
            path: folder.join(config::FILE_NAME),
            problems,
        })?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let spool_config = SpoolConfig {
        slab_len: config.slab,
        reserve: config.reserve,
        kept_for: config.delivery.keep,
        kept_len: config.delivery.keep_quota,
        ..SpoolConfig::default()
    };
    let (spool, epoch) = Spool::open(&folder.join("spool"), spool_config, Arc::clone(&clock))?;
    let names = Arc::new(Names::of_system(config.host_names.clone()));
    let shared = Shared::new(Parts {
        site: identity.site().clone(),
        folder: folder.into(),
        config,
        spool,
        epoch,
        clock,
        directory: Directory::open(folder)?,
        signing: SigningKey::open_or_create(&identity_folder)?,
        relay: identity.relay().to_vec(),
        projection: Projection::open(&folder.join("ledger.sqlite"))?,
        names,
    });
    ledger::catch_up(&shared).await?;
    Ok((Arc::new(shared), identity, lock))
}

impl Gateway {
    /// Opens everything in `folder` and binds: addresses are known, nothing is served yet.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn build(folder: &Path) -> Result<Self, StartError> {
        let (shared, identity, lock) = open(folder).await?;
        shared.names.begin().await;
        let mut listeners = Vec::new();
        for listener in &shared.config.listeners {
            let bound = TcpListener::bind(listener.address).await;
            let (name, address) = (listener.name.clone(), listener.address);
            listeners.push((
                name.clone(),
                bound.map_err(|error| StartError::Listen { name, address, error })?,
            ));
        }
        let bound = |(name, listener): &(String, TcpListener)| Some((name.clone(), listener.local_addr().ok()?));
        shared
            .bound
            .get_or_init(|| listeners.iter().filter_map(bound).collect());
        let door = admin::bind(folder).map_err(StartError::Admin)?;
        let identity = Arc::new(Mutex::new(identity));
        Ok(Self {
            shared,
            listeners,
            endpoint: client_endpoint()?,
            identity,
            door,
            lock,
        })
    }

    /// What stands behind `ready`: every bound address.
    #[must_use]
    pub fn ready(&self) -> Value {
        let addresses = self
            .listeners
            .iter()
            .filter_map(|(_, listener)| listener.local_addr().ok());
        let door = self.shared.folder.join(admin::SOCKET_NAME);
        json!({ "dicom": addresses.map(|address| address.to_string()).collect::<Vec<_>>(), "admin": door })
    }

    /// Begins to serve.
    #[must_use]
    pub fn spawn(self) -> Running {
        let (tasks, associations) = (TaskTracker::new(), TaskTracker::new());
        let shared = self.shared;
        for (name, listener) in self.listeners {
            associations.spawn(ingest::serve(Arc::clone(&shared), name, listener, associations.clone()));
        }
        for destination in shared.destinations() {
            associations.spawn(Deliverer::new(Arc::clone(&shared), destination).run());
        }
        tell_certificates(&shared.config.certificates);
        for title in unclaimed(&shared) {
            tracing::error!(
                destination = title,
                "instances wait for a destination that edge.toml does not have: add its [[destination]] (again)"
            );
        }
        let handler: Arc<dyn AdminHandler> = Arc::new(Door {
            shared: Arc::clone(&shared),
            is_daemon: true,
        });
        tasks.spawn(admin::serve(self.door, handler, shared.stop.clone()));
        tasks.spawn(ledger::keep(Arc::clone(&shared)));
        tasks.spawn(consent::keep(Arc::clone(&shared)));
        tasks.spawn(kept::keep(Arc::clone(&shared)));
        tasks.spawn(holds::keep(Arc::clone(&shared)));
        tasks.spawn(Arc::clone(&shared.names).keep(shared.stop.clone()));
        tasks.spawn(messages::receive(Arc::clone(&shared)));
        tasks.spawn(messages::introduce(Arc::clone(&shared)));
        tasks.spawn(notices::deliver(Arc::clone(&shared)));
        tasks.spawn(notices::watch(Arc::clone(&shared)));
        tasks.spawn(messages::tell_quiet_studies(Arc::clone(&shared)));
        tasks.spawn(mirror::keep(Arc::clone(&shared)));
        tasks.spawn(link::keep(
            Arc::clone(&shared),
            self.endpoint.clone(),
            Arc::clone(&self.identity),
        ));
        tasks.spawn(link::keep_renewed(
            Arc::clone(&shared),
            self.endpoint.clone(),
            self.identity,
        ));
        tasks.close();
        associations.close();
        Running {
            shared,
            tasks,
            associations,
            endpoint: self.endpoint,
            _lock: self.lock,
        }
    }
}

/// Certificates that have expired, or will soon.
fn tell_certificates(certificates: &[DatedCertificate]) {
    for DatedCertificate { path, certificate } in certificates {
        let (days, ends) = (
            certificate.days_left(UnixTime::now()),
            Certificate::date(certificate.not_after),
        );
        if days < 0 {
            tracing::error!(
                file = path,
                subject = certificate.subject,
                ends,
                "a certificate has expired"
            );
        } else if days < EXPIRY_TOLD_DAYS {
            tracing::warn!(
                file = path,
                subject = certificate.subject,
                ends,
                days,
                "a certificate expires soon"
            );
        }
    }
}

/// A socket to dial from: any port, IPv6 and IPv4 where the system has both.
pub(crate) fn client_endpoint() -> Result<Endpoint, EndpointError> {
    let dual = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
    Endpoint::client(dual, TransportConfig::new(BUILD)).or_else(|_| {
        Endpoint::client(
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            TransportConfig::new(BUILD),
        )
    })
}

/// A serving gateway.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    tasks: TaskTracker,
    associations: TaskTracker,
    endpoint: Endpoint,
    _lock: FolderLock,
}

impl Running {
    /// Waits until the gateway can go on no more: its spool is out of order.
    pub async fn failed(&self) {
        self.shared.spool.poisoned().await;
    }

    /// Ends: no new association is taken, what is under way ends or is handed back, at most within the grace time.
    /// Whether all of it was done.
    pub async fn finish(self) -> bool {
        self.shared.draining.cancel();
        let drained = packhorse_daemon::wait_at_most(self.shared.config.grace, self.associations.wait()).await;
        self.shared.stop.cancel();
        let ended = packhorse_daemon::wait_at_most(END_WAIT, async {
            self.associations.wait().await;
            self.tasks.wait().await;
        });
        let ended = ended.await;
        self.endpoint.close(0, "the edge is shutting down").await;
        drained && ended
    }
}
