//! Segments of a payload, and sets of them.

use std::fmt;
use std::ops::Range;

/// Bytes of every segment of a payload but the last: 1 MiB. A constant, because at an MTU of 1200 it is 904 packets and
/// quinn ends a connection when one stream has more than 1,024 separate spans.
pub const SEGMENT_LEN: u32 = 1 << 20;

/// How many segments a payload of `length` bytes has; an empty payload has one (empty) segment. `None` above
/// `u32::MAX` segments.
#[must_use]
pub fn segment_count(length: u64) -> Option<u32> {
    u32::try_from(length.div_ceil(u64::from(SEGMENT_LEN)).max(1)).ok()
}

/// Length in bytes of segment `index` of a payload of `length` bytes; `None` when there is no such segment.
#[must_use]
pub fn segment_len(length: u64, index: u32) -> Option<u32> {
    if index >= segment_count(length)? {
        return None;
    }
    let rest = length - u64::from(index) * u64::from(SEGMENT_LEN);
    u32::try_from(rest.min(u64::from(SEGMENT_LEN))).ok()
}

/// A set of segment numbers, kept as sorted, disjoint, non-touching ranges: memory is by gaps, not by members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentSet {
    ranges: Vec<Range<u32>>,
}

impl SegmentSet {
    /// No segment.
    #[must_use]
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Segments 0 to `count - 1`.
    #[must_use]
    pub fn full(count: u32) -> Self {
        let mut set = Self::new();
        set.insert_range(0..count);
        set
    }

    /// Adds one segment. `u32::MAX` is no segment number and is ignored.
    pub fn insert(&mut self, index: u32) {
        if let Some(end) = index.checked_add(1) {
            self.insert_range(index..end);
        }
    }

    /// Adds every segment of `range`.
    pub fn insert_range(&mut self, range: Range<u32>) {
        if range.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|have| have.end < range.start);
        let last = self.ranges.partition_point(|have| have.start <= range.end);
        let touched = self.ranges.drain(first..last);
        let merged = touched.fold(range, |all, have| all.start.min(have.start)..all.end.max(have.end));
        self.ranges.insert(first, merged);
    }

    /// Adds every segment of `other`.
    pub fn union(&mut self, other: &Self) {
        other.ranges.iter().for_each(|range| self.insert_range(range.clone()));
    }

    /// Whether the set has this segment.
    #[must_use]
    pub fn contains(&self, index: u32) -> bool {
        let candidate = self.ranges.partition_point(|have| have.end <= index);
        self.ranges.get(candidate).is_some_and(|have| have.contains(&index))
    }

    /// Whether the set has segments 0 to `count - 1`.
    #[must_use]
    pub fn is_full(&self, count: u32) -> bool {
        count == 0
            || self
                .ranges
                .first()
                .is_some_and(|have| have.start == 0 && have.end >= count)
    }

    /// Whether the set is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many segments the set has.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// The ranges, in order.
    #[must_use]
    pub fn ranges(&self) -> &[Range<u32>] {
        &self.ranges
    }

    /// The segments below `count` that the set does not have, in order.
    pub fn missing(&self, count: u32) -> impl Iterator<Item = u32> + '_ {
        let starts = std::iter::once(0).chain(self.ranges.iter().map(|range| range.end));
        let ends = self
            .ranges
            .iter()
            .map(|range| range.start)
            .chain(std::iter::once(count));
        starts.zip(ends).flat_map(move |(start, end)| start..end.min(count))
    }

    /// The set as bytes: start and end of each range, big-endian `u32`s.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.ranges
            .iter()
            .flat_map(|range| [range.start.to_be_bytes(), range.end.to_be_bytes()])
            .flatten()
            .collect()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`InvalidSegmentSet`] when the length is not a multiple of eight or the ranges are empty, touching or out of order.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidSegmentSet> {
        let (chunks, rest) = bytes.as_chunks::<8>();
        if !rest.is_empty() {
            return Err(InvalidSegmentSet);
        }
        let mut ranges: Vec<Range<u32>> = Vec::with_capacity(chunks.len());
        for [a, b, c, d, e, f, g, h] in chunks.iter().copied() {
            let range = u32::from_be_bytes([a, b, c, d])..u32::from_be_bytes([e, f, g, h]);
            if range.is_empty() || ranges.last().is_some_and(|before| before.end >= range.start) {
                return Err(InvalidSegmentSet);
            }
            ranges.push(range);
        }
        Ok(Self { ranges })
    }
}

/// Bytes that are no segment set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSegmentSet;

impl fmt::Display for InvalidSegmentSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("segment ranges are not sorted, disjoint pairs")
    }
}

impl std::error::Error for InvalidSegmentSet {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(ranges in prop::collection::vec((0u32..60, 0u32..9), 0..20)) {
            let (mut set, mut model) = (SegmentSet::new(), BTreeSet::new());
            for (start, length) in ranges {
                set.insert_range(start..start + length);
                model.extend(start..start + length);
            }
            prop_assert_eq!(set.len() as usize, model.len());
            prop_assert!((0..80).all(|index| set.contains(index) == model.contains(&index)));
            prop_assert_eq!(set.missing(80).collect::<Vec<_>>(), (0..80).filter(|n| !model.contains(n)).collect::<Vec<_>>());
            prop_assert_eq!(SegmentSet::from_bytes(&set.to_bytes()), Ok(set.clone()));
            prop_assert!(set.ranges().windows(2).all(|pair| pair[0].end < pair[1].start));
        }

        #[test]
        fn any_bytes_are_a_canonical_set_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(set) = SegmentSet::from_bytes(&bytes) {
                prop_assert_eq!(set.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn the_last_segment_has_the_rest() {
        assert_eq!(segment_count(0), Some(1));
        assert_eq!(segment_len(0, 0), Some(0));
        assert_eq!(segment_count(u64::from(SEGMENT_LEN) + 1), Some(2));
        assert_eq!(segment_len(u64::from(SEGMENT_LEN) + 1, 1), Some(1));
        assert_eq!(segment_len(u64::from(SEGMENT_LEN), 1), None);
        assert_eq!(segment_count(u64::MAX), None);
    }

    #[test]
    fn the_largest_number_is_no_segment() {
        let mut set = SegmentSet::new();
        set.insert(u32::MAX);
        assert!(set.is_empty());
    }
}
