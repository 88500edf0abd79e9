//! The running relay.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use packhorse_daemon::admin::{self, AdminError, AdminHandler, Upload};
use packhorse_daemon::config::ConfigError;
use packhorse_daemon::{FolderLock, LockError};
use packhorse_identity::{
    Authority, AuthorityError, Enroller, Registry, RegistryError, SqliteRegistry, certificate_facts,
};
use packhorse_ids::{Clock, SiteName, SystemClock, WallTime};
use packhorse_spool::{EntryState, Filter, Index as _, OpenError, Spool, SpoolConfig};
use packhorse_transport::{ALPN_ENROLL, ALPN_LINK, Connection, Endpoint, EndpointError, Incoming, TransportConfig};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::commands::invite;
use crate::config::Config;
use crate::custody;
use crate::enroll::Enrolment;
use crate::sites::{CLOSE_NOT_A_SITE, Directory, LinkState, NOT_A_SITE, Sites, queue_of};

/// What the relay calls itself on links.
const BUILD: &str = concat!("relay ", env!("CARGO_PKG_VERSION"));
/// How often the spool's health and the server certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The relay could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The folder belongs to another process.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The CA.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The spool.
    #[error(transparent)]
    Spool(#[from] OpenError),
    /// The socket.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        error: EndpointError,
    },
    /// The admin door.
    #[error("the admin door cannot be opened")]
    Admin(#[source] std::io::Error),
}

/// A relay that is bound and not serving yet.
#[derive(Debug)]
pub struct Relay {
    shared: Arc<Shared>,
    door: tokio::net::UnixListener,
    grace: Duration,
    _lock: FolderLock,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    config: Config,
    clock: Arc<dyn Clock>,
    authority: Arc<Authority>,
    directory: Arc<Directory>,
    sites: Sites,
    spool: Arc<Spool>,
    endpoint: Endpoint,
    address: SocketAddr,
    enrolment: Enrolment,
    started: WallTime,
    stop: CancellationToken,
    renew_server_at: std::sync::Mutex<WallTime>,
}

impl Relay {
    /// Opens everything in `folder` and binds: addresses are known, nothing is served yet. Must be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn build(folder: &Path) -> Result<Self, StartError> {
        let config = Config::load(folder)?;
        let lock = FolderLock::take(folder)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let authority = Arc::new(Authority::open(&folder.join("ca"))?);
        let registry: Arc<dyn Registry> = Arc::new(SqliteRegistry::open(&folder.join("registry.sqlite"))?);
        let directory = Arc::new(Directory::new(Arc::clone(&registry)));
        directory.refresh().await?;
        let spool_config = SpoolConfig {
            reserve: config.reserve,
            ..SpoolConfig::default()
        };
        let (spool, epoch) = Spool::open(&folder.join("spool"), spool_config, Arc::clone(&clock))?;
        let names = [config.host.clone()];
        let alpn = [ALPN_LINK, ALPN_ENROLL];
        let (tls, renew_at) = authority.server_config(&names, &alpn, directory.revocations(), clock.now())?;
        let listen = |error| StartError::Listen {
            address: config.quic,
            error,
        };
        let transport = TransportConfig {
            reset_secret: Some(authority.reset_secret()),
            ..TransportConfig::new(BUILD)
        };
        let endpoint = Endpoint::server(config.quic, tls, transport).map_err(listen)?;
        let address = endpoint.local_addr().unwrap_or(config.quic);
        let door = admin::bind(folder).map_err(StartError::Admin)?;
        let sites = Sites::new(Arc::clone(&spool), epoch, Arc::clone(&clock), Arc::clone(&directory));
        let enroller = Enroller::new(Arc::clone(&authority), registry, Arc::clone(&clock));
        let enrolment = Enrolment {
            enroller,
            limiter: packhorse_identity::AttemptLimiter::default(),
            directory: Arc::clone(&directory),
        };
        let shared = Shared {
            folder: folder.into(),
            started: clock.now(),
            clock,
            authority,
            directory,
            sites,
            spool,
            endpoint,
            address,
            enrolment,
            stop: CancellationToken::new(),
            renew_server_at: std::sync::Mutex::new(renew_at),
            config,
        };
        let grace = shared.config.grace;
        Ok(Self {
            shared: Arc::new(shared),
            door,
            grace,
            _lock: lock,
        })
    }

    /// What stands behind `ready`: every bound address.
    #[must_use]
    pub fn ready(&self) -> Value {
        json!({ "quic": self.shared.address.to_string() })
    }

    /// Begins to serve.
    #[must_use]
    pub fn spawn(self) -> Running {
        let shared = Arc::clone(&self.shared);
        let door = admin::serve(
            self.door,
            Arc::clone(&self.shared) as Arc<dyn AdminHandler>,
            shared.stop.clone(),
        );
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn(door);
        tasks.spawn(Arc::clone(&shared).accept(tasks.clone()));
        tasks.spawn(Arc::clone(&shared).look_after());
        tasks.close();
        Running {
            shared,
            tasks,
            grace: self.grace,
            _lock: self._lock,
        }
    }
}

/// A serving relay.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    tasks: tokio_util::task::TaskTracker,
    grace: Duration,
    _lock: FolderLock,
}

impl Running {
    /// Waits until the relay can go on no more: its spool is out of order.
    pub async fn failed(&self) {
        self.shared.spool.poisoned().await;
    }

    /// Ends: links are told, leases go back. Whether all was done within the grace time.
    pub async fn finish(self) -> bool {
        self.shared.stop.cancel();
        // Links acknowledge what they have taken before the socket goes.
        let ended = packhorse_daemon::wait_at_most(self.grace, self.tasks.wait()).await;
        self.shared.endpoint.close(0, "the relay is shutting down").await;
        ended
    }
}

impl Shared {
    async fn accept(self: Arc<Self>, tasks: tokio_util::task::TaskTracker) {
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming,
                () = self.stop.cancelled() => return,
            };
            let Some(incoming) = incoming else { return };
            let shared = Arc::clone(&self);
            match incoming {
                Incoming::Link(connection) => drop(tasks.spawn(async move { shared.link(connection).await })),
                Incoming::Exchange(exchange) => {
                    drop(tasks.spawn(async move { shared.enrolment.answer(exchange).await }));
                }
            }
        }
    }

    async fn link(&self, connection: Connection) {
        let address = connection.remote_address();
        let site = connection
            .peer_certificates()
            .first()
            .and_then(|own| certificate_facts(own).ok())
            .map(|facts| facts.site);
        let Some(site) = site else {
            tracing::warn!(%address, "a link without the certificate of a site is closed");
            return connection.close(CLOSE_NOT_A_SITE, NOT_A_SITE);
        };
        let Some(number) = self.sites.up(&site, connection.handle()) else {
            return tracing::warn!(%site, %address, "a link of a site that was revoked is closed");
        };
        tracing::info!(%site, %address, "link up");
        let end = connection.run(self.sites.hop(&site), self.stop.clone()).await;
        self.sites.down(&site, number);
        tracing::info!(%site, %end, "link down");
    }

    /// Renews the relay's own certificate when it is due.
    async fn look_after(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.stop.cancelled() => return,
            }
            let now = self.clock.now();
            let due = *self
                .renew_server_at
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if now < due {
                continue;
            }
            let names = [self.config.host.clone()];
            let made =
                self.authority
                    .server_config(&names, &[ALPN_LINK, ALPN_ENROLL], self.directory.revocations(), now);
            match made {
                Ok((tls, next)) => {
                    if let Err(error) = self.endpoint.set_server_config(tls) {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the renewed certificate is not taken"
                        );
                    }
                    *self
                        .renew_server_at
                        .lock()
                        .unwrap_or_else(std::sync::PoisonError::into_inner) = next;
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the relay's certificate cannot be renewed"
                    );
                }
            }
        }
    }

    async fn status(&self) -> Result<Value, AdminError> {
        let records = self.directory.registry().sites().await;
        let records = records.map_err(|error| AdminError::failed(&error))?;
        let mut sites = Vec::with_capacity(records.len());
        for record in &records {
            sites.push(self.site_status(&record.site).await?);
        }
        Ok(json!({
            "build": BUILD,
            "quic": self.address.to_string(),
            "started": self.started.to_string(),
            "sites": sites,
        }))
    }

    /// A site's link, what waits for it, and what was given up because it refused it.
    async fn site_status(&self, site: &SiteName) -> Result<Value, AdminError> {
        let queue = queue_of(site);
        let (mut waiting, mut waiting_bytes, mut failed, mut failed_bytes) = (0, 0, 0, 0);
        for count in self.spool.counts().iter().filter(|count| count.queue == queue) {
            let (entries, bytes) = match count.state {
                EntryState::Failed => (&mut failed, &mut failed_bytes),
                EntryState::Ready | EntryState::Acked | EntryState::Held | EntryState::Kept => {
                    (&mut waiting, &mut waiting_bytes)
                }
            };
            *entries += count.entries;
            *bytes += count.bytes;
        }
        let filter = Filter {
            queue: Some(queue),
            state: Some(EntryState::Failed),
        };
        let oldest = self.spool.page(0, filter, 1).await;
        let oldest = oldest.map_err(|error| AdminError::failed(&error))?;
        Ok(json!({
            "site": site.as_str(),
            "link": self.link_status(site),
            "waiting": waiting,
            "waiting_bytes": waiting_bytes,
            "failed": failed,
            "failed_bytes": failed_bytes,
            "failed_why": oldest.first().map(|(_, entry)| entry.note.as_str()),
        }))
    }

    fn link_status(&self, site: &SiteName) -> Value {
        match self.sites.state(site) {
            LinkState::Up { since, handle } => json!({
                "state": "up",
                "since": since.to_string(),
                "address": handle.remote_address().to_string(),
                "build": handle.peer_build(),
                "rtt_ms": handle.stats().rtt.as_secs_f64() * 1000.0,
                "wire_bytes_sent": handle.stats().wire_bytes_sent,
                "wire_bytes_received": handle.stats().wire_bytes_received,
            }),
            LinkState::Down { since } => json!({ "state": "down", "since": since.map(|at| at.to_string()) }),
        }
    }

    async fn revoke(&self, site: &SiteName) -> Result<Value, AdminError> {
        let registry = self.directory.registry();
        let known = registry
            .revoke(site, self.clock.now())
            .await
            .map_err(|error| AdminError::failed(&error))?;
        self.directory
            .refresh()
            .await
            .map_err(|error| AdminError::failed(&error))?;
        if !known {
            return Err(AdminError::new(
                "not-found",
                format!("no site {site} has joined this relay"),
            ));
        }
        self.sites
            .close(site, CLOSE_NOT_A_SITE, "this site was revoked at the relay");
        Ok(json!({ "revoked": site.as_str() }))
    }
}

#[async_trait]
impl AdminHandler for Shared {
    async fn handle(&self, command: &str, args: Value, _upload: &mut Upload) -> Result<Value, AdminError> {
        let site = || {
            let text = args.get("site").and_then(Value::as_str).unwrap_or_default();
            SiteName::try_from(text).map_err(|error| AdminError::new("bad-request", error.to_string()))
        };
        match command {
            "status" => self.status().await,
            "sites" => crate::commands::sites(&**self.directory.registry()).await,
            "revoke" => self.revoke(&site()?).await,
            "failed" => custody::failed(&self.spool).await,
            "retry" => custody::retry(&self.spool, self.sites.epoch(), &args).await,
            "discard" => custody::discard(&self.spool, self.sites.epoch(), &args).await,
            "invite" => {
                let seconds = args.get("expires_s").and_then(Value::as_u64).unwrap_or(3600);
                let port = self.config.port.unwrap_or_else(|| self.address.port());
                let registry = &**self.directory.registry();
                let expires = self.clock.now().saturating_add(Duration::from_secs(seconds));
                invite(registry, &self.authority, &self.config.host, port, site()?, expires).await
            }
            other => Err(AdminError::new(
                "unknown-command",
                format!("the relay at {} has no command {other}", self.folder.display()),
            )),
        }
    }
}
