//! A PACS of ours: whose turn it is to call it, and what is known of it.
//!
//! Some PACS take one association at a time from one title. Deliveries share their turn; a check or a probe has it alone,
//! and takes it only when no delivery has it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use tokio::time::Instant;

use crate::echo::{PacsCheck, SharedCheck};
use crate::mirror::Ours;

/// How often it is looked whether deliveries have done.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The turn of deliveries: while it is held, nothing else calls the PACS.
pub(crate) type DeliveryTurn = OwnedRwLockReadGuard<()>;
/// The turn of a check or a probe: while it is held, no delivery begins.
pub(crate) type LoneTurn = OwnedRwLockWriteGuard<()>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pacs {
    turn: Arc<RwLock<()>>,
    /// When it last answered a delivery.
    answered: Mutex<Option<Instant>>,
    /// The last check of it, which is shared by all who ask.
    pub(crate) check: Arc<SharedCheck<PacsCheck>>,
    /// What it takes.
    pub(crate) mirror: Ours,
}

impl Pacs {
    /// With what is known of it already.
    pub(crate) fn new(mirror: Ours) -> Self {
        Self {
            mirror,
            ..Self::default()
        }
    }

    /// For a delivery: from before its association is opened until it is released.
    pub(crate) async fn delivery_turn(&self) -> DeliveryTurn {
        Arc::clone(&self.turn).read_owned().await
    }

    /// For anything else, once no delivery has an association. Does not queue for it: a delivery that begins meanwhile goes
    /// first.
    pub(crate) async fn lone_turn(&self) -> LoneTurn {
        loop {
            match self.try_lone_turn() {
                Some(turn) => return turn,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// The same; `None`: a delivery, a check or a probe has an association.
    pub(crate) fn try_lone_turn(&self) -> Option<LoneTurn> {
        Arc::clone(&self.turn).try_write_owned().ok()
    }

    /// It has answered a delivery.
    pub(crate) fn answered(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// How long ago it answered the delivery that has an association with it now. `None`: none has, or it has not been
    /// answered yet.
    pub(crate) fn delivering(&self) -> Option<Duration> {
        if self.turn.try_write().is_ok() || self.turn.try_read().is_err() {
            return None;
        }
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.map(|at| at.elapsed())
    }
}
