//! Which numbers of each site have come, so that what was taken there first is delivered first.
//!
//! A site numbers what it sends here, for each priority by itself. A number that is missing is on its way, or kept back
//! there; only the first is worth a moment's wait.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use packhorse_ids::{Kind, Priority, Routing, SiteName};
use tokio::sync::watch;

/// Numbers remembered behind a gap, for each site and priority; more, and the gap is not waited for.
const BEHIND_GAP_MAX: usize = 4096;
/// Sites and priorities remembered; more, and everybody begins anew.
const SENDERS_MAX: usize = 1024;

/// What has come. Only in memory: after a start the first number of each site is waited for once.
#[derive(Debug)]
pub(crate) struct Arrivals {
    numbers: Mutex<HashMap<(SiteName, Priority), Numbers>>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Numbers {
    /// Every number up to this one has come, or is not waited for.
    through: u64,
    behind_gap: BTreeSet<u64>,
}

impl Default for Arrivals {
    fn default() -> Self {
        Self {
            numbers: Mutex::default(),
            version: watch::Sender::new(0),
        }
    }
}

impl Arrivals {
    /// Something is in the spool. Whether that is news.
    pub(crate) fn came(&self, routing: &Routing) -> bool {
        if routing.kind != Kind::Delivery {
            return false;
        }
        let is_new = {
            let mut all = self.lock();
            if all.len() >= SENDERS_MAX {
                all.clear();
            }
            all.entry(key(routing)).or_default().came(routing.sequence.0)
        };
        if is_new {
            self.version.send_modify(|version| *version += 1);
        }
        is_new
    }

    /// Whether nothing that was taken before it can still come.
    pub(crate) fn is_next(&self, routing: &Routing) -> bool {
        let all = self.lock();
        all.get(&key(routing))
            .is_some_and(|numbers| routing.sequence.0 <= numbers.through)
    }

    /// What was taken before it is waited for no more.
    pub(crate) fn give_up_before(&self, routing: &Routing) {
        let mut all = self.lock();
        all.entry(key(routing)).or_default().give_up_before(routing.sequence.0);
    }

    /// Counts what is new.
    pub(crate) fn version(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(SiteName, Priority), Numbers>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn came(&mut self, number: u64) -> bool {
        if number <= self.through || !self.behind_gap.insert(number) {
            return false;
        }
        if self.behind_gap.len() > BEHIND_GAP_MAX
            && let Some(first) = self.behind_gap.first().copied()
        {
            self.through = first - 1;
        }
        self.advance();
        true
    }

    fn give_up_before(&mut self, number: u64) {
        if number > self.through {
            self.through = number;
            self.behind_gap = self.behind_gap.split_off(&number);
            self.behind_gap.remove(&number);
            self.advance();
        }
    }

    fn advance(&mut self) {
        while self.behind_gap.remove(&self.through.saturating_add(1)) {
            self.through += 1;
        }
    }
}

fn key(routing: &Routing) -> (SiteName, Priority) {
    (routing.source.clone(), routing.priority)
}

#[cfg(test)]
mod tests {
    use packhorse_ids::Sequence;

    use super::*;
    use crate::testing::{parcel, site};

    fn numbered(number: u64) -> Routing {
        let (mut routing, _) = parcel(&site("a"), &site("b"), "PACS");
        routing.sequence = Sequence(number);
        routing
    }

    #[test]
    fn a_number_is_next_once_all_before_it_have_come() {
        let arrivals = Arrivals::default();
        for number in [1, 2, 4] {
            assert!(arrivals.came(&numbered(number)));
        }
        let next = |number| arrivals.is_next(&numbered(number));
        assert_eq!([next(1), next(2), next(3), next(4)], [true, true, false, false]);
        assert!(arrivals.came(&numbered(3)) && next(4));
        assert!(!arrivals.came(&numbered(4)), "that is no news");
    }

    #[test]
    fn a_gap_that_was_waited_for_is_not_waited_for_again() {
        let arrivals = Arrivals::default();
        for number in [10, 12] {
            arrivals.came(&numbered(number));
        }
        arrivals.give_up_before(&numbered(10));
        assert!(arrivals.is_next(&numbered(10)) && arrivals.is_next(&numbered(7)));
        assert!(!arrivals.is_next(&numbered(12)));
        arrivals.came(&numbered(11));
        assert!(arrivals.is_next(&numbered(12)));
    }

    #[test]
    fn a_gap_before_very_many_is_given_up() {
        let arrivals = Arrivals::default();
        let many = u64::try_from(BEHIND_GAP_MAX).unwrap() + 10;
        for number in 2..many {
            arrivals.came(&numbered(number));
        }
        assert!(arrivals.is_next(&numbered(many - 1)));
    }
}
