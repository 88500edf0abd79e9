//! A PACS of ours: whose turn it is to call it, and what is known of it.
//!
//! Some PACS take one association at a time from one title. Deliveries share their turn; a check or a probe has it alone,
//! and takes it only when no delivery has it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock, watch};
use tokio::time::Instant;

use crate::echo::{PacsCheck, SharedCheck};
use crate::mirror::Ours;

/// How often it is looked whether deliveries have done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The turn of a check or a probe: while it is held, no delivery begins.
pub(crate) type LoneTurn = OwnedRwLockWriteGuard<()>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pacs {
    turn: Arc<RwLock<()>>,
    deliveries: Mutex<Deliveries>,
    /// Checks that wait for a turn: associations that are only kept are released for them.
    wanted: watch::Sender<usize>,
    /// The last check of it, which is shared by all who ask.
    pub(crate) check: Arc<SharedCheck<PacsCheck>>,
    /// What it takes.
    pub(crate) mirror: Ours,
}

#[derive(Debug, Default)]
struct Deliveries {
    /// Turns whose association it has accepted.
    open: usize,
    /// Instances that are on their way now.
    sending: usize,
    /// When it last answered a delivery, if only by accepting its association.
    answered: Option<Instant>,
}

/// What becomes of a check that wants its turn.
#[derive(Debug)]
pub(crate) enum CheckTurn {
    /// It may call.
    Alone(LoneTurn),
    /// A delivery is at work, which the PACS answered so long ago.
    Delivering(Duration),
}

impl Pacs {
    /// With what is known of it already.
    pub(crate) fn new(mirror: Ours) -> Self {
        Self {
            mirror,
            ..Self::default()
        }
    }

    fn deliveries(&self) -> MutexGuard<'_, Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a delivery: from before its association is opened until it is released.
    pub(crate) async fn delivery_turn(self: &Arc<Self>) -> DeliveryTurn {
        DeliveryTurn {
            pacs: Arc::clone(self),
            is_open: AtomicBool::new(false),
            _turn: Arc::clone(&self.turn).read_owned().await,
        }
    }

    /// For a check, once no delivery has an association; one that is only kept is released for it. Does not queue for it: a
    /// delivery that begins meanwhile goes first, and is an answer too once the PACS has accepted its association.
    pub(crate) async fn check_turn(&self) -> CheckTurn {
        let _wanted = Wanted::new(&self.wanted);
        loop {
            if let Some(turn) = self.try_lone_turn() {
                return CheckTurn::Alone(turn);
            }
            if let Some(answered) = self.delivering() {
                return CheckTurn::Delivering(answered);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// For a probe; `None`: a delivery, a check or a probe has an association.
    pub(crate) fn try_lone_turn(&self) -> Option<LoneTurn> {
        Arc::clone(&self.turn).try_write_owned().ok()
    }

    /// How many checks wait for a turn, and when that changes.
    pub(crate) fn wanted(&self) -> watch::Receiver<usize> {
        self.wanted.subscribe()
    }

    /// How long ago it answered the deliveries that are at work now. `None`: none is, or it has not accepted an association
    /// of theirs yet.
    pub(crate) fn delivering(&self) -> Option<Duration> {
        let deliveries = self.deliveries();
        let answered = deliveries
            .answered
            .filter(|_| deliveries.open > 0 && deliveries.sending > 0);
        answered.map(|at| at.elapsed())
    }
}

/// The turn of deliveries: while it is held, nothing else calls the PACS.
#[derive(Debug)]
pub(crate) struct DeliveryTurn {
    pacs: Arc<Pacs>,
    /// Whether the PACS has accepted its association.
    is_open: AtomicBool,
    _turn: OwnedRwLockReadGuard<()>,
}

impl DeliveryTurn {
    /// The PACS has accepted the association, or has answered an instance.
    pub(crate) fn answered(&self) {
        let mut deliveries = self.pacs.deliveries();
        deliveries.answered = Some(Instant::now());
        if !self.is_open.swap(true, Ordering::Relaxed) {
            deliveries.open += 1;
        }
    }
}

impl Drop for DeliveryTurn {
    fn drop(&mut self) {
        if *self.is_open.get_mut() {
            self.pacs.deliveries().open -= 1;
        }
    }
}

/// Held while an instance is on its way.
#[derive(Debug)]
pub(crate) struct Sending(Arc<DeliveryTurn>);

impl Sending {
    pub(crate) fn new(turn: Arc<DeliveryTurn>) -> Self {
        turn.pacs.deliveries().sending += 1;
        Self(turn)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.pacs.deliveries().sending -= 1;
    }
}

struct Wanted<'a>(&'a watch::Sender<usize>);

impl<'a> Wanted<'a> {
    fn new(wanted: &'a watch::Sender<usize>) -> Self {
        wanted.send_modify(|wanted| *wanted += 1);
        Self(wanted)
    }
}

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|wanted| *wanted -= 1);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    const LONG: Duration = Duration::from_secs(120);

    #[tokio::test(start_paused = true)]
    async fn an_accepted_association_that_is_at_work_is_an_answer_however_long_one_instance_takes() {
        let pacs = Arc::new(Pacs::default());
        let turn = Arc::new(pacs.delivery_turn().await);
        let sending = Sending::new(Arc::clone(&turn));
        assert!(
            timeout(LONG, pacs.check_turn()).await.is_err(),
            "it is not accepted yet"
        );
        turn.answered();
        tokio::time::advance(LONG).await;
        let CheckTurn::Delivering(answered) = pacs.check_turn().await else {
            panic!("a delivery has the association")
        };
        assert!(answered >= LONG, "{answered:?}");
        drop((sending, turn));
        assert!(matches!(pacs.check_turn().await, CheckTurn::Alone(_)));
        // An old answer is none of the next association.
        let turn = Arc::new(pacs.delivery_turn().await);
        let _sending = Sending::new(Arc::clone(&turn));
        assert_eq!(pacs.delivering(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_association_that_is_only_kept_is_wanted_back() {
        let pacs = Arc::new(Pacs::default());
        let turn = Arc::new(pacs.delivery_turn().await);
        turn.answered();
        assert_eq!(pacs.delivering(), None);
        let mut wanted = pacs.wanted();
        let gives_way = async {
            wanted.changed().await.unwrap();
            assert_eq!(*wanted.borrow(), 1);
            drop(turn);
        };
        let (checked, ()) = tokio::join!(pacs.check_turn(), gives_way);
        assert!(matches!(checked, CheckTurn::Alone(_)));
        assert_eq!(*pacs.wanted().borrow(), 0);
    }
}
