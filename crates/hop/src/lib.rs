//! One hop of the way: a spool on one side, a link on the other.
//!
//! [`Hop`] is the [`Custodian`](packhorse_transport::Custodian) of a link. Outgoing, it claims entries of one queue, gives
//! them to the link, and settles what the peer acknowledged. Incoming, it writes segments into the spool, checks length
//! and BLAKE3, asks a [`Place`] where the delivery belongs, commits it with its facts, and only then lets the link
//! acknowledge.
//!
//! Used by the edge and by the relay alike; knows no DICOM and no site but those in a routing.

mod hop;
mod incoming;
mod outgoing;
mod place;
mod slots;

pub use hop::{Hop, HopConfig};
pub use place::{Place, Placement};
