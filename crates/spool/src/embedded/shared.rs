//! What the committer, the writers and the callers share.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use packhorse_ids::{Clock, Epoch, Kind, PayloadId};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot, watch};

use super::claim::CLAIMED;
use super::committer::{Committer, Order};
use super::leases::Leases;
use super::pins::Pins;
use super::place::{FileError, Place};
use super::slab::Slabs;
use super::spool::SpoolConfig;
use super::work::{Done, Op, Work};
use crate::error::StoreError;
use crate::store::{EntryState, QueueName};

/// What is counted together.
pub(super) type Counted = (QueueName, Kind, EntryState);
/// Asks whether there is room for something.
pub(super) type RoomCheck = fn(&Shared) -> Result<(), StoreError>;
/// Entries and bytes.
pub(super) type Counts = HashMap<Counted, (u64, u64)>;

/// So much of what is kept is given up at a time.
const GIVE_WAY_LEN: u64 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) entries: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    pub(super) moved: AtomicU64,
}

pub(super) struct Shared {
    pub(super) epoch: Epoch,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: SpoolConfig,
    pub(super) folder: PathBuf,
    pub(super) slabs: Slabs,
    pub(super) pins: Pins,
    pub(super) stats: Counters,
    pub(super) wake: watch::Sender<u64>,
    /// Wakes those who wait for one queue.
    queue_wakes: Mutex<HashMap<QueueName, watch::Sender<u64>>>,
    /// Wakes those who wait for the end.
    poisoned: watch::Sender<bool>,
    /// Bytes of the index that are free in it: rows that went. Renewed when room is short.
    pub(super) index_free: AtomicU64,
    is_poisoned: AtomicBool,
    /// The disk has less than twice the reserve, as far as is known.
    is_short: AtomicBool,
    counts: Mutex<Counts>,
    leases: Mutex<Leases>,
    /// Payloads that have a writer or an uncommitted locator now: one each.
    writing: Mutex<HashSet<PayloadId>>,
    /// `None` once the spool is closed: the committer ends when it has done what waits.
    orders: Mutex<Option<mpsc::Sender<Order>>>,
    /// `None` before there is one and after the end.
    committer: Mutex<Option<Committer>>,
    /// The folder is ours as long as anybody here can write to it.
    _lock: File,
}

/// What a [`Shared`] begins with.
pub(super) struct Parts {
    pub(super) epoch: Epoch,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: SpoolConfig,
    pub(super) folder: PathBuf,
    pub(super) slabs: Slabs,
    pub(super) counts: Counts,
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) lock: File,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("folder", &self.folder)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            epoch: parts.epoch,
            clock: parts.clock,
            config: parts.config,
            folder: parts.folder,
            slabs: parts.slabs,
            pins: Pins::default(),
            stats: Counters::default(),
            wake: watch::Sender::new(0),
            queue_wakes: Mutex::default(),
            poisoned: watch::Sender::new(false),
            index_free: AtomicU64::new(0),
            is_poisoned: AtomicBool::new(false),
            is_short: AtomicBool::new(false),
            counts: Mutex::new(parts.counts),
            leases: Mutex::default(),
            writing: Mutex::default(),
            orders: Mutex::new(Some(parts.orders)),
            committer: Mutex::default(),
            _lock: parts.lock,
        }
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    /// Whether a queue has anything that may be due or become so. What is in the index already and not counted yet is
    /// counted before the next wake-up.
    pub(super) fn has_claimable(&self, queue: &QueueName) -> bool {
        let is_claimable = |((of, _, state), (entries, _)): (&Counted, &(u64, u64))| {
            of == queue && *entries > 0 && CLAIMED.contains(state)
        };
        self.counts().iter().any(is_claimable)
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        lock(&self.leases)
    }

    pub(super) fn writing(&self) -> MutexGuard<'_, HashSet<PayloadId>> {
        lock(&self.writing)
    }

    /// Frees what a row held, once nobody who claimed it may read it.
    pub(super) fn free(&self, place: Place) {
        if !self.pins.leave(place) {
            self.slabs.free(place);
        }
    }

    /// The committer ends when it has done what waits.
    pub(super) fn close(&self) {
        drop(lock(&self.orders).take());
    }

    /// The one writer, once nobody else has it.
    pub(super) fn committer(&self) -> MutexGuard<'_, Option<Committer>> {
        self.committer.lock().unwrap_or_else(|broken| {
            // It has panicked in the middle of its work.
            self.poison();
            broken.into_inner()
        })
    }

    /// Does `op` here and now if nobody else is at work or waits, and if this thread may block; otherwise gives it back.
    fn do_at_once(&self, op: Op, orders: &mpsc::Sender<Order>) -> Result<(), Op> {
        let may_block = Handle::try_current().is_ok_and(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread);
        if !may_block || orders.capacity() < orders.max_capacity() {
            return Err(op);
        }
        let Ok(mut committer) = self.committer.try_lock() else {
            return Err(op);
        };
        let Some(committer) = committer.as_mut() else {
            return Err(op);
        };
        tokio::task::block_in_place(|| committer.process(vec![op]));
        if committer.is_untidy() {
            // When it is full the thread has enough to wake up for.
            drop(orders.try_send(Order::TidyUp));
        }
        Ok(())
    }

    /// Whether the disk was short of room when it was last asked.
    pub(super) fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Notes how much of the disk is free. Whether it is short of room.
    pub(super) fn note_free(&self, free: u64) -> bool {
        let is_short = free < self.config.reserve.saturating_mul(2);
        self.is_short.store(is_short, Ordering::Relaxed);
        is_short
    }

    /// Wakes everybody, whatever they wait for.
    pub(super) fn wake_all(&self) {
        self.wake();
        lock(&self.queue_wakes).values().for_each(count_up);
    }

    /// Wakes those who wait for any change.
    pub(super) fn wake(&self) {
        count_up(&self.wake);
    }

    /// Wakes those who wait for one queue.
    pub(super) fn wake_queue(&self, queue: &QueueName) {
        lock(&self.queue_wakes).get(queue).into_iter().for_each(count_up);
    }

    pub(super) fn wakeups_of(&self, queue: &QueueName) -> watch::Receiver<u64> {
        let mut wakes = lock(&self.queue_wakes);
        let wake = wakes.entry(queue.clone()).or_insert_with(|| watch::Sender::new(0));
        wake.subscribe()
    }

    pub(super) fn poisoned(&self) -> watch::Receiver<bool> {
        self.poisoned.subscribe()
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::SeqCst)
    }

    pub(super) fn poison(&self) {
        self.is_poisoned.store(true, Ordering::SeqCst);
        // Those who watch learn of it without asking.
        self.poisoned.send_replace(true);
        self.wake_all();
    }

    pub(super) fn full(&self) -> StoreError {
        StoreError::Full {
            free: self.config.disk.free(&self.folder).unwrap_or(0),
            reserve: self.config.reserve,
        }
    }

    /// What trouble with a file means. Only a write or sync that failed leaves something that is not known.
    pub(super) fn file_error(&self, error: FileError) -> StoreError {
        match error {
            FileError::Open(error) if error.kind() == io::ErrorKind::StorageFull => self.full(),
            FileError::Open(error) => StoreError::Busy(error),
            FileError::Read(error) => StoreError::Read(error),
            FileError::Write(error) => self.write_error(error),
        }
    }

    /// What a failed write means: no room, or out of order.
    pub(super) fn write_error(&self, error: io::Error) -> StoreError {
        if error.kind() == io::ErrorKind::StorageFull {
            return self.full();
        }
        self.poison();
        StoreError::Write(error)
    }

    /// Whether something new may be taken: the reserve is untouched.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        self.check_room_above(self.config.reserve)
    }

    /// Whether what has its space already may go on: rows are small, and may use half of the reserve.
    pub(super) fn check_room_for_row(&self) -> Result<(), StoreError> {
        self.check_room_above(self.config.reserve / 2)
    }

    /// Whether a message may be taken: small, and what frees space (receipts) comes in messages. A spool that refused them
    /// when it is full would stay so.
    pub(super) fn check_room_for_message(&self) -> Result<(), StoreError> {
        self.check_room_above(self.config.reserve / 4)
    }

    /// What is kept.
    pub(super) fn kept_len(&self) -> u64 {
        let counts = self.counts();
        let kept = counts.iter().filter(|((_, _, state), _)| *state == EntryState::Kept);
        kept.map(|(_, (_, bytes))| *bytes).sum()
    }

    /// As `check`, but what is kept gives way, as much as is needed.
    pub(super) async fn make_room(&self, check: RoomCheck) -> Result<(), StoreError> {
        loop {
            match check(self) {
                Err(StoreError::Full { .. }) if self.give_way().await => {}
                done => return done,
            }
        }
    }

    /// Gives some of what is kept up, the oldest first. Whether there was any: then it is worth asking for room again.
    pub(super) async fn give_way(&self) -> bool {
        if self.kept_len() == 0 {
            return false;
        }
        let bytes = self.config.slab_len.max(GIVE_WAY_LEN);
        let given_up = ask(self, None, Work::GiveUpKept { until: None, bytes }).await;
        let gave = given_up.is_ok_and(|done| done.given_up > 0);
        if gave {
            self.slabs.release_empty();
        }
        gave
    }

    /// Rows that went have left room in the index, and slabs that hold nothing give theirs back to the disk: a spool that
    /// was full and has been emptied takes again.
    fn check_room_above(&self, kept: u64) -> Result<(), StoreError> {
        if self.is_poisoned() {
            return Err(StoreError::Poisoned);
        }
        let free = || {
            let free = self.config.disk.free(&self.folder).map_err(StoreError::Read)?;
            self.note_free(free);
            Ok(free)
        };
        let is_enough = |free: u64| free.saturating_add(self.index_free.load(Ordering::Relaxed)) >= kept;
        if is_enough(free()?) || (self.slabs.release_empty() && is_enough(free()?)) {
            Ok(())
        } else {
            Err(self.full())
        }
    }
}

fn count_up(wake: &watch::Sender<u64>) {
    wake.send_modify(|count| *count = count.wrapping_add(1));
}

/// Asks the committer and waits for its answer. Dropped while it waits, the work may still be done.
pub(super) async fn ask(shared: &Shared, epoch: Option<Epoch>, work: Work) -> Result<Done, StoreError> {
    let (reply, answer) = oneshot::channel();
    let orders = lock(&shared.orders).clone().ok_or(StoreError::Closed)?;
    let op = Op { epoch, work, reply };
    if let Err(op) = shared.do_at_once(op, &orders) {
        orders.send(Order::Do(op)).await.map_err(|_| StoreError::Closed)?;
    }
    drop(orders);
    answer.await.map_err(|_| StoreError::Closed)?
}
