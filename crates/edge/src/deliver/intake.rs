//! What is claimed for a destination, and how it comes into the room.

use std::collections::HashMap;
use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{DeliveryId, WallTime};
use packhorse_spool::{Entry, Index as _};
use tokio::sync::watch;
use tokio::time::Instant;

use super::parcel::{OpenError, Parcel};
use super::whole::Gathered;
use super::{BATCH, Deliverer, POLL, settle};

/// Instances that are STAT and wait in a room that is full of others.
const URGENT_MAX: usize = 64;
/// How long claimed instances may be worked on before they could be claimed again.
const LEASE: Duration = Duration::from_secs(3600);
/// Between two looks while there is something to send: also STAT waits so long at most.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Looks in a row while more and more comes.
const LOOKS_MAX: usize = 3;

/// How eagerly the queue is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// There is something to send.
    NowAndThen,
    /// A lane is idle.
    AtOnce,
}

impl Deliverer {
    /// Claims what has come, again while more comes meanwhile: what is in the room then overtakes nothing that is here.
    pub(super) async fn look(&mut self, how: Look) {
        for _ in 0..LOOKS_MAX {
            if self.idle.is_empty() || self.is_left_alone() || !self.is_to_look(how) {
                return;
            }
            if self.quiet.has_changed().unwrap_or(false) {
                self.counted = None;
            }
            self.news.mark_unchanged();
            self.arrivals.mark_unchanged();
            self.quiet.mark_unchanged();
            self.looked = Some(Instant::now());
            self.give_back_old().await;
            let entries = self.claim().await;
            for entry in &entries {
                self.shared.arrivals.came(&entry.routing);
            }
            self.take_in(entries).await;
            self.let_studies_go().await;
        }
    }

    fn is_to_look(&self, how: Look) -> bool {
        let changed = |receiver: &watch::Receiver<u64>| receiver.has_changed().unwrap_or(false);
        let Some(looked) = self.looked.map(|looked| looked.elapsed()) else {
            return true;
        };
        let is_rested = how == Look::AtOnce || self.room.is_empty() || looked >= LOOK_PAUSE;
        let has_news = changed(&self.news) || changed(&self.quiet) || self.is_running_out();
        let is_study_due = self.study_ends().is_some_and(|left| left.is_zero());
        changed(&self.arrivals) || is_study_due || looked >= POLL || (is_rested && has_news)
    }

    /// What has waited here so long that it could be claimed again soon has its lease renewed.
    async fn give_back_old(&mut self) {
        let old = self.room.take_all(|parcel| parcel.opened_at.elapsed() > LEASE / 2);
        settle::give_back(&self.shared, old.iter().map(Parcel::delivery).collect()).await;
    }

    /// As much as the room has place for; what is STAT has a place of its own.
    async fn claim(&mut self) -> Vec<Entry> {
        let (spool, epoch) = (&self.shared.spool, self.shared.epoch);
        let free = self.room_len.saturating_sub(self.room.len()).min(BATCH);
        let claimed = if free > 0 {
            spool.claim(epoch, &self.queue, free, LEASE).await
        } else {
            let urgent = URGENT_MAX.saturating_sub(self.room.urgent());
            spool.claim_urgent(epoch, &self.queue, urgent, LEASE).await
        };
        match claimed {
            Ok(entries) => {
                self.is_more = free == 0 || entries.len() == free;
                entries
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "instances cannot be claimed");
                Vec::new()
            }
        }
    }

    /// Opens what was claimed and gives it a place in the room, unless it has to wait outside.
    async fn take_in(&mut self, entries: Vec<Entry>) {
        let (mut later, now) = (HashMap::<WallTime, Vec<DeliveryId>>::new(), self.shared.clock.now());
        for entry in entries {
            let delivery = Some(entry.routing.delivery);
            if self.under_way.values().any(|under_way| under_way.delivery == delivery) {
                continue;
            }
            let Some(parcel) = self.open(&entry).await else {
                continue;
            };
            let is_suspect = self.losses.is_suspect(parcel.delivery());
            let left_alone = self.alone.map(|alone| alone.until).filter(|_| is_suspect);
            let rejected = self.rejected_until(&self.calling(&parcel));
            if let Some(until) = left_alone.or(rejected).filter(|until| *until > Instant::now()) {
                let at = now.saturating_add(until.saturating_duration_since(Instant::now()));
                later.entry(at).or_default().push(parcel.delivery());
                continue;
            }
            if self.studies.as_ref().is_some_and(|studies| studies.is_new(&parcel)) {
                self.counted = None;
            }
            match self.studies.as_mut().map(|studies| studies.gather(&parcel)) {
                Some(Gathered::Waits(at)) if at > now => later.entry(at).or_default().push(parcel.delivery()),
                _ => self.room.put(parcel, is_suspect),
            }
        }
        for (at, deliveries) in later {
            settle::postpone(&self.shared, deliveries, at).await;
        }
    }

    async fn open(&self, entry: &Entry) -> Option<Parcel> {
        let (shared, to) = (&self.shared, &self.destination);
        match Parcel::open(shared, entry).await {
            Ok(mut parcel) => {
                if to.associations.get() > 1 || self.studies.is_some() {
                    parcel.read_owners(shared).await;
                }
                return Some(parcel);
            }
            Err(OpenError::Unreadable(why)) => {
                let why = format!("its bytes cannot be read: {why}");
                settle::later(shared, entry, why.into(), None).await;
            }
            Err(OpenError::Malformed(why)) => {
                let why = format!("its envelope cannot be opened: {why}");
                settle::failed(shared, entry, why.into(), None).await;
            }
        }
        None
    }

    /// The title that an instance goes under.
    pub(super) fn calling(&self, parcel: &Parcel) -> AeTitle {
        let site = &parcel.entry.routing.source;
        self.destination.calling_ae_title_for(site, parcel.original.as_ref())
    }
}
