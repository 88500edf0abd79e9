//! The room behind a link: who has the payloads that go out and takes those that come in.

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{DeliveryId, PayloadId, Routing, WallTime};

use crate::session::{Acked, OfferAnswer, Refusal};

/// Why a custodian could not do what it was asked. What happens next depends on the side: see each method of
/// [`Custodian`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CustodianError {
    /// It will work another time: no room now, or bytes that must come again. The text is for our own log only.
    #[error("not now: {0}")]
    Later(String),
    /// It will never work for this delivery.
    #[error("refused: {}", .0.text)]
    Refused(Refusal),
    /// It works for no delivery any more (a poisoned spool): the link ends. The text is for our own log only.
    #[error("custody failed: {0}")]
    Failed(String),
}

/// What a link needs of whoever keeps the payloads. Both sides of a link have one, and both offer and receive.
///
/// Methods are called from several tasks at once, in no order across deliveries; for one delivery
/// [`offered`](Self::offered) comes before its [`write`](Self::write)s, and all of these before
/// [`finish`](Self::finish). None is cancelled except [`next_offers`](Self::next_offers) and
/// [`next_urgent_offers`](Self::next_urgent_offers), and, when the link ends, writes and reads that have not yet answered.
#[async_trait]
pub trait Custodian: Send + Sync + 'static {
    /// What should go to the peer next, most urgent first: 1 to `max` deliveries. Waits until there is at least one.
    /// What was given is the link's until it is given back through [`acked`](Self::acked), [`refused`](Self::refused)
    /// or [`lost`](Self::lost).
    ///
    /// # Cancel safety
    /// Must be cancel-safe: dropped while it waits, nothing has been taken.
    async fn next_offers(&self, max: usize) -> Vec<Routing>;

    /// As [`next_offers`](Self::next_offers), but only what is [`Stat`](packhorse_ids::Priority::Stat): asked while so much
    /// is offered that nothing else is wanted. Without it, STAT waits until there is room again. Default: never any.
    ///
    /// # Cancel safety
    /// Must be cancel-safe, as `next_offers`.
    async fn next_urgent_offers(&self, _max: usize) -> Vec<Routing> {
        std::future::pending().await
    }

    /// The bytes of segment `segment` of a payload that was offered: exactly
    /// [`segment_len`](packhorse_ids::segment_len) of the routing's length.
    ///
    /// # Errors
    /// `Later`: the delivery is withdrawn and given back through [`lost`](Self::lost). `Refused`: it is withdrawn and
    /// given back through [`refused`](Self::refused). `Failed`: the link ends.
    async fn read(&self, delivery: DeliveryId, payload: PayloadId, segment: u32) -> Result<Bytes, CustodianError>;

    /// The peer has these durably. Called with at most 1,024 at once.
    async fn acked(&self, acks: Vec<Acked>);

    /// The peer will never take this delivery (or our own [`read`](Self::read) said so).
    async fn refused(&self, delivery: DeliveryId, why: Refusal);

    /// The link gives these back unacknowledged: it ended, or they were withdrawn. They may be offered again, on this
    /// link or another; whether the peer has some of them is asked then.
    async fn lost(&self, unacked: Vec<DeliveryId>);

    /// The peer offers a delivery. The same one may be offered any number of times, also after it was finished.
    async fn offered(&self, routing: &Routing) -> OfferAnswer;

    /// One segment of a wanted delivery, of exactly the length that the routing gives it. Each segment comes at most
    /// once per link; in any order. Resolves when the bytes are taken; they need not be durable yet.
    ///
    /// # Errors
    /// `Later`: the peer is told to offer it again later. `Refused`: the peer is told so. `Failed`: the link ends.
    async fn write(&self, routing: &Routing, segment: u32, bytes: Bytes) -> Result<(), CustodianError>;

    /// All segments of a delivery are written: checks length and BLAKE3, makes it durable and says when. Then, and only
    /// then, the peer gets its acknowledgement.
    ///
    /// # Errors
    /// As for [`write`](Self::write). A payload whose digest is wrong is dropped by the custodian, with `Later`, so that
    /// all of it comes again.
    async fn finish(&self, routing: &Routing) -> Result<WallTime, CustodianError>;
}
