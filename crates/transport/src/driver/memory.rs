//! Receive windows come out of one budget per process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that all links of a process may promise to their peers as receive windows. quinn may hold two and a half times
/// what it has promised.
#[derive(Debug)]
pub struct MemoryBudget {
    total: u64,
    used: AtomicU64,
}

impl MemoryBudget {
    /// A budget of `total` bytes.
    #[must_use]
    pub const fn new(total: u64) -> Self {
        Self {
            total,
            used: AtomicU64::new(0),
        }
    }

    /// Bytes promised now. May be above the total: every link gets its first 2 MiB.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

/// One link's part of a budget; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl Share {
    /// Takes `minimum` bytes, even from an empty budget: a link cannot live without.
    pub(crate) fn take(budget: &Arc<MemoryBudget>, minimum: u64) -> Self {
        budget.used.fetch_add(minimum, Ordering::Relaxed);
        Self {
            budget: Arc::clone(budget),
            bytes: minimum,
        }
    }

    /// Grows towards `wanted` bytes as far as the budget allows, and says how many it has. Never shrinks: a promise to
    /// the peer cannot be taken back.
    pub(crate) fn grow(&mut self, wanted: u64) -> u64 {
        let more = wanted.saturating_sub(self.bytes);
        let mut given = 0;
        let take = |used: u64| {
            given = more.min(self.budget.total.saturating_sub(used));
            Some(used.saturating_add(given))
        };
        let used = &self.budget.used;
        // Always Ok: `take` never declines.
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok();
        self.bytes = self.bytes.saturating_add(given);
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_share_what_there_is_and_give_it_back() {
        let budget = Arc::new(MemoryBudget::new(10));
        let mut first = Share::take(&budget, 2);
        let mut second = Share::take(&budget, 2);
        assert_eq!(first.grow(7), 7);
        assert_eq!(second.grow(7), 3);
        assert_eq!(first.grow(1), 7);
        drop(first);
        assert_eq!(second.grow(7), 7);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn every_link_gets_its_first_bytes() {
        let budget = Arc::new(MemoryBudget::new(1));
        let mut share = Share::take(&budget, 2);
        assert_eq!(share.grow(4), 2);
    }
}
