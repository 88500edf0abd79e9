//! What goes next, and over which lane.

use std::collections::HashSet;
use std::sync::Arc;

use packhorse_ids::Priority;
use tokio::time::Instant;

use super::intake::Look;
use super::lane::{Errand, Lane};
use super::parcel::Parcel;
use super::room::Turn;
use super::whole::{Studies, StudyKey};
use super::{BATCH, Deliverer, UnderWay};

/// Instances that wait in the room at most when lanes are idle because all that wait belong to patients under way, or
/// because the study that a lane carries may have more further behind.
pub(super) const ROOM_MAX: usize = 1024;
/// Owners whose lane is remembered.
const BOUND_MAX: usize = 10_000;

impl Deliverer {
    /// Sends what can go now.
    pub(super) async fn start(&mut self) {
        loop {
            while self.start_next() {}
            let may_look = !self.idle.is_empty() && !self.is_left_alone();
            let is_full = self.room.len() >= self.room_len;
            let is_all_idle = self.idle.len() == self.destination.associations.get();
            // All that wait belong to those under way, or to other studies: further behind there may be others.
            let is_stuck = may_look && ((is_full && !is_all_idle) || self.seeks_a_study());
            if !is_stuck || (is_full && self.room_len >= ROOM_MAX) {
                break;
            }
            if is_full {
                self.room_len += BATCH;
            }
            let before = self.room.len();
            self.looked = None;
            self.look(Look::AtOnce).await;
            if self.room.len() <= before {
                break;
            }
        }
        if self.room.len() < BATCH {
            self.room_len = BATCH;
        }
    }

    /// Begins to send the next instance that can go.
    fn start_next(&mut self) -> bool {
        self.gap_ends = None;
        if self.idle.is_empty() || self.room.is_empty() || self.is_left_alone() {
            return false;
        }
        let wait = self.shared.config.delivery.order_wait;
        self.gap_ends = self.room.end_gaps(&self.shared.arrivals, self.shared.clock.now(), wait);
        let Some((turn, lane)) = self.choose() else {
            return false;
        };
        let Some(parcel) = self.room.take(&turn) else {
            return false;
        };
        let lane = self.idle.swap_remove(lane);
        let (calling, study) = (self.calling(&parcel), self.study_of(&parcel));
        let ahead = match (&study, &self.studies) {
            (Some(key), Some(studies)) => studies.contexts(key),
            _ => self.room.contexts(|other| self.calling(other) == calling),
        };
        self.bind(&parcel, lane.number);
        if let Some(key) = &study {
            self.carried.insert(lane.number, key.clone());
        }
        let under_way = UnderWay {
            lane: lane.number,
            delivery: Some(parcel.delivery()),
            owners: parcel.owners.clone(),
        };
        let errand = Errand {
            shared: Arc::clone(&self.shared),
            destination: Arc::clone(&self.destination),
            lane,
            parcel,
            calling,
            ahead,
            study,
        };
        let id = self.running.spawn(errand.run()).id();
        self.under_way.insert(id, under_way);
        true
    }

    /// What goes next, and over which of the idle lanes.
    fn choose(&self) -> Option<(Turn, usize)> {
        let is_left_alone = self.alone.is_some_and(|alone| Instant::now() < alone.until);
        let untroubled = self.room.iter().filter(|(turn, _)| !turn.is_suspect);
        let awaited: HashSet<usize> = untroubled
            .flat_map(|(_, parcel)| &parcel.owners)
            .filter_map(|owner| self.bound.get(owner).copied())
            .collect();
        let mut may_go = self.room.iter().filter(|(turn, parcel)| {
            let is_tried = !turn.is_suspect || !is_left_alone;
            let is_rejected = !self.rejected.is_empty() && self.rejected_until(&self.calling(parcel)).is_some();
            is_tried && !is_rejected && self.shared.arrivals.is_next(&parcel.entry.routing)
        });
        may_go.find_map(|(turn, parcel)| Some((turn.clone(), self.lane_for(turn, parcel, &awaited)?)))
    }

    /// The idle lane that `parcel` may go over now. `awaited` lanes have others waiting for them.
    fn lane_for(&self, turn: &Turn, parcel: &Parcel, awaited: &HashSet<usize>) -> Option<usize> {
        let mut under_way = self.under_way.values().flat_map(|under_way| &under_way.owners);
        if under_way.any(|owner| parcel.owners.contains(owner)) {
            return None;
        }
        let is_urgent = turn.priority == Priority::Stat;
        let study = self.study_of(parcel);
        let is_free = |lane: usize| {
            let carried = self.carried.get(&lane);
            is_urgent || carried.is_none() || carried == study.as_ref()
        };
        // Its study's lane goes before its patient's.
        let bound = parcel.owners.iter().rev().find_map(|owner| self.bound.get(owner));
        if let Some(bound) = bound {
            let place = self.idle.iter().position(|lane| lane.number == *bound);
            return place.filter(|_| is_free(*bound));
        }
        let is_unclaimed = |lane: &Lane| is_urgent || parcel.owners.is_empty() || !awaited.contains(&lane.number);
        self.idle
            .iter()
            .position(|lane| is_unclaimed(lane) && is_free(lane.number))
    }

    fn bind(&mut self, parcel: &Parcel, lane: usize) {
        if self.bound.len() >= BOUND_MAX {
            self.bound.clear();
        }
        let owners = parcel.owners.iter().cloned();
        self.bound.extend(owners.map(|owner| (owner, lane)));
    }

    /// The study that an instance is delivered with as a whole.
    pub(super) fn study_of(&self, parcel: &Parcel) -> Option<StudyKey> {
        self.studies.as_ref().and_then(|_| Studies::key_of(parcel))
    }

    /// Releases associations that are kept for nobody, and what is only kept when a check waits for it.
    pub(super) fn release_idle(&mut self) {
        let ended: HashSet<usize> = self.end_studies();
        let keep = self.shared.config.delivery.idle;
        let is_wanted = *self.wanted.borrow() > 0;
        // A study's own association is kept until the study is over.
        let carries: HashSet<usize> = self.carried.keys().copied().collect();
        let is_over = |lane: &Lane| {
            let gives_way = is_wanted && !carries.contains(&lane.number);
            lane.idle()
                .is_some_and(|idle| gives_way || idle >= keep || ended.contains(&lane.number))
        };
        self.release_those(is_over);
    }

    pub(super) fn release_those(&mut self, is_so: impl Fn(&Lane) -> bool) {
        let (over, kept): (Vec<_>, Vec<_>) = self.idle.drain(..).partition(is_so);
        self.idle = kept;
        over.into_iter().for_each(|lane| self.release(lane));
    }

    fn release(&mut self, lane: Lane) {
        let number = lane.number;
        self.bound.retain(|_, bound| *bound != number);
        let under_way = UnderWay {
            lane: number,
            delivery: None,
            owners: Vec::new(),
        };
        let id = self.running.spawn(lane.released()).id();
        self.under_way.insert(id, under_way);
    }
}
