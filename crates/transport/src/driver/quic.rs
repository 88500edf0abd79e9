//! The QUIC lane: one connection, one bidirectional control stream, one unidirectional stream per segment.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt, WriteError};

use super::connection::LinkEnd;
use super::error::rejected_certificate;
use super::lane::{ADAPT_MIN, ControlReceiver, ControlSender, Incoming, Lane, LaneError, Outgoing};
use super::memory::{MemoryBudget, Share};
use crate::frame::{TEXT_LEN_MAX, clean};
use crate::schedule::CONTROL_PRIORITY;
use crate::session::CLOSE_VERSION;

/// What a link may receive before it has shown that it needs more: enough for 160 Mbit/s at 100 ms.
pub(crate) const RECEIVE_WINDOW_MIN: u64 = 2 << 20;
/// What one link may receive at most: 1 Gbit/s at 250 ms, twice.
const RECEIVE_WINDOW_MAX: u64 = 64 << 20;
/// Bytes read from the control stream at once.
const CONTROL_READ_MAX: usize = 64 << 10;
/// The number with which one stream is given up.
const GIVEN_UP: VarInt = VarInt::from_u32(1);

#[derive(Debug)]
pub(crate) struct QuicLane {
    pub(crate) connection: quinn::Connection,
    window: Mutex<ReceiveWindow>,
}

/// The receive window, and what it was last set by.
#[derive(Debug)]
struct ReceiveWindow {
    share: Share,
    set: u64,
    sample: Option<(Instant, u64)>,
}

impl QuicLane {
    pub(crate) fn new(connection: quinn::Connection, memory: &Arc<MemoryBudget>) -> Self {
        let window = ReceiveWindow {
            share: Share::take(memory, RECEIVE_WINDOW_MIN),
            set: RECEIVE_WINDOW_MIN,
            sample: None,
        };
        Self {
            connection,
            window: Mutex::new(window),
        }
    }
}

impl Lane for QuicLane {
    type Outgoing = QuicOutgoing;
    type Incoming = RecvStream;
    type ControlSender = SendStream;
    type ControlReceiver = RecvStream;

    async fn control(&self) -> Result<(SendStream, RecvStream), LaneError> {
        let (sender, receiver) = match self.connection.side() {
            quinn::Side::Client => self.connection.open_bi().await,
            quinn::Side::Server => self.connection.accept_bi().await,
        }
        .map_err(|_| LaneError::Gone)?;
        sender.set_priority(CONTROL_PRIORITY).map_err(|_| LaneError::Gone)?;
        Ok((sender, receiver))
    }

    async fn open(&self, priority: i32) -> Result<QuicOutgoing, LaneError> {
        let stream = self.connection.open_uni().await.map_err(|_| LaneError::Gone)?;
        stream.set_priority(priority).map_err(|_| LaneError::Gone)?;
        Ok(QuicOutgoing(stream))
    }

    async fn accept(&self) -> Result<RecvStream, LaneError> {
        self.connection.accept_uni().await.map_err(|_| LaneError::Gone)
    }

    async fn closed(&self) -> LinkEnd {
        link_end(&self.connection.closed().await)
    }

    fn close(&self, code: u16, sentence: &str) {
        let reason = clean(sentence, TEXT_LEN_MAX);
        self.connection.close(VarInt::from_u32(code.into()), reason.as_bytes());
    }

    fn window(&self) -> u64 {
        self.connection.stats().path.cwnd
    }

    fn adapt(&self, now: Instant) {
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let rtt = self.connection.rtt();
        let pause = rtt.saturating_mul(2).max(ADAPT_MIN);
        if let Some((since, _)) = window.sample
            && now.saturating_duration_since(since) < pause
        {
            return;
        }
        let received = self.connection.stats().udp_rx.bytes;
        let before = window.sample.replace((now, received));
        // After a silence the rate says nothing.
        let Some((since, bytes)) = before.filter(|(since, _)| now.saturating_duration_since(*since) < 4 * pause) else {
            return;
        };
        let bdp = bdp(
            received.saturating_sub(bytes),
            now.saturating_duration_since(since),
            rtt,
        );
        window.raise(&self.connection, bdp.saturating_mul(2).min(RECEIVE_WINDOW_MAX));
    }
}

impl ReceiveWindow {
    fn raise(&mut self, connection: &quinn::Connection, wanted: u64) {
        let given = self.share.grow(wanted);
        if given > self.set
            && let Ok(value) = VarInt::from_u64(given)
        {
            self.set = given;
            connection.set_receive_window(value);
        }
    }
}

/// Bandwidth-delay product in bytes.
fn bdp(bytes: u64, elapsed: Duration, rtt: Duration) -> u64 {
    let product = u128::from(bytes).saturating_mul(rtt.as_nanos());
    let bdp = product.checked_div(elapsed.as_nanos()).unwrap_or(0);
    u64::try_from(bdp).unwrap_or(u64::MAX)
}

#[derive(Debug)]
pub(crate) struct QuicOutgoing(SendStream);

impl Outgoing for QuicOutgoing {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &Bytes) -> Poll<Result<usize, LaneError>> {
        let mut chunks = [bytes.clone()];
        // Dropped while it waits, nothing is written, and the stream keeps this task's waker.
        let write = pin!(self.0.write_chunks(&mut chunks));
        write.poll(cx).map(|result| match result {
            Ok(written) => Ok(written.bytes),
            Err(WriteError::Stopped(_)) => Err(LaneError::GivenUp),
            Err(_) => Err(LaneError::Gone),
        })
    }

    fn finish(mut self) -> impl Future<Output = Result<(), LaneError>> + Send + 'static {
        let finished = self.0.finish();
        async move {
            finished.map_err(|_| LaneError::GivenUp)?;
            match self.0.stopped().await {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(LaneError::GivenUp),
                Err(_) => Err(LaneError::Gone),
            }
        }
    }

    fn abandon(mut self) {
        // It fails only when the stream is over already.
        self.0.reset(GIVEN_UP).ok();
    }
}

impl Incoming for RecvStream {
    async fn read(&mut self, len_max: usize) -> Result<Option<Bytes>, LaneError> {
        match self.read_chunk(len_max, true).await {
            Ok(chunk) => Ok(chunk.map(|chunk| chunk.bytes)),
            Err(ReadError::Reset(_)) => Err(LaneError::GivenUp),
            Err(_) => Err(LaneError::Gone),
        }
    }
}

impl ControlSender for SendStream {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, LaneError> {
        Self::write(self, bytes).await.map_err(|_| LaneError::Gone)
    }

    async fn finish(&mut self) {
        if Self::finish(self).is_ok() {
            // Whatever it says, there is no more to wait for.
            self.stopped().await.ok();
        }
    }
}

impl ControlReceiver for RecvStream {
    async fn read(&mut self) -> Result<Option<Bytes>, LaneError> {
        let chunk = self.read_chunk(CONTROL_READ_MAX, true).await;
        chunk
            .map(|chunk| chunk.map(|chunk| chunk.bytes))
            .map_err(|_| LaneError::Gone)
    }
}

/// What went over a connection on the wire: datagrams, and bytes with IP and UDP headers.
pub(crate) fn wire_bytes(udp: &quinn::UdpStats, remote: SocketAddr) -> u64 {
    let header = match remote {
        SocketAddr::V4(_) => 28,
        SocketAddr::V6(address) if address.ip().to_ipv4_mapped().is_some() => 28,
        SocketAddr::V6(_) => 48,
    };
    udp.bytes.saturating_add(udp.datagrams.saturating_mul(header))
}

fn link_end(error: &ConnectionError) -> LinkEnd {
    match error {
        ConnectionError::ApplicationClosed(close) => {
            let sentence = clean(&String::from_utf8_lossy(&close.reason), TEXT_LEN_MAX);
            match close.error_code.into_inner() {
                code if code == u64::from(CLOSE_VERSION) => LinkEnd::VersionMismatch { sentence },
                code => LinkEnd::ClosedByPeer { code, sentence },
            }
        }
        ConnectionError::ConnectionClosed(close) => match rejected_certificate(close.error_code) {
            Some(problem) => LinkEnd::CertificateRejected { problem },
            None => lost(error),
        },
        ConnectionError::TimedOut => LinkEnd::Lost {
            why: "nothing was heard for the idle time".to_owned(),
        },
        ConnectionError::Reset => LinkEnd::Lost {
            why: "the peer restarted".to_owned(),
        },
        ConnectionError::LocallyClosed => LinkEnd::Stopped,
        _ => lost(error),
    }
}

fn lost(error: &ConnectionError) -> LinkEnd {
    LinkEnd::Lost {
        why: clean(&error.to_string(), TEXT_LEN_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bandwidth_delay_product_is_rate_times_time() {
        let (second, hundredth) = (Duration::from_secs(1), Duration::from_millis(100));
        assert_eq!(bdp(125_000_000, second, hundredth), 12_500_000);
        assert_eq!(bdp(1, Duration::ZERO, hundredth), 0);
    }

    #[test]
    fn wire_bytes_have_the_headers_of_their_address_family() {
        let mut udp = quinn::UdpStats::default();
        udp.bytes = 1_000;
        udp.datagrams = 2;
        assert_eq!(wire_bytes(&udp, "192.0.2.1:4".parse().unwrap()), 1_056);
        assert_eq!(wire_bytes(&udp, "[::ffff:192.0.2.1]:4".parse().unwrap()), 1_056);
        assert_eq!(wire_bytes(&udp, "[2001:db8::1]:4".parse().unwrap()), 1_096);
    }
}
