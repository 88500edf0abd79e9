//! Which pages of which slab are free.

use std::collections::BTreeMap;

/// Free extents of all slabs: slab to offset to length, in bytes. Touching extents are one.
#[derive(Debug, Default)]
pub(super) struct Extents {
    free: BTreeMap<u32, BTreeMap<u64, u64>>,
    free_len: u64,
}

impl Extents {
    /// Bytes free in all slabs.
    pub(super) const fn free_len(&self) -> u64 {
        self.free_len
    }

    /// Bytes free in one slab.
    pub(super) fn free_in(&self, slab: u32) -> u64 {
        self.free.get(&slab).map_or(0, |extents| extents.values().sum())
    }

    /// Whether some extent has `length` bytes.
    pub(super) fn has(&self, length: u64) -> bool {
        self.free
            .values()
            .any(|extents| extents.values().any(|free| *free >= length))
    }

    /// Whether some extent of one slab has `length` bytes.
    pub(super) fn has_in(&self, slab: u32, length: u64) -> bool {
        self.free
            .get(&slab)
            .is_some_and(|extents| extents.values().any(|free| *free >= length))
    }

    /// First fit, in the lowest slab that has it.
    pub(super) fn take(&mut self, length: u64) -> Option<(u32, u64)> {
        self.take_but(length, None)
    }

    /// First fit in any slab but one.
    pub(super) fn take_but(&mut self, length: u64, but: Option<u32>) -> Option<(u32, u64)> {
        let fits = |(slab, extents): (&u32, &BTreeMap<u64, u64>)| {
            extents
                .iter()
                .find(|(_, free)| **free >= length)
                .map(|(offset, _)| (*slab, *offset))
        };
        let mut allowed = self.free.iter().filter(|(slab, _)| Some(**slab) != but);
        let (slab, offset) = allowed.find_map(fits)?;
        self.take_at(slab, offset, length).then_some((slab, offset))
    }

    /// Takes exactly these pages out of the free ones. Whether all of them were free; if not, nothing is taken.
    pub(super) fn take_at(&mut self, slab: u32, offset: u64, length: u64) -> bool {
        let Some(extents) = self.free.get_mut(&slab) else {
            return false;
        };
        let Some((&start, &free)) = extents.range(..=offset).next_back() else {
            return false;
        };
        if offset + length > start + free {
            return false;
        }
        extents.remove(&start);
        if start < offset {
            extents.insert(start, offset - start);
        }
        let rest = start + free - (offset + length);
        if rest > 0 {
            extents.insert(offset + length, rest);
        }
        self.free_len -= length;
        true
    }

    /// Gives pages back. Whether none of them was free already; if one was, nothing is given.
    pub(super) fn give(&mut self, slab: u32, offset: u64, length: u64) -> bool {
        if length == 0 {
            return true;
        }
        let extents = self.free.entry(slab).or_default();
        let (mut start, mut end) = (offset, offset + length);
        let before = extents.range(..end).next_back().map(|(&at, &free)| (at, at + free));
        if before.is_some_and(|(_, before_end)| before_end > offset) {
            return false;
        }
        if let Some((before, before_end)) = before
            && before_end == offset
        {
            extents.remove(&before);
            start = before;
        }
        if let Some(free) = extents.remove(&end) {
            end += free;
        }
        extents.insert(start, end - start);
        self.free_len += length;
        true
    }

    /// Forgets a slab.
    pub(super) fn remove(&mut self, slab: u32) {
        self.free_len -= self.free_in(slab);
        self.free.remove(&slab);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_like_a_set_of_pages(steps in prop::collection::vec((0u64..64, 1u64..9, any::<bool>()), 1..80)) {
            let (mut extents, mut model) = (Extents::default(), BTreeSet::new());
            for (offset, length, gives) in steps {
                let pages: Vec<u64> = (offset..offset + length).collect();
                if gives {
                    let is_new = pages.iter().all(|page| !model.contains(page));
                    prop_assert_eq!(extents.give(1, offset, length), is_new);
                    if is_new {
                        model.extend(pages);
                    }
                } else {
                    let is_free = pages.iter().all(|page| model.contains(page));
                    prop_assert_eq!(extents.take_at(1, offset, length), is_free);
                    if is_free {
                        pages.iter().for_each(|page| { model.remove(page); });
                    }
                }
                prop_assert_eq!(extents.free_len(), model.len() as u64);
                prop_assert_eq!(extents.free_in(1), model.len() as u64);
            }
        }
    }

    #[test]
    fn pages_given_twice_are_not_free_twice() {
        let mut extents = Extents::default();
        assert!(extents.give(1, 0, 8));
        assert!(!extents.give(1, 4, 8));
        assert_eq!(extents.take(8), Some((1, 0)));
        assert_eq!(extents.take(1), None);
    }
}
