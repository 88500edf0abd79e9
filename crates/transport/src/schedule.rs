//! Which segment goes next, and how many bytes of it may be written now.
//!
//! There is one schedule per link. Every segment has a rank of its own: class first, then order of opening. A lane sends
//! what it was given by rank, so what was written must stay little: bytes written and not yet acknowledged by the peer's
//! transport stay within the congestion window and 1 MiB, counted for each class together with the classes before it. So
//! a STAT segment is written at once, however much routine is under way, and goes before what of that is not yet sent.
//!
//! Limits: 112 segments open, and 16 more for STAT; 2 MiB read ahead of what may be written. No I/O, no clock.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

use std::collections::{BTreeMap, VecDeque};

use packhorse_ids::{DeliveryId, PayloadId, Priority, Routing, SEGMENT_LEN, SegmentSet, segment_count, segment_len};

use crate::frame::{SEGMENT_HEADER_LEN, SegmentHeader};

/// Segments open at once: what a receiver takes. At 100 ms it is 1,280 small payloads a second.
pub const SEGMENTS_MAX: usize = 128;
/// Of these, so many are kept free for STAT.
pub const SEGMENTS_FOR_STAT: usize = 16;
/// Bytes that may be written beyond the congestion window: a segment counts as written until the last of it is
/// acknowledged, so with less than one segment's length the window would not be filled.
pub const WRITE_AHEAD: u64 = SEGMENT_LEN as u64;
/// Bytes read from the custodian before they may be written, so that the disk's latency is hidden.
pub const READ_AHEAD: u64 = 2 * SEGMENT_LEN as u64;
/// Priority of the control stream: before every segment.
pub const CONTROL_PRIORITY: i32 = i32::MAX;

const CLASSES: usize = 3;
const ORDERS_PER_CLASS: u32 = 1 << 29;

/// Place of an open segment among all others: what is smaller goes first. No two open segments have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    class: Priority,
    order: u64,
}

impl Rank {
    /// The rank as a number of which the greatest goes first, for streams. Distinct among the 2^29 segments that were
    /// opened one after the other in a class.
    #[must_use]
    pub fn stream_priority(self) -> i32 {
        let orders = i64::from(ORDERS_PER_CLASS);
        let order = i64::try_from(self.order & u64::from(ORDERS_PER_CLASS - 1)).unwrap_or(0);
        let class = i64::from(self.class.code());
        // STAT from 2^29 down, routine from 0 down, bulk from -2^29 down: all below the control stream.
        let priority = orders
            .saturating_sub(class.saturating_mul(orders))
            .saturating_sub(order);
        i32::try_from(priority).unwrap_or(i32::MIN)
    }
}

/// One link's schedule.
#[derive(Debug, Default)]
pub struct Schedule {
    waiting: [VecDeque<Job>; CLASSES],
    /// Not yet wholly written.
    open: BTreeMap<Rank, Open>,
    /// Wholly written, not yet acknowledged by the peer's transport.
    written: BTreeMap<Rank, Open>,
    /// Bytes written and not yet acknowledged, by class.
    in_flight: [u64; CLASSES],
    next_order: u64,
}

#[derive(Debug)]
struct Job {
    payload: PayloadId,
    delivery: DeliveryId,
    length: u64,
    missing: VecDeque<std::ops::Range<u32>>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    header: SegmentHeader,
    payload_length: u64,
    written: u64,
    is_loaded: bool,
}

impl Open {
    fn total(&self) -> u64 {
        (SEGMENT_HEADER_LEN as u64).saturating_add(u64::from(self.header.length))
    }

    fn left(&self) -> u64 {
        self.total().saturating_sub(self.written)
    }
}

impl Schedule {
    /// Adds the segments of a delivery that the peer does not have.
    pub fn push(&mut self, routing: &Routing, have: &SegmentSet) {
        let count = segment_count(routing.length).unwrap_or(0);
        let missing = missing_ranges(have, count);
        if !missing.is_empty() {
            let job = Job {
                payload: routing.payload,
                delivery: routing.delivery,
                length: routing.length,
                missing,
            };
            class_mut(&mut self.waiting, routing.priority).push_back(job);
        }
    }

    /// Opens the next segment, if one should be opened while the lane's congestion window is `window` bytes: it is to be
    /// read and then [`loaded`](Self::loaded), or [`failed`](Self::failed).
    pub fn open_next(&mut self, window: u64) -> Option<(Rank, SegmentHeader)> {
        let class = self.next_class()?;
        if !self.may_open(class, window) {
            return None;
        }
        let queue = class_mut(&mut self.waiting, class);
        let job = queue.front_mut()?;
        let payload_length = job.length;
        let (header, is_last) = job.next_segment()?;
        if is_last {
            queue.pop_front();
        }
        let rank = Rank {
            class,
            order: self.next_order,
        };
        self.next_order = self.next_order.wrapping_add(1);
        let open = Open {
            header,
            payload_length,
            written: 0,
            is_loaded: false,
        };
        self.open.insert(rank, open);
        Some((rank, header))
    }

    /// The bytes of a segment are at hand and its stream is open. False when it is not to be sent any more.
    pub fn loaded(&mut self, rank: Rank) -> bool {
        let open = self.open.get_mut(&rank);
        open.map(|open| open.is_loaded = true).is_some()
    }

    /// The segment to write next, and how many bytes of it (header included) at most; never none.
    #[must_use]
    pub fn next_write(&self, window: u64) -> Option<(Rank, u64)> {
        let (rank, open) = self.open.iter().find(|(_, open)| open.is_loaded)?;
        let room = window
            .saturating_add(WRITE_AHEAD)
            .saturating_sub(self.in_flight_before(rank.class));
        let length = open.left().min(room);
        (length > 0).then_some((*rank, length))
    }

    /// So many bytes of a segment were written. True when that was the last of it.
    pub fn wrote(&mut self, rank: Rank, bytes: u64) -> bool {
        let Some(open) = self.open.get_mut(&rank) else {
            return false;
        };
        open.written = open.written.saturating_add(bytes);
        let in_flight = class_mut(&mut self.in_flight, rank.class);
        *in_flight = in_flight.saturating_add(bytes);
        if open.left() > 0 {
            return false;
        }
        if let Some(open) = self.open.remove(&rank) {
            self.written.insert(rank, open);
        }
        true
    }

    /// The peer's transport has all of a segment, or wants no more of it.
    pub fn acked(&mut self, rank: Rank) -> Option<SegmentHeader> {
        self.forget(rank)
    }

    /// A segment could not be read.
    pub fn failed(&mut self, rank: Rank) -> Option<SegmentHeader> {
        self.forget(rank)
    }

    /// The lane that carried a segment is gone: it goes again, before all others of its class.
    pub fn lost(&mut self, rank: Rank) {
        let open = self.open.get(&rank).or_else(|| self.written.get(&rank)).copied();
        if let (Some(open), Some(header)) = (open, self.forget(rank)) {
            let end = header.index.saturating_add(1);
            class_mut(&mut self.waiting, rank.class).push_front(Job {
                payload: header.payload,
                delivery: header.delivery,
                length: open.payload_length,
                missing: std::iter::once(header.index..end).collect(),
            });
        }
    }

    /// Nothing more of a delivery is to be sent. The ranks are of open segments, whose streams should be given up.
    pub fn withdraw(&mut self, delivery: DeliveryId) -> Vec<Rank> {
        for queue in &mut self.waiting {
            queue.retain(|job| job.delivery != delivery);
        }
        let of_it = |(rank, open): (&Rank, &Open)| (open.header.delivery == delivery).then_some(*rank);
        let ranks: Vec<Rank> = self.open.iter().filter_map(of_it).collect();
        for rank in &ranks {
            self.forget(*rank);
        }
        ranks
    }

    /// Bytes written and not yet acknowledged by the peer's transport.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }

    /// The header of an open segment.
    #[cfg(test)]
    pub(crate) fn header(&self, rank: Rank) -> Option<SegmentHeader> {
        let open = self.open.get(&rank).or_else(|| self.written.get(&rank));
        open.map(|open| open.header)
    }

    fn forget(&mut self, rank: Rank) -> Option<SegmentHeader> {
        let open = self.open.remove(&rank).or_else(|| self.written.remove(&rank))?;
        let in_flight = class_mut(&mut self.in_flight, rank.class);
        *in_flight = in_flight.saturating_sub(open.written);
        Some(open.header)
    }

    fn next_class(&self) -> Option<Priority> {
        let classes = [Priority::Stat, Priority::Routine, Priority::Bulk];
        let mut queues = classes.into_iter().zip(&self.waiting);
        queues.find(|(_, queue)| !queue.is_empty()).map(|(class, _)| class)
    }

    fn may_open(&self, class: Priority, window: u64) -> bool {
        let limit = match class {
            Priority::Stat => SEGMENTS_MAX,
            Priority::Routine | Priority::Bulk => SEGMENTS_MAX.saturating_sub(SEGMENTS_FOR_STAT),
        };
        if self.open.len().saturating_add(self.written.len()) >= limit {
            return false;
        }
        let open_before = self.open.iter().filter(|(rank, _)| rank.class <= class);
        let unwritten = open_before.fold(0u64, |sum, (_, open)| sum.saturating_add(open.left()));
        let committed = unwritten.saturating_add(self.in_flight_before(class));
        committed < window.saturating_add(WRITE_AHEAD).saturating_add(READ_AHEAD)
    }

    /// Bytes in flight of this class and of those that go before it.
    fn in_flight_before(&self, class: Priority) -> u64 {
        let classes = usize::from(class.code()).saturating_add(1);
        self.in_flight
            .iter()
            .take(classes)
            .fold(0, |sum, bytes| sum.saturating_add(*bytes))
    }
}

impl Job {
    fn next_segment(&mut self) -> Option<(SegmentHeader, bool)> {
        let range = self.missing.front_mut()?;
        let index = range.start;
        range.start = range.start.saturating_add(1);
        if range.start >= range.end {
            self.missing.pop_front();
        }
        let header = SegmentHeader {
            payload: self.payload,
            delivery: self.delivery,
            index,
            length: segment_len(self.length, index)?,
        };
        Some((header, self.missing.is_empty()))
    }
}

fn missing_ranges(have: &SegmentSet, count: u32) -> VecDeque<std::ops::Range<u32>> {
    let starts = std::iter::once(0).chain(have.ranges().iter().map(|range| range.end));
    let ends = have.ranges().iter().map(|range| range.start).chain([count]);
    let gaps = starts.zip(ends).map(|(start, end)| start..end.min(count));
    gaps.filter(|gap| !gap.is_empty()).collect()
}

fn class_mut<T>(of: &mut [T; CLASSES], class: Priority) -> &mut T {
    let [stat, routine, bulk] = of;
    match class {
        Priority::Stat => stat,
        Priority::Routine => routine,
        Priority::Bulk => bulk,
    }
}

#[cfg(test)]
mod tests;
