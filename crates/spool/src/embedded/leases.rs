//! Who works on what for now. Kept in memory: a new epoch begins without leases.

use std::collections::HashMap;

use packhorse_ids::{DeliveryId, WallTime};

/// Leased entries, by the number of their row: the claim index has it, so that a leased entry is passed over without its
/// row being read.
#[derive(Debug, Default)]
pub(super) struct Leases {
    until: HashMap<u64, WallTime>,
    numbers: HashMap<DeliveryId, u64>,
}

impl Leases {
    pub(super) fn is_leased(&self, number: u64, now: WallTime) -> bool {
        self.until.get(&number).is_some_and(|until| *until > now)
    }

    /// Whether a delivery is leased, or was and its lease has not been cleared away.
    pub(super) fn has(&self, delivery: DeliveryId) -> bool {
        self.numbers.contains_key(&delivery)
    }

    /// Leases an entry, unless somebody has it.
    pub(super) fn take(&mut self, number: u64, delivery: DeliveryId, now: WallTime, until: WallTime) -> bool {
        let is_free = !self.is_leased(number, now);
        if is_free {
            self.until.insert(number, until);
            self.numbers.insert(delivery, number);
        }
        is_free
    }

    pub(super) fn give_back(&mut self, delivery: DeliveryId) {
        if let Some(number) = self.numbers.remove(&delivery) {
            self.until.remove(&number);
        }
    }

    /// Clears away leases that have run out.
    pub(super) fn end_old(&mut self, now: WallTime) {
        self.until.retain(|_, until| *until > now);
        self.numbers.retain(|_, number| self.until.contains_key(number));
    }
}
