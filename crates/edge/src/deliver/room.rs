//! What was claimed for a destination and waits for its turn.

use std::collections::BTreeMap;
use std::time::Duration;

use packhorse_association::InstanceContext;
use packhorse_ids::{DeliveryId, Priority, Sequence, SiteName, WallTime};

use super::parcel::Parcel;
use crate::arrivals::Arrivals;

/// Contexts that one association can propose (PS3.8 §9.3.2.2), Verification's included.
const CONTEXTS_MAX: usize = 128;

/// The order in which instances go: those that went unanswered last, STAT first, then as their site took them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    pub(super) is_suspect: bool,
    pub(super) priority: Priority,
    source: SiteName,
    sequence: Sequence,
    delivery: DeliveryId,
}

/// Parcels by their turn.
#[derive(Default)]
pub(super) struct Room {
    waiting: BTreeMap<Turn, Parcel>,
}

impl Room {
    pub(super) fn put(&mut self, parcel: Parcel, is_suspect: bool) {
        let routing = &parcel.entry.routing;
        let turn = Turn {
            is_suspect,
            priority: routing.priority,
            source: routing.source.clone(),
            sequence: routing.sequence,
            delivery: routing.delivery,
        };
        self.waiting.insert(turn, parcel);
    }

    pub(super) fn take(&mut self, turn: &Turn) -> Option<Parcel> {
        self.waiting.remove(turn)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Turn, &Parcel)> {
        self.waiting.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those that are STAT.
    pub(super) fn urgent(&self) -> usize {
        let urgent = self.waiting.keys().filter(|turn| turn.priority == Priority::Stat);
        urgent.count()
    }

    /// Takes out every parcel that is so.
    pub(super) fn take_all(&mut self, is_so: impl Fn(&Parcel) -> bool) -> Vec<Parcel> {
        self.waiting
            .extract_if(.., |_, parcel| is_so(parcel))
            .map(|(_, parcel)| parcel)
            .collect()
    }

    /// What those that are so need contexts for, each once, in the order of their turns.
    pub(super) fn contexts(&self, is_so: impl Fn(&Parcel) -> bool) -> Vec<InstanceContext> {
        let mut contexts: Vec<InstanceContext> = Vec::new();
        for parcel in self.waiting.values().filter(|parcel| is_so(parcel)) {
            if contexts.len() == CONTEXTS_MAX {
                break;
            }
            if !contexts.contains(parcel.context()) {
                contexts.push(parcel.context().clone());
            }
        }
        contexts
    }

    /// Whoever has been here for `wait` waits no more for what was taken before it. Gives in how long the next one will
    /// have; `None`: nobody waits for what is not here.
    pub(super) fn end_gaps(&self, arrivals: &Arrivals, now: WallTime, wait: Duration) -> Option<Duration> {
        let mut next: Option<Duration> = None;
        for parcel in self.waiting.values() {
            let routing = &parcel.entry.routing;
            if arrivals.is_next(routing) {
                continue;
            }
            // A clock that is set back makes nobody wait longer.
            let here = now
                .saturating_since(parcel.entry.committed_at)
                .max(parcel.opened_at.elapsed());
            let left = wait.saturating_sub(here);
            if left.is_zero() {
                arrivals.give_up_before(routing);
            } else {
                next = Some(next.map_or(left, |next| next.min(left)));
            }
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use packhorse_spool::{Custody, Index as _, NewEntry, NewState};

    use super::*;
    use crate::shared::queue;
    use crate::testing::{Edge, parcel, site};

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_make_a_gap_longer() {
        let edge = Edge::new("b", "");
        let (mut routing, body) = parcel(&site("a"), &edge.shared.site, "PACS_B");
        routing.sequence = Sequence(5);
        let delivery = routing.delivery;
        let entry = NewEntry {
            routing,
            queue: queue("to/PACS_B"),
            body,
            custody: Custody::UntilAcked,
            state: NewState::Ready,
        };
        let (spool, epoch) = (&edge.shared.spool, edge.shared.epoch);
        spool.commit(epoch, vec![entry], Vec::new()).await.unwrap();
        let entry = spool.entry(delivery).await.unwrap().unwrap();
        let opened = Parcel::open(&edge.shared, &entry).await;
        let parcel = opened.map_err(|_| "no parcel").unwrap();
        let (arrivals, wait, hour) = (Arrivals::default(), Duration::from_secs(60), 3_600_000_000);
        let set_back = WallTime::from_unix_micros(entry.committed_at.unix_micros() - hour);
        let mut room = Room::default();
        room.put(parcel, false);
        let left = room.end_gaps(&arrivals, set_back, wait);
        assert!(left.is_some_and(|left| left <= wait), "{left:?}");
        let mut parcel = room.take_all(|_| true).remove(0);
        parcel.opened_at -= wait;
        room.put(parcel, false);
        assert_eq!(room.end_gaps(&arrivals, set_back, wait), None);
        assert!(arrivals.is_next(&entry.routing));
    }
}
