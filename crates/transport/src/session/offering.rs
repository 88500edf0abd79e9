//! What we offer: from the custodian's hands until the peer's acknowledgement.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use packhorse_ids::{DeliveryId, Routing, SEGMENT_LEN, SegmentSet, segment_len};

use super::{OFFERS_MAX, URGENT_OFFERS_MAX};
use crate::frame::OFFERS_PER_FRAME;
use crate::schedule::{Rank, Schedule};

/// What may be offered and not yet sent: less than this, and a link of 50 Mbit/s has nothing to do for a round trip.
const UNSENT_MIN: u64 = 4 << 20;
/// And at most this. A delivery that becomes urgent waits for room, not for all of it.
const UNSENT_MAX: u64 = 64 << 20;
/// No delivery counts for more than its next segment, so that a few large ones do not shut out all others.
const WEIGHT_MAX: u64 = SEGMENT_LEN as u64;
/// What a delivery is reckoned to have when it is not known yet how much, to see how many to ask for.
const LENGTH_GUESS: u64 = 128 << 10;
/// Pause after the first Later; doubled with each further one.
const PAUSE_MIN: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Offering {
    pub(super) schedule: Schedule,
    deliveries: HashMap<DeliveryId, Offered>,
    put_off: BTreeSet<(Instant, DeliveryId)>,
    /// Sum of the weights of all deliveries.
    unsent: u64,
}

#[derive(Debug)]
struct Offered {
    routing: Routing,
    unsent: u64,
    stage: Stage,
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The peer has not answered.
    Offered,
    /// The peer wants it.
    Wanted,
    /// The peer had no room; it is offered again then.
    PutOff(Instant),
}

impl Offered {
    fn weight(&self) -> u64 {
        match self.stage {
            Stage::Offered | Stage::Wanted => self.unsent.min(WEIGHT_MAX),
            Stage::PutOff(_) => 0,
        }
    }
}

impl Offering {
    pub(super) fn room(&self, window: u64) -> usize {
        let limit = window.saturating_mul(3).saturating_add(UNSENT_MIN).min(UNSENT_MAX);
        let bytes = limit.saturating_sub(self.unsent);
        if bytes == 0 {
            return 0;
        }
        let by_bytes = usize::try_from(bytes / LENGTH_GUESS).unwrap_or(usize::MAX).max(1);
        let by_number = OFFERS_MAX.saturating_sub(self.deliveries.len());
        by_bytes.min(by_number).min(OFFERS_PER_FRAME)
    }

    pub(super) fn urgent_room(&self) -> usize {
        let most = OFFERS_MAX.saturating_add(URGENT_OFFERS_MAX);
        most.saturating_sub(self.deliveries.len()).min(URGENT_OFFERS_MAX)
    }

    /// Remembers deliveries; those that are new.
    pub(super) fn offer(&mut self, deliveries: Vec<Routing>) -> Vec<Routing> {
        let mut new = Vec::with_capacity(deliveries.len());
        for routing in deliveries {
            if self.deliveries.contains_key(&routing.delivery) {
                continue;
            }
            let offered = Offered {
                routing: routing.clone(),
                unsent: routing.length,
                stage: Stage::Offered,
                pause: PAUSE_MIN,
            };
            self.unsent = self.unsent.saturating_add(offered.weight());
            self.deliveries.insert(routing.delivery, offered);
            new.push(routing);
        }
        new
    }

    pub(super) fn wanted(&mut self, delivery: DeliveryId, have: &SegmentSet) {
        let mut sent = None;
        self.change(delivery, |offered| {
            if offered.stage == Stage::Offered {
                offered.stage = Stage::Wanted;
                offered.unsent = offered
                    .routing
                    .length
                    .saturating_sub(length_of(have, offered.routing.length));
                sent = Some(offered.routing.clone());
            }
        });
        if let Some(routing) = sent {
            self.schedule.push(&routing, have);
        }
    }

    /// The peer has it or will never take it. `None` when it is not ours (any more).
    pub(super) fn done(&mut self, delivery: DeliveryId) -> Option<Vec<Rank>> {
        let offered = self.deliveries.remove(&delivery)?;
        self.unsent = self.unsent.saturating_sub(offered.weight());
        if let Stage::PutOff(until) = offered.stage {
            self.put_off.remove(&(until, delivery));
        }
        Some(self.schedule.withdraw(delivery))
    }

    pub(super) fn put_off(&mut self, delivery: DeliveryId, now: Instant) -> Vec<Rank> {
        let mut until = None;
        self.change(delivery, |offered| {
            if !matches!(offered.stage, Stage::PutOff(_)) {
                let due = now.checked_add(offered.pause).unwrap_or(now);
                offered.pause = offered.pause.saturating_mul(2).min(PAUSE_MAX);
                offered.stage = Stage::PutOff(due);
                offered.unsent = offered.routing.length;
                until = Some(due);
            }
        });
        let Some(until) = until else { return Vec::new() };
        self.put_off.insert((until, delivery));
        self.schedule.withdraw(delivery)
    }

    /// What is to be offered again now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Routing> {
        let mut again = Vec::new();
        while let Some((until, delivery)) = self.put_off.first().copied() {
            if until > now {
                break;
            }
            self.put_off.pop_first();
            self.change(delivery, |offered| {
                offered.stage = Stage::Offered;
                again.push(offered.routing.clone());
            });
        }
        again
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.put_off.first().map(|(until, _)| *until)
    }

    pub(super) fn sent(&mut self, rank: Rank) -> Option<u32> {
        let header = self.schedule.acked(rank)?;
        let length = u64::from(header.length);
        self.change(header.delivery, |offered| {
            offered.unsent = offered.unsent.saturating_sub(length)
        });
        Some(header.length)
    }

    pub(super) fn read_failed(&mut self, rank: Rank) -> Option<(DeliveryId, Vec<Rank>)> {
        let header = self.schedule.failed(rank)?;
        let ranks = self.done(header.delivery)?;
        Some((header.delivery, ranks))
    }

    pub(super) fn unacked(&self) -> Vec<DeliveryId> {
        self.deliveries.keys().copied().collect()
    }

    /// Changes a delivery, if it is known, and keeps the sum of weights right.
    fn change(&mut self, delivery: DeliveryId, change: impl FnOnce(&mut Offered)) {
        let Some(offered) = self.deliveries.get_mut(&delivery) else {
            return;
        };
        let before = offered.weight();
        change(offered);
        let after = offered.weight();
        self.unsent = self.unsent.saturating_sub(before).saturating_add(after);
    }
}

/// Bytes of a payload that a set of segments has.
fn length_of(have: &SegmentSet, length: u64) -> u64 {
    let of_range = |range: &std::ops::Range<u32>| {
        let last = range.end.saturating_sub(1);
        let whole = u64::from(last.saturating_sub(range.start)).saturating_mul(u64::from(SEGMENT_LEN));
        whole.saturating_add(u64::from(segment_len(length, last).unwrap_or(0)))
    };
    have.ranges().iter().map(of_range).fold(0, u64::saturating_add)
}
