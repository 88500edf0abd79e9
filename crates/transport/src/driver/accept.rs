//! What comes in: handshakes beside each other, then links and exchanges by their application protocol.

use std::sync::Arc;

use quinn::crypto::rustls::HandshakeData;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::config::{ALPN_ENROLL, ALPN_LINK, TransportConfig};
use super::connection::Connection;
use super::endpoint::HANDSHAKE_MAX;
use super::exchange::Exchange;
use super::tls::INCOMING_MAX;

/// Open handshakes from which on a peer must first show that its address is its own.
const RETRY_FROM: usize = 64;
/// QUIC close code for a protocol that we agreed on in TLS and do not know: cannot happen with the configurations that
/// list only ours.
const UNKNOWN_PROTOCOL: u32 = 2;

/// What came in.
#[derive(Debug)]
pub enum Incoming {
    /// A link (ALPN [`ALPN_LINK`](super::ALPN_LINK)). Whether its peer showed a certificate at all is the caller's to check.
    Link(Connection),
    /// A request (ALPN [`ALPN_ENROLL`](super::ALPN_ENROLL)).
    Exchange(Exchange),
}

pub(super) struct Acceptor {
    quic: quinn::Endpoint,
    config: TransportConfig,
    accepted: mpsc::Sender<Incoming>,
    /// Handshakes, and requests that are being read.
    places: Arc<Semaphore>,
}

impl Acceptor {
    pub(super) fn new(quic: quinn::Endpoint, config: TransportConfig, accepted: mpsc::Sender<Incoming>) -> Self {
        Self {
            quic,
            config,
            accepted,
            places: Arc::new(Semaphore::new(INCOMING_MAX)),
        }
    }

    pub(super) async fn run(self) {
        while let Some(incoming) = self.quic.accept().await {
            let open = INCOMING_MAX.saturating_sub(self.places.available_permits());
            if open >= RETRY_FROM && incoming.may_retry() && !incoming.remote_address_validated() {
                // It fails only for those that were retried already.
                incoming.retry().ok();
                continue;
            }
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                incoming.refuse();
                continue;
            };
            tokio::spawn(shake_hands(incoming, self.config.clone(), self.accepted.clone(), place));
        }
    }
}

async fn shake_hands(
    incoming: quinn::Incoming,
    config: TransportConfig,
    accepted: mpsc::Sender<Incoming>,
    place: OwnedSemaphorePermit,
) {
    let remote = super::socket::canonical(incoming.remote_address());
    let connection = match tokio::time::timeout(HANDSHAKE_MAX, incoming).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::info!(%remote, %error, "handshake failed"),
        Err(_) => return tracing::info!(%remote, "handshake took too long"),
    };
    let protocol = connection
        .handshake_data()
        .and_then(|data| data.downcast::<HandshakeData>().ok())
        .and_then(|data| data.protocol);
    let arrived = match protocol.as_deref() {
        Some(ALPN_LINK) => Some(Incoming::Link(Connection::new(connection, &config))),
        Some(ALPN_ENROLL) => Exchange::read(connection).await.map(Incoming::Exchange),
        Some(_) | None => {
            connection.close(UNKNOWN_PROTOCOL.into(), b"unknown application protocol");
            None
        }
    };
    if let Some(arrived) = arrived
        && accepted.send(arrived).await.is_err()
    {
        tracing::debug!(%remote, "the endpoint is closed");
    }
    drop(place);
}
