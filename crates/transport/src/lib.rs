//! Many payloads over one link, in both directions, each acknowledged once it is durable.
//!
//! A *link* is what two endpoints have with each other: both offer deliveries, both take them. What a payload is, who may
//! send it and where it is kept is not known here: a [`Custodian`] reads and writes segments, and a rustls configuration
//! says who the peer is. Frames are specified in `FRAMES.md` beside this crate's sources.
//!
//! - [`frame`], [`session`] and [`schedule`] do no I/O and know no clock: time and bytes are inputs.
//! - The driver (feature `driver`, on by default) runs them over QUIC: [`Endpoint`], [`Connection`], [`keep_link`].
//!
//! Limits: segments of 1 MiB, 1,024 deliveries or 64 MiB offered and not yet acknowledged, 128 segments in flight each way.
//! Absent on purpose: DICOM, certificates, storage, encryption of payloads.

#[cfg(feature = "driver")]
mod driver;
pub mod frame;
pub mod fuzzing;
pub mod schedule;
pub mod session;

#[cfg(feature = "driver")]
pub use driver::{
    ALPN_ENROLL, ALPN_LINK, AskError, CertificateProblem, ConnectError, Connection, Custodian, CustodianError,
    DEFAULT_IDLE, DEFAULT_KEEP_ALIVE, DEFAULT_RECEIVE_MEMORY, Endpoint, EndpointError, Exchange, Incoming, LinkEnd,
    LinkHandle, LinkStats, LinkStatus, MemoryBudget, Target, TransportConfig, keep_link,
};
pub use session::{Acked, OfferAnswer, Refusal};
