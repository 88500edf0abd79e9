//! To the target PACS: one task for each destination, so that a dead PACS holds up no other. It claims what waits for the
//! destination into a room, and sends from there over its lanes: one association each, one for the whole destination unless
//! configured otherwise.
//!
//! What goes next is asked after every instance: STAT first, then in the order in which a site took it; what went unanswered
//! last. Over several lanes nothing of one patient, and nothing of one study, goes at the same time.

mod gather;
mod health;
mod lane;
mod losses;
mod parcel;
mod room;
mod settle;
#[cfg(test)]
mod tests;
mod verdict;
mod whole;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use packhorse_association::{AssociationError, CStoreRsp, RequestorConfig, StoreError};
use packhorse_daemon::exit::chain;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::{DeliveryId, Priority, WallTime};
use packhorse_spool::{Entry, Index as _, QueueName, backoff};
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::config::{CallingTitle, Deliver, Destination};
use crate::shared::{Shared, queue_to};
use lane::{Done, Errand, Lane, Sent};
use losses::{Blame, Losses};
use parcel::{OpenError, Owner, Parcel};
use room::{Room, Turn};
use verdict::Reason;
pub(crate) use verdict::{Trouble, Verdict};
use whole::{Gathered, Studies, StudyKey};

/// Instances claimed at a time. Those that wait together let one association propose what all of them need.
const BATCH: usize = 64;
/// Instances that wait in the room at most when lanes are idle because all that wait belong to patients under way.
const ROOM_MAX: usize = 1024;
/// Instances that are STAT and wait in a room that is full of others.
const URGENT_MAX: usize = 64;
/// How long claimed instances may be worked on before they could be claimed again.
const LEASE: Duration = Duration::from_secs(3600);
/// The queue is looked at so often when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// Between two looks while there is something to send: also STAT waits so long at most.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Looks in a row while more and more comes.
const LOOKS_MAX: usize = 3;
/// An association that is lost, or an answer that does not come, during one instance so often while others are answered, is
/// that instance's fault.
const LOST_MAX: u32 = 3;
/// A destination that answered none of several instances is asked for others so soon, however long these are left alone.
const OTHERS_AFTER: Duration = Duration::from_secs(10);
/// Titles that a destination rejects at a time; with more, it is paused as a whole.
const REJECTED_MAX: usize = 256;
/// Owners whose lane is remembered.
const BOUND_MAX: usize = 10_000;

/// One destination's task.
pub(crate) struct Deliverer {
    shared: Arc<Shared>,
    destination: Arc<Destination>,
    queue: QueueName,
    /// Changes when something comes into the queue.
    news: watch::Receiver<u64>,
    /// Changes when something comes from any site.
    arrivals: watch::Receiver<u64>,
    /// Changes when a study is told to be quiet.
    quiet: watch::Receiver<u64>,
    /// When the queue was looked at last; `None`: it is to be looked at now.
    looked: Option<Instant>,
    /// The queue has more than was claimed.
    is_more: bool,
    /// How many may wait in the room.
    room_len: usize,
    room: Room,
    idle: Vec<Lane>,
    running: JoinSet<Done>,
    under_way: HashMap<Id, UnderWay>,
    /// The lane that an owner's instances go over.
    bound: HashMap<Owner, usize>,
    /// `None`: each instance goes as it comes.
    studies: Option<Studies>,
    /// The study that a lane is for until all of it is sent.
    carried: HashMap<usize, StudyKey>,
    losses: Losses,
    failures: u32,
    alone: Option<Alone>,
    /// Titles that it rejects, until when they are not tried.
    rejected: HashMap<AeTitle, Instant>,
    /// When the next gap in the order ends.
    gap_ends: Option<Duration>,
}

/// What a lane does.
struct UnderWay {
    lane: usize,
    delivery: Option<DeliveryId>,
    owners: Vec<Owner>,
}

/// For how long the destination is left alone.
#[derive(Clone, Copy, Debug)]
struct Alone {
    until: Instant,
    /// From now on what did not go unanswered may be tried.
    others_from: Instant,
}

/// How eagerly the queue is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// There is something to send.
    NowAndThen,
    /// A lane is idle.
    AtOnce,
}

impl Deliverer {
    pub(crate) fn new(shared: Arc<Shared>, destination: Destination) -> Self {
        let queue = queue_to(&destination.ae_title);
        Self {
            news: shared.spool.wakeups_of(&queue),
            arrivals: shared.arrivals.version(),
            quiet: shared.quiet.version(),
            queue,
            looked: None,
            is_more: false,
            room_len: BATCH,
            room: Room::default(),
            idle: (0..destination.associations.get()).map(Lane::new).collect(),
            running: JoinSet::new(),
            under_way: HashMap::new(),
            bound: HashMap::new(),
            studies: match destination.deliver {
                Deliver::AsItComes => None,
                Deliver::WholeStudy { max_wait } => Some(Studies::new(max_wait)),
            },
            carried: HashMap::new(),
            losses: Losses::default(),
            failures: 0,
            alone: None,
            rejected: HashMap::new(),
            gap_ends: None,
            destination: Arc::new(destination),
            shared,
        }
    }

    /// Delivers until the edge stops.
    pub(crate) async fn run(mut self) {
        if self.studies.is_some() {
            self.bring_forward_all().await;
        }
        while !self.shared.draining.is_cancelled() {
            self.look(Look::NowAndThen).await;
            self.start().await;
            if !self.idle.is_empty() {
                self.look(Look::AtOnce).await;
                self.start().await;
            }
            self.release_idle();
            self.wait().await;
        }
        self.end().await;
    }

    /// Lets what is under way come to its end, and gives everything back.
    async fn end(mut self) {
        while let Some(done) = self.running.join_next_with_id().await {
            self.came_back(done).await;
        }
        self.empty_room().await;
        let mut releasing: JoinSet<_> = self.idle.drain(..).map(Lane::released).collect();
        while releasing.join_next().await.is_some() {}
    }

    /// Claims what has come, again while more comes meanwhile: what is in the room then overtakes nothing that is here.
    async fn look(&mut self, how: Look) {
        for _ in 0..LOOKS_MAX {
            if self.idle.is_empty() || self.is_left_alone() || !self.is_to_look(how) {
                return;
            }
            self.news.mark_unchanged();
            self.arrivals.mark_unchanged();
            self.quiet.mark_unchanged();
            self.looked = Some(Instant::now());
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
            let Some(parcel) = self.open(&entry).await else {
                continue;
            };
            if let Some(until) = self.rejected_until(&self.calling(&parcel)) {
                let at = now.saturating_add(until.saturating_duration_since(Instant::now()));
                later.entry(at).or_default().push(parcel.delivery());
                continue;
            }
            match self.studies.as_mut().map(|studies| studies.gather(&parcel)) {
                Some(Gathered::Waits(at)) if at > now => later.entry(at).or_default().push(parcel.delivery()),
                _ => {
                    let is_suspect = self.losses.is_suspect(parcel.delivery());
                    self.room.put(parcel, is_suspect);
                }
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
                settle::later(shared, to, entry, why.into(), None).await;
            }
            Err(OpenError::Malformed(why)) => {
                let why = format!("its envelope cannot be opened: {why}");
                settle::failed(shared, to, entry, why.into(), None).await;
            }
        }
        None
    }

    /// The title that an instance goes under.
    fn calling(&self, parcel: &Parcel) -> AeTitle {
        let site = &parcel.entry.routing.source;
        self.destination.calling_ae_title_for(site, parcel.original.as_ref())
    }

    /// Sends what can go now.
    async fn start(&mut self) {
        loop {
            while self.start_next() {}
            let is_stuck = !self.idle.is_empty() && self.room.len() >= self.room_len && !self.is_left_alone();
            if !is_stuck || self.idle.len() == self.destination.associations.get() || self.room_len >= ROOM_MAX {
                break;
            }
            // All that wait belong to those under way: further behind there may be others.
            self.room_len += BATCH;
            self.looked = None;
            self.look(Look::AtOnce).await;
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
    fn study_of(&self, parcel: &Parcel) -> Option<StudyKey> {
        self.studies.as_ref().and_then(|_| Studies::key_of(parcel))
    }

    /// Releases associations that are kept for nobody.
    fn release_idle(&mut self) {
        let keep = self.shared.config.delivery.idle;
        let ended: HashSet<usize> = self.end_studies();
        let is_over = |lane: &Lane| {
            lane.idle()
                .is_some_and(|idle| idle >= keep || ended.contains(&lane.number))
        };
        self.release_those(is_over);
    }

    fn release_those(&mut self, is_so: impl Fn(&Lane) -> bool) {
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

    /// Waits until something may have changed.
    async fn wait(&mut self) {
        let most = self.wait_at_most();
        let is_looking = !self.idle.is_empty() && !self.is_left_alone();
        let done = tokio::select! {
            done = self.running.join_next_with_id(), if !self.running.is_empty() => done,
            _ = self.news.changed(), if is_looking => {
                self.looked = None;
                None
            }
            _ = self.arrivals.changed(), if is_looking && !self.room.is_empty() => {
                self.looked = None;
                None
            }
            _ = self.quiet.changed(), if is_looking => {
                self.looked = None;
                None
            }
            () = tokio::time::sleep(most) => None,
            () = self.shared.draining.cancelled() => None,
        };
        if let Some(done) = done {
            self.came_back(done).await;
        }
    }

    fn wait_at_most(&self) -> Duration {
        let now = Instant::now();
        let alone = self
            .alone
            .into_iter()
            .flat_map(|alone| [alone.until, alone.others_from]);
        let ends = alone.chain(self.rejected.values().copied()).filter(|end| *end > now);
        let ends = ends.map(|end| end.saturating_duration_since(now));
        let keep = self.shared.config.delivery.idle;
        let idle = self
            .idle
            .iter()
            .filter_map(Lane::idle)
            .map(|idle| keep.saturating_sub(idle));
        let looks = if self.idle.is_empty() || self.is_left_alone() {
            None
        } else if self.is_running_out() {
            Some(Duration::ZERO)
        } else {
            self.study_ends()
        };
        let all = ends.chain(idle).chain(self.gap_ends).chain(looks);
        all.fold(POLL, Duration::min)
    }

    /// Whether more can be claimed and there is place for it.
    fn is_running_out(&self) -> bool {
        self.is_more && self.room.len() < self.room_len / 2
    }

    /// In how long a study will have waited long enough.
    fn study_ends(&self) -> Option<Duration> {
        self.studies.as_ref()?.next_end(self.shared.clock.now())
    }

    /// Whether nothing at all is tried now.
    fn is_left_alone(&self) -> bool {
        self.alone.is_some_and(|alone| Instant::now() < alone.others_from)
    }

    async fn came_back(&mut self, done: Result<(Id, Done), JoinError>) {
        match done {
            Ok((id, done)) => {
                self.under_way.remove(&id);
                match done {
                    Done::Released(lane) => self.idle.push(lane),
                    Done::Withdrawn(lane, delivery) => {
                        self.idle.push(lane);
                        settle::give_back(&self.shared, vec![delivery]).await;
                    }
                    Done::Sent(sent) => self.sent(*sent).await,
                }
            }
            Err(error) => {
                tracing::error!(%error, "a delivery did not come to an end");
                if let Some(was) = self.under_way.remove(&error.id()) {
                    self.idle.push(Lane::new(was.lane));
                    settle::give_back(&self.shared, was.delivery.into_iter().collect()).await;
                }
            }
        }
    }

    async fn sent(&mut self, sent: Sent) {
        let Sent {
            lane,
            parcel,
            calling,
            stored,
        } = sent;
        self.idle.push(lane);
        let (shared, to, delivery) = (
            Arc::clone(&self.shared),
            Arc::clone(&self.destination),
            parcel.delivery(),
        );
        match self.judge(&parcel, &calling, stored) {
            // The lane has written it down.
            Verdict::Delivered(_) => self.losses.forget(delivery),
            Verdict::Failed(reason) => {
                self.losses.forget(delivery);
                settle::failed(&shared, &to, &parcel.entry, reason, Some(&parcel)).await;
            }
            Verdict::Again(reason) => {
                if !settle::later(&shared, &to, &parcel.entry, reason, Some(&parcel)).await {
                    self.losses.forget(delivery);
                }
            }
            Verdict::Destination(trouble) => {
                settle::give_back(&shared, vec![delivery]).await;
                self.leave_alone(trouble, &calling).await;
            }
        }
    }

    fn judge(&mut self, parcel: &Parcel, calling: &AeTitle, stored: Result<CStoreRsp, StoreError>) -> Verdict {
        match stored {
            Ok(response) => {
                self.losses.answered();
                let verdict = Verdict::of_status(response.status, response.error_comment.as_deref());
                // An answer that it takes nothing now is no sign of health.
                if !matches!(verdict, Verdict::Destination(_)) {
                    self.good(calling);
                }
                verdict
            }
            Err(StoreError::ContextRefused { context, result }) => {
                self.losses.answered();
                self.good(calling);
                Verdict::of_refused_context(&context, result)
            }
            Err(StoreError::NoAssociation { error, .. }) => {
                Verdict::Destination(Trouble::of_request(&error, calling.as_str()))
            }
            Err(error @ StoreError::NothingAccepted { .. }) => {
                Verdict::Destination(Trouble::Lasting(error.to_string()))
            }
            // The envelope is damaged, or the spool cannot be read: nothing of it has passed for the whole.
            Err(StoreError::Interrupted(AssociationError::Source(error))) => Verdict::of_source(&*error),
            Err(StoreError::Interrupted(error)) => self.unanswered(parcel, &error),
        }
    }

    /// The association was lost while an instance was under way, or its answer did not come in time: three times while
    /// others are answered is its own fault; with different ones in a row it is the destination's.
    fn unanswered(&mut self, parcel: &Parcel, error: &AssociationError) -> Verdict {
        let said = chain(error);
        let (on_it, in_general, once) = match error {
            AssociationError::TimedOut { .. } => (
                "the PACS does not answer on it",
                "it does not answer one instance after the other",
                "it was not answered in time",
            ),
            _ => (
                "the PACS drops the association on it",
                "it drops one association after the other",
                "the association was lost",
            ),
        };
        match self.losses.lost(parcel.delivery()) {
            Blame::Destination => Verdict::Destination(Trouble::Unanswered(format!("{in_general}: {said}"))),
            Blame::Instance(times) if times >= LOST_MAX => {
                Verdict::Failed(Reason::from(format!("{on_it} ({times} times): {said}")))
            }
            Blame::Instance(_) => Verdict::Again(Reason::from(format!("{once}: {said}"))),
        }
    }

    fn good(&mut self, calling: &AeTitle) {
        self.failures = 0;
        self.rejected.remove(calling);
        // A title that nobody goes under any more is rejected no more.
        let (now, again) = (Instant::now(), self.shared.config.delivery.paused_again);
        self.rejected.retain(|_, until| *until + again > now);
        // What it says to one title is no reason to call it well when it rejects another.
        if self.rejected.is_empty() {
            health::good(&self.shared, &self.destination);
        }
    }

    /// Leaves the destination alone for a while; its instances stay queued.
    async fn leave_alone(&mut self, trouble: Trouble, calling: &AeTitle) {
        self.failures = self.failures.saturating_add(1);
        let (shared, to) = (Arc::clone(&self.shared), Arc::clone(&self.destination));
        let times = &shared.config.delivery;
        let pause = backoff(self.failures, times.retry_min, times.retry_max, rand::random());
        let (wait, others) = match &trouble {
            Trouble::Passing(_) => (pause, pause),
            Trouble::Unanswered(_) => (pause, pause.min(OTHERS_AFTER)),
            Trouble::Lasting(_) => (times.paused_again, times.paused_again),
        };
        let (now, next) = (Instant::now(), shared.clock.now().saturating_add(wait));
        match trouble {
            Trouble::Passing(why) | Trouble::Unanswered(why) => health::down(&shared, &to, &why, next),
            Trouble::Lasting(why) => {
                health::paused(&shared, &to, &why, next).await;
                if self.has_titles() && self.rejected.len() < REJECTED_MAX {
                    // Others may be welcome.
                    self.rejected.insert(calling.clone(), now + wait);
                    let theirs = |parcel: &Parcel| {
                        let site = &parcel.entry.routing.source;
                        to.calling_ae_title_for(site, parcel.original.as_ref()) == *calling
                    };
                    let put_off = self.room.take_all(theirs);
                    let deliveries = put_off.iter().map(Parcel::delivery).collect();
                    settle::postpone(&shared, deliveries, next).await;
                    return;
                }
            }
        }
        self.alone = Some(Alone {
            until: now + wait,
            others_from: now + others,
        });
        self.empty_room().await;
        self.release_those(|lane| lane.idle().is_some());
    }

    /// Whether it may be called by several titles.
    fn has_titles(&self) -> bool {
        !self.destination.calling_ae_titles.is_empty() || self.destination.calling_ae_title == CallingTitle::Original
    }

    fn rejected_until(&self, calling: &AeTitle) -> Option<Instant> {
        let until = self.rejected.get(calling)?;
        (*until > Instant::now()).then_some(*until)
    }

    async fn empty_room(&mut self) {
        let parcels = self.room.take_all(|_| true);
        self.looked = None;
        settle::give_back(&self.shared, parcels.iter().map(Parcel::delivery).collect()).await;
    }
}

/// How a destination is called.
pub(crate) fn requestor_config(shared: &Shared, destination: &Destination, calling: AeTitle) -> RequestorConfig {
    let mut config = RequestorConfig::new(calling, destination.ae_title.clone());
    config.dimse = shared.config.delivery.answer;
    config
}

impl std::fmt::Debug for Deliverer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deliverer")
            .field("destination", &self.destination.ae_title)
            .finish_non_exhaustive()
    }
}
