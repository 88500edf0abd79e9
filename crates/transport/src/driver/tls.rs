//! quinn configurations out of rustls ones, and what a rustls one must not have.

use std::sync::Arc;

use quinn::congestion::CubicConfig;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{IdleTimeout, VarInt};

use super::config::TransportConfig;
use super::quic::RECEIVE_WINDOW_MIN;
use crate::frame::SEGMENT_HEADER_LEN;
use crate::schedule::SEGMENTS_MAX;

/// Handshakes that may wait to be accepted.
pub(crate) const INCOMING_MAX: usize = 1_024;
/// Packets that may overtake one before it counts as lost. Both ends are ours: with quinn's 3, half a per cent of packets
/// 3 ms late costs Cubic 97 % of the line, with 64 it costs 7 %.
const PACKET_THRESHOLD: u32 = 64;
/// What quinn may hold unacknowledged. The schedule keeps far below it.
const SEND_WINDOW: u64 = 256 << 20;
/// 32 packets: at 150 ms and 100 Mbit/s more causes early drops.
const INITIAL_WINDOW: u64 = 32 * 1_200;

pub(crate) fn server(
    tls: Arc<rustls::ServerConfig>,
    config: &TransportConfig,
) -> Result<quinn::ServerConfig, &'static str> {
    if tls.max_early_data_size != 0 {
        return Err("early data (0-RTT) must be off: max_early_data_size = 0");
    }
    if tls.send_tls13_tickets != 0 {
        return Err("session tickets must be off, for they outlive a revocation: send_tls13_tickets = 0");
    }
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| NO_QUIC_SUITE)?;
    let mut quic = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    quic.transport_config(transport(config)).max_incoming(INCOMING_MAX);
    Ok(quic)
}

pub(crate) fn client(
    tls: Arc<rustls::ClientConfig>,
    config: &TransportConfig,
) -> Result<quinn::ClientConfig, &'static str> {
    if tls.enable_early_data {
        return Err("early data (0-RTT) must be off: enable_early_data = false");
    }
    let crypto = QuicClientConfig::try_from(tls).map_err(|_| NO_QUIC_SUITE)?;
    let mut quic = quinn::ClientConfig::new(Arc::new(crypto));
    quic.transport_config(transport(config));
    Ok(quic)
}

const NO_QUIC_SUITE: &str = "QUIC needs TLS 1.3 with TLS13_AES_128_GCM_SHA256";

fn transport(config: &TransportConfig) -> Arc<quinn::TransportConfig> {
    let mut cubic = CubicConfig::default();
    cubic.initial_window(INITIAL_WINDOW);
    let mut quic = quinn::TransportConfig::default();
    quic.keep_alive_interval(Some(config.keep_alive))
        .max_idle_timeout(IdleTimeout::try_from(config.idle).ok())
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(streams_max())
        .stream_receive_window(stream_window())
        .receive_window(VarInt::from_u64(RECEIVE_WINDOW_MIN).unwrap_or(VarInt::MAX))
        .send_window(SEND_WINDOW)
        .send_fairness(true)
        .packet_threshold(PACKET_THRESHOLD)
        .datagram_receive_buffer_size(None)
        .congestion_controller_factory(Arc::new(cubic));
    Arc::new(quic)
}

fn streams_max() -> VarInt {
    VarInt::from_u32(u32::try_from(SEGMENTS_MAX).unwrap_or(u32::MAX))
}

/// A whole segment, so that a stream is never held back on its own.
fn stream_window() -> VarInt {
    let header = u32::try_from(SEGMENT_HEADER_LEN).unwrap_or(0);
    VarInt::from_u32(packhorse_ids::SEGMENT_LEN + header)
}
