//! What a link runs over.
//!
//! A lane carries segments, each on a stream of its own with a priority, and control bytes both ways, in order. It never
//! holds back a write for fairness: what may be written when is the [schedule](crate::schedule)'s to say. QUIC is the one
//! lane there is; TLS over TCP can be another, with frames of a few KiB in place of streams.

use std::future::Future;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::connection::LinkEnd;

/// A connection of whatever kind.
pub(crate) trait Lane: Send + Sync + 'static {
    /// A segment on its way out.
    type Outgoing: Outgoing;
    /// A segment on its way in.
    type Incoming: Incoming;
    /// The control bytes' way out.
    type ControlSender: ControlSender;
    /// The control bytes' way in.
    type ControlReceiver: ControlReceiver;

    /// The control stream: the dialling side opens it, the other waits for it. Once per lane.
    fn control(&self) -> impl Future<Output = Result<(Self::ControlSender, Self::ControlReceiver), LaneError>> + Send;

    /// Opens a way for one segment; of two, the one with the greater priority goes first.
    fn open(&self, priority: i32) -> impl Future<Output = Result<Self::Outgoing, LaneError>> + Send;

    /// The next segment that comes in.
    fn accept(&self) -> impl Future<Output = Result<Self::Incoming, LaneError>> + Send;

    /// Waits until the lane is gone.
    fn closed(&self) -> impl Future<Output = LinkEnd> + Send;

    /// Closes at once.
    fn close(&self, code: u16, sentence: &str);

    /// Bytes that may be on their way at once.
    fn window(&self) -> u64;

    /// Payload came in: time to see whether more should be allowed to come at once.
    fn adapt(&self, now: Instant);
}

/// A segment on its way out.
pub(crate) trait Outgoing: Send + 'static {
    /// Writes some of `bytes`, and says how many; they are left in place.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &Bytes) -> Poll<Result<usize, LaneError>>;

    /// All is written: resolves when the peer's transport has it.
    fn finish(self) -> impl Future<Output = Result<(), LaneError>> + Send + 'static;

    /// Nothing more will be written, and what was is of no use.
    fn abandon(self);
}

/// A segment on its way in.
pub(crate) trait Incoming: Send + 'static {
    /// The next bytes, at most `len_max`; `None` at the end.
    fn read(&mut self, len_max: usize) -> impl Future<Output = Result<Option<Bytes>, LaneError>> + Send;
}

/// The control bytes' way out.
pub(crate) trait ControlSender: Send + 'static {
    /// Writes some of the bytes. Cancel-safe.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<usize, LaneError>> + Send;

    /// Nothing more will be written: waits until the peer's transport has all.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}

/// The control bytes' way in.
pub(crate) trait ControlReceiver: Send + 'static {
    /// The next bytes; `None` at the end. Cancel-safe.
    fn read(&mut self) -> impl Future<Output = Result<Option<Bytes>, LaneError>> + Send;
}

/// Why a lane would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LaneError {
    /// The lane is gone; [`Lane::closed`] says why.
    #[error("the lane is gone")]
    Gone,
    /// The other side gave up this one stream.
    #[error("the stream was given up")]
    GivenUp,
}

/// How often the receive window is looked at: two round trips, but not so often that it costs.
pub(crate) const ADAPT_MIN: Duration = Duration::from_millis(50);
