//! When a study that is delivered as a whole goes, and when it is over.

use std::collections::HashSet;
use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_ids::{DeliveryId, Kind};
use packhorse_ledger::identity::printable;
use packhorse_spool::{EntryState, Filter, Index as _};
use tokio::time::Instant;

use super::next::ROOM_MAX;
use super::parcel::{Owner, Parcel};
use super::whole::StudyKey;
use super::{Deliverer, settle};
use crate::quiet::QuietKey;

/// Entries read at a time.
const PAGE: usize = 256;
/// Between two counts of what has come of studies that are quiet.
const COUNT_PAUSE: Duration = Duration::from_millis(200);

impl Deliverer {
    /// What was put off before a start is looked at again: who waits for what is not on disk.
    pub(super) async fn bring_forward_all(&self) {
        let (mut cursor, now) = (0, self.shared.clock.now());
        loop {
            let filter = Filter {
                queue: Some(self.queue.clone()),
                state: Some(EntryState::Ready),
            };
            let page = match self.shared.spool.page(cursor, filter, PAGE).await {
                Ok(page) => page,
                Err(error) => {
                    return tracing::warn!(error = chain(&error), "what was put off cannot be looked at now");
                }
            };
            let Some((last, _)) = page.last() else { return };
            cursor = *last;
            let is_put_off = |(_, entry): &(u64, packhorse_spool::Entry)| {
                let is_put_off = entry.attempts == 0 && entry.due > now && entry.routing.kind == Kind::Delivery;
                is_put_off.then_some(entry.routing.delivery)
            };
            let put_off: Vec<DeliveryId> = page.iter().filter_map(is_put_off).collect();
            settle::postpone(&self.shared, put_off, now).await;
        }
    }

    /// Lets those studies go that are here as a whole, or have waited long enough.
    pub(super) async fn let_studies_go(&mut self) {
        let Some(studies) = &self.studies else { return };
        let waiting = studies.waiting(self.shared.clock.now());
        let is_counting = self.counted.is_none_or(|counted| counted.elapsed() >= COUNT_PAUSE);
        if is_counting {
            self.counted = Some(Instant::now());
        }
        for (key, is_late) in waiting {
            let is_to_go = is_late || (is_counting && self.is_whole(&key).await);
            if !is_to_go {
                continue;
            }
            let waiting = self
                .studies
                .as_mut()
                .map(|studies| studies.go(&key))
                .unwrap_or_default();
            tracing::info!(
                destination = %self.destination.ae_title,
                instances = waiting.len(),
                is_late,
                "a study goes"
            );
            settle::postpone(&self.shared, waiting, self.shared.clock.now()).await;
            self.looked = None;
        }
    }

    /// Whether the study is quiet at its source and as much of it has come as was sent.
    async fn is_whole(&self, key: &StudyKey) -> bool {
        let Some(quiet) = self.quiet_key(key) else { return false };
        let Some(sent) = self.shared.quiet.sent(&quiet) else {
            return false;
        };
        if let Err(error) = crate::ledger::catch_up(&self.shared).await {
            tracing::warn!(error = chain(&error), "what came of a study cannot be counted now");
            return false;
        }
        let (site, title, study) = quiet;
        let came = self
            .shared
            .ledger(move |projection| projection.arrived_of(&site, &title, &study));
        matches!(came.await, Some(Ok(came)) if came >= sent)
    }

    fn quiet_key(&self, (site, owner): &StudyKey) -> Option<QuietKey> {
        let Owner::Study(uid) = owner else { return None };
        Some((
            site.clone(),
            self.destination.ae_title.clone(),
            printable(Some(uid.as_ref()))?,
        ))
    }

    /// The idle lanes with their studies, of which nothing is in the room.
    fn run_dry(&self) -> Vec<(usize, StudyKey)> {
        let mut dry = Vec::new();
        for (lane, key) in &self.carried {
            let is_idle = self.idle.iter().any(|idle| idle.number == *lane);
            let is_here = |parcel: &Parcel| self.study_of(parcel).as_ref() == Some(key);
            if is_idle && !self.room.iter().any(|(_, parcel)| is_here(parcel)) {
                dry.push((*lane, key.clone()));
            }
        }
        dry
    }

    /// Whether an idle lane waits for the rest of its study, which may be further behind in the queue.
    pub(super) fn seeks_a_study(&self) -> bool {
        self.is_more && !self.run_dry().is_empty()
    }

    /// The lanes whose study is over: nothing more of it waits, as far as the queue can be looked into.
    pub(super) fn end_studies(&mut self) -> HashSet<usize> {
        if self.looked.is_none() || self.is_left_alone() {
            return HashSet::new();
        }
        if self.is_more {
            // The room has no place left to look for more of it: others go first. It is not forgotten, so that what
            // comes of it later goes at once.
            let has_place = self.room.len() < ROOM_MAX;
            let dry = if has_place { Vec::new() } else { self.run_dry() };
            let lanes: HashSet<usize> = dry.into_iter().map(|(lane, _)| lane).collect();
            self.carried.retain(|lane, _| !lanes.contains(lane));
            return lanes;
        }
        let over = self.run_dry();
        for (lane, key) in &over {
            self.carried.remove(lane);
            if let Some(studies) = &mut self.studies {
                studies.forget(key);
            }
            if let Some(quiet) = self.quiet_key(key) {
                self.shared.quiet.forget(&quiet);
            }
        }
        let here: HashSet<_> = self
            .room
            .iter()
            .filter_map(|(_, parcel)| self.study_of(parcel))
            .collect();
        let is_here = |key: &StudyKey| here.contains(key) || self.carried.values().any(|carried| carried == key);
        if let Some(studies) = &mut self.studies {
            studies.forget_gone(is_here);
        }
        over.into_iter().map(|(lane, _)| lane).collect()
    }
}
