//! The words every Packhorse crate shares: names of sites, ids of deliveries and payloads, priorities, segment sets,
//! digests and the clock.
//!
//! Limits: no I/O, no dependency, no randomness (ids come from the caller). Absent on purpose: anything of DICOM.
//!
//! [`Routing`] is the outside of an envelope: what a relay may know of a delivery, and all it may know.

mod clock;
mod delivery;
mod digest;
mod hex;
mod routing;
mod segment;
mod site;

pub use clock::{Clock, FakeClock, SystemClock, WallTime};
pub use delivery::{DeliveryId, Epoch, InvalidId, PayloadId, Sequence};
pub use digest::{Digest, InvalidDigest};
pub use routing::{Kind, Priority, Routing, UnknownPriority};
pub use segment::{InvalidSegmentSet, SEGMENT_LEN, SegmentSet, segment_count, segment_len};
pub use site::{InvalidSiteName, SiteName};
