//! A UDP socket: links and exchanges come in and go out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use quinn::{TokioRuntime, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;

use super::accept::{Acceptor, Incoming};
use super::config::{ALPN_ENROLL, TransportConfig};
use super::connection::Connection;
use super::error::{AskError, ConnectError, EndpointError, connect_error};
use super::exchange;
use super::{socket, tls};
use crate::frame::{TEXT_LEN_MAX, clean};

/// How long a handshake may take. At 200 ms a lossy one takes two seconds.
pub(crate) const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Links and exchanges that wait for [`Endpoint::accept`].
const ACCEPTED_MAX: usize = 64;
/// How long the peers may take to hear that the endpoint closes.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// A UDP socket over which links and exchanges come in (a server) and go out (both). Cheap to clone; the last clone
/// dropped closes it.
#[derive(Clone, Debug)]
pub struct Endpoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    quic: quinn::Endpoint,
    config: TransportConfig,
    accepted: Option<Mutex<mpsc::Receiver<Incoming>>>,
    acceptor: Option<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.quic.close(VarInt::from_u32(0), b"the endpoint was dropped");
        if let Some(acceptor) = &self.acceptor {
            acceptor.abort();
        }
    }
}

impl Endpoint {
    /// Listens. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be had; or the TLS configuration has early data or sends tickets (a ticket would outlive a
    /// revocation).
    pub fn server(
        bind: SocketAddr,
        tls: Arc<rustls::ServerConfig>,
        config: TransportConfig,
    ) -> Result<Self, EndpointError> {
        let server = tls::server(tls, &config).map_err(EndpointError::Tls)?;
        let quic = open(bind, Some(server), config.reset_secret)?;
        let (sender, accepted) = mpsc::channel(ACCEPTED_MAX);
        let acceptor = tokio::spawn(Acceptor::new(quic.clone(), config.clone(), sender).run());
        Ok(Self(Arc::new(Inner {
            quic,
            config,
            accepted: Some(Mutex::new(accepted)),
            acceptor: Some(acceptor.abort_handle()),
        })))
    }

    /// Only dials. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be had.
    pub fn client(bind: SocketAddr, config: TransportConfig) -> Result<Self, EndpointError> {
        Ok(Self(Arc::new(Inner {
            quic: open(bind, None, config.reset_secret)?,
            config,
            accepted: None,
            acceptor: None,
        })))
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.quic.local_addr()
    }

    /// The next link or exchange; handshakes and requests are read beside each other, so that a slow one holds up nobody.
    /// `None` when the endpoint was closed, or only dials.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn accept(&self) -> Option<Incoming> {
        let accepted = self.0.accepted.as_ref()?;
        accepted.lock().await.recv().await
    }

    /// Dials a link.
    ///
    /// # Errors
    /// See [`ConnectError`].
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<Connection, ConnectError> {
        let connection = self.dial(address, server_name, tls).await?;
        Ok(Connection::new(connection, &self.0.config))
    }

    /// Asks one request and waits for its answer, at most 10 s in all. `request` gets the 32 bytes of
    /// [`Exchange::exporter`](super::Exchange::exporter). The connection uses ALPN [`ALPN_ENROLL`](super::ALPN_ENROLL) whatever `tls` lists.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask(
        &self,
        address: SocketAddr,
        server_name: &str,
        tls: Arc<rustls::ClientConfig>,
        request: impl FnOnce(&[u8; 32]) -> Vec<u8> + Send,
    ) -> Result<Vec<u8>, AskError> {
        let mut tls = (*tls).clone();
        tls.alpn_protocols = vec![ALPN_ENROLL.to_vec()];
        let asked = async {
            let connection = self.dial(address, server_name, Arc::new(tls)).await?;
            exchange::ask(&connection, address, request).await
        };
        let answer = tokio::time::timeout(exchange::DEADLINE, asked).await;
        answer.unwrap_or(Err(AskError::TimedOut { address }))
    }

    /// From now on, new connections get this configuration; those that are open stay as they are.
    ///
    /// # Errors
    /// As for [`server`](Self::server).
    pub fn set_server_config(&self, tls: Arc<rustls::ServerConfig>) -> Result<(), EndpointError> {
        let server = tls::server(tls, &self.0.config).map_err(EndpointError::Tls)?;
        self.0.quic.set_server_config(Some(server));
        Ok(())
    }

    /// Closes every connection with a number and a sentence, and waits until the peers know, at most 2 s.
    pub async fn close(&self, code: u16, sentence: &str) {
        let reason = clean(sentence, TEXT_LEN_MAX);
        self.0.quic.close(VarInt::from_u32(code.into()), reason.as_bytes());
        if tokio::time::timeout(CLOSE_MAX, self.0.quic.wait_idle()).await.is_err() {
            tracing::debug!("some peers were not told of the end");
        }
    }

    pub(crate) fn config(&self) -> &TransportConfig {
        &self.0.config
    }

    async fn dial(
        &self,
        address: SocketAddr,
        server_name: &str,
        tls: Arc<rustls::ClientConfig>,
    ) -> Result<quinn::Connection, ConnectError> {
        let client = tls::client(tls, &self.0.config).map_err(ConnectError::Tls)?;
        let unusable = |error: quinn::ConnectError| ConnectError::Unusable {
            address,
            problem: error.to_string(),
        };
        let connecting = self
            .0
            .quic
            .connect_with(client, address, server_name)
            .map_err(unusable)?;
        match tokio::time::timeout(HANDSHAKE_MAX, connecting).await {
            Ok(connected) => connected.map_err(|error| connect_error(address, &error)),
            Err(_) => Err(ConnectError::NoAnswer { address }),
        }
    }
}

fn open(
    bind: SocketAddr,
    server: Option<quinn::ServerConfig>,
    reset_secret: Option<[u8; 32]>,
) -> Result<quinn::Endpoint, EndpointError> {
    let failed = |source| EndpointError::Bind { address: bind, source };
    let socket = socket::bind(bind).map_err(failed)?;
    let config = reset_secret.map_or_else(quinn::EndpointConfig::default, |secret| recognizable(&secret));
    quinn::Endpoint::new(config, server, socket, Arc::new(TokioRuntime)).map_err(failed)
}

/// A configuration under which connections of an earlier start are answered with resets that their peers believe: both
/// the connection ids and the reset tokens must be what the same secret made then.
fn recognizable(secret: &[u8; 32]) -> quinn::EndpointConfig {
    let derived = |label: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), label);
    let ids = derived(b"connection ids");
    let ids = ids.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let resets = hmac::Key::new(hmac::HMAC_SHA256, derived(b"stateless resets").as_ref());
    let mut config = quinn::EndpointConfig::new(Arc::new(resets));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(ids)));
    config
}
