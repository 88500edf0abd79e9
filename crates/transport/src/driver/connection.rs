//! One link: an authenticated connection on which a session can be run.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::config::TransportConfig;
use super::custodian::Custodian;
use super::error::CertificateProblem;
use super::lane::Lane;
use super::link::Link;
use super::quic::{QuicLane, wire_bytes};
use super::socket::canonical;

/// An authenticated connection on which a session can be [run](Self::run). Dropped, it is closed.
#[derive(Debug)]
pub struct Connection {
    lane: Arc<QuicLane>,
    build: String,
    peer_build: watch::Sender<Option<String>>,
    handle: LinkHandle,
}

/// A hold on a running link, for whoever watches it or must end it. Cheap to clone; does not keep the link alive.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    lane: Arc<QuicLane>,
    counters: Arc<Counters>,
    peer_build: watch::Receiver<Option<String>>,
}

/// Payload that went over a link.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) bytes_sent: AtomicU64,
    pub(crate) bytes_received: AtomicU64,
    pub(crate) segments_sent: AtomicU64,
    pub(crate) segments_received: AtomicU64,
}

/// How a link ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkEnd {
    /// We were told to stop.
    #[error("the link was stopped")]
    Stopped,
    /// The peer closed it.
    #[error("the peer closed the link: {sentence} (code {code})")]
    ClosedByPeer {
        /// The peer's number: 0 to 15 are transport's own, the rest its owner's.
        code: u64,
        /// The peer's sentence, safe to print.
        sentence: String,
    },
    /// No protocol version in common.
    #[error("{sentence}")]
    VersionMismatch {
        /// Who speaks what, and who should be updated.
        sentence: String,
    },
    /// The peer does not accept our certificate.
    #[error("the peer did not accept our certificate, which {}", problem.words())]
    CertificateRejected {
        /// Why.
        problem: CertificateProblem,
    },
    /// Nothing was heard for the idle time, or the peer restarted.
    #[error("the link was lost: {why}")]
    Lost {
        /// In a few words.
        why: String,
    },
    /// The peer broke the protocol; the link was closed.
    #[error("the peer broke the protocol: {how}")]
    PeerMisbehaved {
        /// How.
        how: String,
    },
    /// Our custodian can go on no more.
    #[error("our own custody failed: {why}")]
    CustodyFailed {
        /// Why, in the custodian's words.
        why: String,
    },
}

/// What went over a link so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Congestion window in bytes.
    pub congestion_window: u64,
    /// UDP datagrams sent.
    pub datagrams_sent: u64,
    /// UDP datagrams received.
    pub datagrams_received: u64,
    /// Bytes sent on the wire, with IP and UDP headers.
    pub wire_bytes_sent: u64,
    /// Bytes received on the wire, with IP and UDP headers.
    pub wire_bytes_received: u64,
    /// Packets that were declared lost.
    pub packets_lost: u64,
    /// Payload bytes that the peer's transport has taken.
    pub payload_bytes_sent: u64,
    /// Payload bytes received whole, segment by segment, doubles counted.
    pub payload_bytes_received: u64,
    /// Segments whose bytes the peer's transport has taken.
    pub segments_sent: u64,
    /// Segments received whole, doubles counted.
    pub segments_received: u64,
}

impl Connection {
    pub(crate) fn new(connection: quinn::Connection, config: &TransportConfig) -> Self {
        let lane = Arc::new(QuicLane::new(connection, &config.memory));
        let (peer_build, watched) = watch::channel(None);
        let handle = LinkHandle {
            lane: Arc::clone(&lane),
            counters: Arc::default(),
            peer_build: watched,
        };
        Self {
            lane,
            build: config.build.clone(),
            peer_build,
            handle,
        }
    }

    /// The peer's certificate chain, its own first; empty when it showed none.
    #[must_use]
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        peer_certificates(&self.lane.connection)
    }

    /// Where the peer is now (a client may move).
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.handle.remote_address()
    }

    /// What went over it so far.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.handle.stats()
    }

    /// A hold on this link that lasts while it runs.
    #[must_use]
    pub fn handle(&self) -> LinkHandle {
        self.handle.clone()
    }

    /// Closes at once, with a number and a sentence that the peer shows to its administrator. Numbers 0 to 15 are
    /// transport's own. At most 256 bytes of the sentence are sent.
    pub fn close(&self, code: u16, sentence: &str) {
        self.handle.close(code, sentence);
    }

    /// Runs the session until it ends: offers what the custodian has, takes what the peer offers.
    ///
    /// When `stop` is cancelled nothing new is offered or taken; what was finished is acknowledged, and the link closes
    /// within 2 s. Whatever is unacknowledged at the end is given back through [`Custodian::lost`], before this returns.
    ///
    /// # Cancel safety
    /// Not cancel-safe: dropped, it closes the connection but gives nothing back. Cancel `stop` instead.
    pub async fn run(self, custodian: Arc<dyn Custodian>, stop: CancellationToken) -> LinkEnd {
        let counters = Arc::clone(&self.handle.counters);
        let link = Link::new(Arc::clone(&self.lane), custodian, counters, &self.build);
        Box::pin(link.run(&self.peer_build, &stop)).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.handle.close(crate::session::CLOSE_STOPPED, "the link was dropped");
    }
}

impl LinkHandle {
    /// What went over it so far.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        let quic = self.lane.connection.stats();
        let remote = self.lane.connection.remote_address();
        let counters = &self.counters;
        LinkStats {
            rtt: quic.path.rtt,
            congestion_window: quic.path.cwnd,
            datagrams_sent: quic.udp_tx.datagrams,
            datagrams_received: quic.udp_rx.datagrams,
            wire_bytes_sent: wire_bytes(&quic.udp_tx, remote),
            wire_bytes_received: wire_bytes(&quic.udp_rx, remote),
            packets_lost: quic.path.lost_packets,
            payload_bytes_sent: counters.bytes_sent.load(Ordering::Relaxed),
            payload_bytes_received: counters.bytes_received.load(Ordering::Relaxed),
            segments_sent: counters.segments_sent.load(Ordering::Relaxed),
            segments_received: counters.segments_received.load(Ordering::Relaxed),
        }
    }

    /// Where the peer is now.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        canonical(self.lane.connection.remote_address())
    }

    /// What the peer calls itself; `None` until its hello came. Printable ASCII, at most 64 bytes.
    #[must_use]
    pub fn peer_build(&self) -> Option<String> {
        self.peer_build.borrow().clone()
    }

    /// Waits until the session is up and says what the peer calls itself; `None` when the link ended before.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn established(&self) -> Option<String> {
        let mut peer_build = self.peer_build.clone();
        let seen = peer_build.wait_for(Option::is_some).await;
        seen.ok().and_then(|build| build.clone())
    }

    /// Closes the link at once, as [`Connection::close`] does: for a certificate that was revoked.
    pub fn close(&self, code: u16, sentence: &str) {
        self.lane.close(code, sentence);
    }
}

pub(crate) fn peer_certificates(connection: &quinn::Connection) -> Vec<CertificateDer<'static>> {
    let identity = connection.peer_identity();
    let chain = identity.and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    chain.map_or_else(Vec::new, |chain| *chain)
}
