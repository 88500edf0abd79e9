//! From a socket to a connection with TLS, for both roles.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, CommonState, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::certificate::Certificate;
use super::error::{self, TlsError};
use super::names;
use super::profile;
use super::recorder::Recorder;
use super::trust::Trust;
use super::verify::{AcceptorVerifier, RequestorVerifier};
use crate::driver::connection::Connection;

/// How long a handshake may take.
pub const DEFAULT_HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a peer that is refused may take to read why: closing a socket with unread data resets it, and the reset
/// overtakes the alert.
const ALERT_LINGER: Duration = Duration::from_secs(2);

pub(in crate::driver) type TlsStream = tokio_rustls::TlsStream<Recorder>;

/// Our own certificate, with its chain and its key.
pub struct TlsIdentity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    certificate: Certificate,
}

/// Without the key.
impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// A TLS configuration cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsConfigError {
    /// The certificates.
    #[error("the certificate file holds no certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    /// The key.
    #[error("the key file holds no private key that can be used (-----BEGIN PRIVATE KEY-----, without a password)")]
    NoKey,
    /// They do not belong together, or are of a kind that is not supported.
    #[error("certificate and key cannot be used: {_0}")]
    Unusable(String),
    /// A name.
    #[error("{_0:?} is no host name and no address")]
    Name(String),
    /// A requestor that would believe nobody.
    #[error("nobody is trusted: a pin or a file of trusted certificates is needed")]
    NoTrust,
}

impl TlsIdentity {
    /// Reads PEM: the certificate, then whoever issued it; and the key (PKCS#8, SEC1 or PKCS#1, not encrypted).
    ///
    /// # Errors
    /// [`TlsConfigError`].
    pub fn of_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsConfigError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificates).collect();
        let chain = read.map_err(|_| TlsConfigError::NoCertificate)?;
        let certificate = chain.first().and_then(|own| Certificate::read(own));
        let certificate = certificate.ok_or(TlsConfigError::NoCertificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsConfigError::NoKey)?;
        Ok(Self {
            chain,
            key,
            certificate,
        })
    }

    /// What it says.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }
}

/// Whether an acceptor wants a certificate of a requestor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// None is asked for.
    None,
    /// Without one that is trusted there is no connection.
    Required(Trust),
}

/// What is known of a TLS connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerTls {
    version: String,
    suite: String,
    chain: Vec<CertificateDer<'static>>,
}

impl PeerTls {
    pub(super) fn of(state: &CommonState) -> Self {
        let version = state.protocol_version().map_or(0, u16::from);
        let suite = state
            .negotiated_cipher_suite()
            .map_or(0, |suite| u16::from(suite.suite()));
        let chain = state.peer_certificates().unwrap_or_default();
        Self {
            version: names::version(version),
            suite: names::suite(suite),
            chain: chain
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
        }
    }

    /// `TLS 1.3`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// `TLS_AES_256_GCM_SHA384`.
    #[must_use]
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// What the peer presented, its own certificate first; empty when it presented none.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What the peer's own certificate says.
    #[must_use]
    pub fn certificate(&self) -> Option<Certificate> {
        Certificate::read(self.chain.first()?)
    }
}

impl fmt::Display for PeerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.version, self.suite)
    }
}

/// Accepts TLS connections with one certificate.
#[derive(Clone)]
pub struct TlsAcceptor {
    config: Arc<ServerConfig>,
    certificate: Certificate,
    asks_for_certificate: bool,
    handshake: Duration,
}

/// Without the key.
impl fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsAcceptor")
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

impl TlsAcceptor {
    /// With this certificate, asking requestors for theirs or not, and [`DEFAULT_HANDSHAKE`].
    ///
    /// # Errors
    /// [`TlsConfigError`].
    pub fn new(identity: TlsIdentity, client: ClientAuthentication) -> Result<Self, TlsConfigError> {
        let unusable = |error: rustls::Error| TlsConfigError::Unusable(error.to_string());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&profile::ACCEPTOR));
        let builder = builder.with_protocol_versions(profile::VERSIONS).map_err(unusable)?;
        let asks_for_certificate = client != ClientAuthentication::None;
        let certificate = identity.certificate.clone();
        let builder = match client {
            ClientAuthentication::None => builder.with_no_client_auth(),
            ClientAuthentication::Required(trust) => {
                builder.with_client_cert_verifier(Arc::new(RequestorVerifier(trust)))
            }
        };
        let mut config = builder
            .with_single_cert(identity.chain, identity.key)
            .map_err(unusable)?;
        profile::harden_acceptor(&mut config);
        Ok(Self {
            config: Arc::new(config),
            certificate,
            asks_for_certificate,
            handshake: DEFAULT_HANDSHAKE,
        })
    }

    /// What it presents.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Whether requestors must present theirs.
    #[must_use]
    pub const fn asks_for_certificate(&self) -> bool {
        self.asks_for_certificate
    }

    /// How long a handshake may take.
    #[must_use]
    pub const fn handshake(&self) -> Duration {
        self.handshake
    }

    /// Another deadline for handshakes.
    #[must_use]
    pub const fn with_handshake(mut self, handshake: Duration) -> Self {
        self.handshake = handshake;
        self
    }

    /// Does the handshake on a connection that has come in.
    ///
    /// # Errors
    /// [`TlsError`]; the peer has been sent an alert where that says anything.
    pub async fn accept(&self, socket: TcpStream) -> Result<Connection, TlsError> {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&self.config));
        let accepting = acceptor.accept(Recorder::new(socket)).into_fallible();
        let mut stream = within(self.handshake, Box::pin(accepting)).await?;
        stream.get_mut().0.first_words();
        let peer = PeerTls::of(stream.get_ref().1);
        Ok(Connection::secured(stream.into(), peer))
    }
}

/// Requests TLS connections of one peer.
#[derive(Clone)]
pub struct TlsRequestor {
    config: Arc<ClientConfig>,
    certificate: Option<Certificate>,
    name: Option<ServerName<'static>>,
    handshake: Duration,
}

/// Without the key.
impl fmt::Debug for TlsRequestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsRequestor")
            .field("name", &self.name)
            .field("handshake", &self.handshake)
            .finish_non_exhaustive()
    }
}

impl TlsRequestor {
    /// Believes whom `trust` says, and shows `identity` when it is asked for a certificate; with [`DEFAULT_HANDSHAKE`].
    ///
    /// # Errors
    /// [`TlsConfigError`].
    pub fn new(trust: Trust, identity: Option<TlsIdentity>) -> Result<Self, TlsConfigError> {
        if trust.is_empty() {
            return Err(TlsConfigError::NoTrust);
        }
        let unusable = |error: rustls::Error| TlsConfigError::Unusable(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&profile::REQUESTOR));
        let builder = builder.with_protocol_versions(profile::VERSIONS).map_err(unusable)?;
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptorVerifier(trust)));
        let certificate = identity.as_ref().map(|identity| identity.certificate.clone());
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(unusable)?,
        };
        profile::harden_requestor(&mut config);
        Ok(Self {
            config: Arc::new(config),
            certificate,
            name: None,
            handshake: DEFAULT_HANDSHAKE,
        })
    }

    /// What it presents when it is asked; `None`: nothing.
    #[must_use]
    pub const fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// How long a handshake may take.
    #[must_use]
    pub const fn handshake(&self) -> Duration {
        self.handshake
    }

    /// The name that a CA has certified, where it is not the host that is called.
    ///
    /// # Errors
    /// [`TlsConfigError::Name`].
    pub fn with_name(mut self, name: &str) -> Result<Self, TlsConfigError> {
        self.name = Some(server_name(name)?);
        Ok(self)
    }

    /// Another deadline for handshakes.
    #[must_use]
    pub const fn with_handshake(mut self, handshake: Duration) -> Self {
        self.handshake = handshake;
        self
    }

    /// Does the handshake on a connection to `address` (`host:port`), whose host is the name that is expected.
    ///
    /// # Errors
    /// [`TlsError`]; the peer has been sent an alert where that says anything.
    pub async fn secure(&self, socket: TcpStream, address: &str) -> Result<Connection, TlsError> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name_in(address).map_err(|error| TlsError::Io(error.to_string()))?,
        };
        let mut stream = connect(&self.config, name, self.handshake, socket).await?;
        stream.get_mut().0.first_words();
        let peer = PeerTls::of(stream.get_ref().1);
        Ok(Connection::secured(stream.into(), peer))
    }
}

/// A requestor's handshake.
pub(super) async fn connect(
    config: &Arc<ClientConfig>,
    name: ServerName<'static>,
    handshake: Duration,
    socket: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<Recorder>, TlsError> {
    let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
    let connecting = connector.connect(name, Recorder::new(socket)).into_fallible();
    within(handshake, Box::pin(connecting)).await
}

/// A handshake within its time; the failed one's alert is given time to arrive.
async fn within<T>(
    handshake: Duration,
    shaking: impl Future<Output = Result<T, (io::Error, Recorder)>>,
) -> Result<T, TlsError> {
    match timeout(handshake, shaking).await {
        Err(_) => Err(TlsError::TimedOut { waited: handshake }),
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, mut recorder))) => {
            let said = recorder.first_words();
            drop(timeout(ALERT_LINGER, close(recorder)).await);
            Err(error::of_handshake(&error, &said))
        }
    }
}

async fn close(mut recorder: Recorder) -> io::Result<()> {
    recorder.shutdown().await?;
    let mut rest = [0; 4096];
    while recorder.read(&mut rest).await? > 0 {}
    Ok(())
}

/// The host of `host:port`, also of `[::1]:port`.
pub(super) fn name_in(address: &str) -> Result<ServerName<'static>, TlsConfigError> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    server_name(host.trim_start_matches('[').trim_end_matches(']'))
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsConfigError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsConfigError::Name(name.to_owned()))
}
