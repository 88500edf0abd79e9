//! To the target PACS: one task for each destination, so that a dead PACS holds up no other. It claims what waits for the
//! destination into a room, and sends from there over its lanes: one association each, one for the whole destination unless
//! configured otherwise.
//!
//! What goes next is asked after every instance: STAT first, then in the order in which a site took it; what went unanswered
//! last. Over several lanes nothing of one patient, and nothing of one study, goes at the same time.

mod convert;
mod gather;
mod health;
mod intake;
mod judge;
mod lane;
mod losses;
mod next;
mod parcel;
mod room;
mod settle;
#[cfg(test)]
mod tests;
mod verdict;
mod whole;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use packhorse_association::RequestorConfig;
use packhorse_dicom::ae_title::AeTitle;
use packhorse_ids::DeliveryId;
use packhorse_spool::QueueName;
use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::config::{Deliver, Destination};
use crate::shared::{Shared, queue_to};
use intake::Look;
use lane::{Done, Lane, Sent};
use losses::Losses;
use parcel::{Owner, Parcel};
use room::Room;
pub(crate) use verdict::{Trouble, Verdict};
use whole::{Studies, StudyKey};

/// Instances claimed at a time. Those that wait together let one association propose what all of them need.
const BATCH: usize = 64;
/// The queue is looked at so often when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);

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
    /// How many checks of the PACS wait for our associations.
    wanted: watch::Receiver<usize>,
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
    /// When it was counted last what has come of studies.
    counted: Option<Instant>,
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

impl Deliverer {
    pub(crate) fn new(shared: Arc<Shared>, destination: Destination) -> Self {
        let queue = queue_to(&destination.ae_title);
        Self {
            news: shared.spool.wakeups_of(&queue),
            arrivals: shared.arrivals.version(),
            quiet: shared.quiet.version(),
            wanted: match shared.pacs.get(&destination.ae_title) {
                Some(pacs) => pacs.wanted(),
                None => watch::channel(0).1,
            },
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
            counted: None,
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
            Ok(()) = self.wanted.changed() => None,
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
        let (shared, delivery) = (Arc::clone(&self.shared), parcel.delivery());
        match self.judge(&parcel, &calling, stored) {
            // The lane has written it down.
            Verdict::Delivered(_) => self.losses.forget(delivery),
            Verdict::Failed(reason) => {
                self.losses.forget(delivery);
                settle::failed(&shared, &parcel.entry, reason, Some(&parcel)).await;
            }
            Verdict::Again(reason) => {
                if !settle::later(&shared, &parcel.entry, reason, Some(&parcel)).await {
                    self.losses.forget(delivery);
                }
            }
            Verdict::Destination(trouble) => self.leave_alone(trouble, (delivery, &calling)).await,
        }
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
