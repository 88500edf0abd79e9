//! The one writer: takes what waits, syncs each file touched once, commits once, answers all.
//!
//! It is a thread, for whoever finds it at work: what has gathered meanwhile is one batch. Whoever finds it idle does the
//! work on the spot, and two changes of thread are saved, which take as long as a sync.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use packhorse_ids::{PayloadId, WallTime};
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::compact::Compactor;
use super::place::Place;
use super::shared::Shared;
use super::work::{Batch, Done, Effects, Op, Work};
use crate::error::StoreError;
use crate::stopping;
use crate::store::{Locator, QueueName};

/// Operations in one commit at most. A batch is what waits while the last one is being synced, so it seldom gets there.
const BATCH_MAX: usize = 256;
/// The write-ahead log is checkpointed from about this many pages on, when nobody waits: 32 MB.
const CHECKPOINT_PAGES: u64 = 4_000;
/// A checkpoint that a reader held up is tried again after so many pages more.
const CHECKPOINT_AGAIN_PAGES: u64 = 1_000;
/// Pages of a commit that are not its entries'.
const COMMIT_PAGES: u64 = 2;
/// What is too old is looked for so often.
const CHORES_EVERY: Duration = Duration::from_secs(60);
/// Ids that are gone are remembered for 30 days.
const SEEN_DAYS: u64 = 30;
/// A payload that does not go on is forgotten after 7 days.
const PARTIAL_DAYS: u64 = 7;
/// Old rows forgotten at a time.
const FORGET_MAX: u32 = 1_000;

/// Commits done on the spot after which the thread tidies up.
const TIDY_EVERY: u32 = 64;

/// What the committer thread is told.
#[derive(Debug)]
pub(super) enum Order {
    Do(Op),
    /// Nobody waits: see to the log, to slabs, to what is old.
    TidyUp,
}

/// Whoever has it is the one writer.
pub(super) struct Committer {
    connection: Connection,
    shared: Arc<Shared>,
    /// Pages in the write-ahead log, about.
    log_pages: u64,
    next_chores: WallTime,
    /// Commits since it tidied up last.
    untidied: u32,
    compactor: Compactor,
    /// Writes a slab ahead of need.
    slab_maker: Option<JoinHandle<()>>,
}

impl Committer {
    pub(super) fn new(connection: Connection, shared: Arc<Shared>) -> Self {
        let (log_pages, compactor, slab_maker) = (0, Compactor::default(), None);
        let next_chores = shared.clock.now().saturating_add(CHORES_EVERY);
        Self {
            connection,
            shared,
            log_pages,
            next_chores,
            untidied: 0,
            compactor,
            slab_maker,
        }
    }

    /// Whether the thread has something to do besides commits.
    pub(super) fn is_untidy(&self) -> bool {
        self.untidied >= TIDY_EVERY
            || self.log_pages >= CHECKPOINT_PAGES
            || self.compactor.is_busy()
            || self.shared.slabs.is_short()
            || self.shared.is_short()
            || self.shared.clock.now() >= self.next_chores
    }

    pub(super) fn process(&mut self, batch: Vec<Op>) {
        self.untidied += 1;
        if self.shared.is_poisoned() {
            return refuse(batch, || StoreError::Poisoned);
        }
        let is_current = |op: &Op| op.epoch.is_none_or(|epoch| epoch == self.shared.epoch);
        let (batch, stale): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_current);
        refuse(stale, || StoreError::Stale);
        if let Err(error) = self.sync(&batch) {
            self.poison("a sync failed: the spool takes nothing more", &error);
            return refuse(batch, || StoreError::Poisoned);
        }
        let has_entries = batch.iter().any(|op| op.work.has_entries());
        if has_entries {
            stopping::at("after_payload");
        }
        self.commit(batch, has_entries);
    }

    fn poison(&self, what: &'static str, error: &(dyn std::error::Error + 'static)) {
        tracing::error!(error, "{what}");
        self.shared.poison();
    }

    /// One sync for each file touched, then one for the folder if a file is new in it.
    fn sync(&self, batch: &[Op]) -> io::Result<()> {
        let mut synced = HashSet::new();
        let mut is_named = false;
        for (place, file) in batch.iter().flat_map(|op| op.work.places()) {
            let key = match place {
                Place::Extent { slab, .. } => (Some(slab), None),
                Place::Own { number, .. } => (None, Some(number)),
            };
            if synced.insert(key) {
                self.shared.config.disk.sync(file)?;
            }
            is_named |= matches!(place, Place::Own { .. });
        }
        if is_named {
            self.shared.slabs.sync_folder()?;
        }
        Ok(())
    }

    fn commit(&mut self, batch: Vec<Op>, has_entries: bool) {
        self.log_pages += COMMIT_PAGES + batch.iter().map(|op| op.work.pages()).sum::<u64>();
        match self.apply(&batch) {
            Ok((answers, effects)) => {
                self.shared.stats.commits.fetch_add(1, Ordering::Relaxed);
                self.finish(effects);
                if has_entries {
                    stopping::at("after_commit");
                }
                if batch.iter().any(|op| matches!(op.work, Work::GiveUpKept { .. })) {
                    self.note_free_pages();
                }
                batch
                    .into_iter()
                    .zip(answers)
                    .for_each(|(op, answer)| op.answer(answer));
                self.shared.wake();
            }
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                tracing::error!("the disk of the spool's index is full");
                refuse(batch, || self.shared.full());
            }
            Err(error) => {
                self.poison("a commit failed: the spool takes nothing more", &error);
                refuse(batch, || StoreError::Poisoned);
            }
        }
    }

    fn apply(&mut self, ops: &[Op]) -> rusqlite::Result<(Vec<Result<Done, StoreError>>, Effects)> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch {
            db: &transaction,
            shared: &self.shared,
            now: self.shared.clock.now(),
            effects: Effects::default(),
        };
        let answers: rusqlite::Result<Vec<_>> = ops.iter().map(|op| batch.apply(&op.work)).collect();
        let effects = batch.effects;
        match answers.and_then(|answers| transaction.commit().map(|()| answers)) {
            Ok(answers) => Ok((answers, effects)),
            Err(error) => {
                effects.taken.iter().for_each(|hold| hold.give_back());
                Err(error)
            }
        }
    }

    fn finish(&self, effects: Effects) {
        {
            let mut leases = self.shared.leases();
            for delivery in &effects.unleased {
                leases.give_back(*delivery);
            }
        }
        {
            let mut writing = self.shared.writing();
            for hold in &effects.taken {
                writing.remove(&hold.payload());
            }
        }
        effects.freed.into_iter().for_each(|place| self.shared.free(place));
        self.shared.stats.entries.fetch_add(effects.entries, Ordering::Relaxed);
        let mut changed: Vec<QueueName> = Vec::new();
        let mut counts = self.shared.counts();
        for (counted, entries, length) in effects.counts {
            if entries > 0 && !changed.contains(&counted.0) {
                changed.push(counted.0.clone());
            }
            let count = counts.entry(counted).or_default();
            count.0 = count.0.saturating_add_signed(entries);
            count.1 = count.1.saturating_add_signed(length);
        }
        drop(counts);
        changed.iter().for_each(|queue| self.shared.wake_queue(queue));
    }

    /// When nobody waits.
    fn housekeeping(&mut self) {
        self.untidied = 0;
        if self.log_pages >= CHECKPOINT_PAGES {
            self.checkpoint();
        }
        self.keep_slab_ahead();
        let now = self.shared.clock.now();
        if now >= self.next_chores || self.compactor.is_busy() {
            self.next_chores = now.saturating_add(CHORES_EVERY);
            self.shared.leases().end_old(now);
            let chores = self
                .forget_old(now)
                .and_then(|()| self.compactor.step(&mut self.connection, &self.shared, now));
            if let Err(error) = chores {
                tracing::warn!(error = &error as &dyn std::error::Error, "the spool cannot tidy up");
            }
        }
        self.note_free_pages();
        self.give_way_early();
    }

    /// What is kept goes well before anything new would be refused for it: as soon as the disk is short.
    fn give_way_early(&mut self) {
        if !self.shared.is_short() || self.shared.kept_len() == 0 {
            return;
        }
        let free = self.shared.config.disk.free(&self.shared.folder).unwrap_or(0);
        let free = free.saturating_add(self.shared.index_free.load(Ordering::Relaxed));
        let wanted = self.shared.config.reserve.saturating_mul(2);
        let (reply, _nobody) = oneshot::channel();
        let work = Work::GiveUpKept {
            until: None,
            bytes: wanted.saturating_sub(free),
        };
        self.process(vec![Op {
            epoch: None,
            work,
            reply,
        }]);
        self.shared.slabs.release_empty();
    }

    fn checkpoint(&mut self) {
        let sql = "PRAGMA wal_checkpoint(PASSIVE)";
        let pages = self
            .connection
            .query_row(sql, [], |row| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?)));
        match pages {
            Ok((written, moved)) if written == moved => self.log_pages = 0,
            Ok(_) => self.log_pages = CHECKPOINT_PAGES - CHECKPOINT_AGAIN_PAGES,
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                self.log_pages = CHECKPOINT_PAGES - CHECKPOINT_AGAIN_PAGES;
            }
            Err(error) => self.poison("a checkpoint failed: the spool takes nothing more", &error),
        }
        self.shared.stats.checkpoints.fetch_add(1, Ordering::Relaxed);
    }

    /// In a thread of its own: a slab takes a tenth of a second or more, and commits should not wait for it.
    fn keep_slab_ahead(&mut self) {
        if self.slab_maker.as_ref().is_some_and(|maker| !maker.is_finished()) || !self.shared.slabs.is_short() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let make = move || match shared.slabs.prepare() {
            Ok(()) => {}
            // Whoever needs a slab will be told.
            Err(error) => match error.into_io() {
                error if error.kind() == io::ErrorKind::StorageFull => {}
                error => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "no slab can be made ahead of need"
                ),
            },
        };
        let name = "spool-slab".to_owned();
        self.slab_maker = std::thread::Builder::new().name(name).spawn(make).ok();
    }

    fn forget_old(&self, now: WallTime) -> rusqlite::Result<()> {
        let sql = "DELETE FROM seen WHERE delivery IN (SELECT delivery FROM seen WHERE at < ? LIMIT ?)";
        self.connection
            .prepare_cached(sql)?
            .execute((days_before(now, SEEN_DAYS), FORGET_MAX))?;
        for (payload, locator) in self.old_partials(now)? {
            // One that is being written goes on, however old.
            if !self.shared.writing().insert(payload) {
                continue;
            }
            let sql = "DELETE FROM partial WHERE payload = ?";
            let forgotten = self.connection.execute(sql, [payload.as_bytes()]);
            if forgotten.is_ok()
                && let Some(place) = Place::from_locator(&locator)
            {
                self.shared.slabs.free(place);
            }
            self.shared.writing().remove(&payload);
            forgotten?;
        }
        Ok(())
    }

    fn old_partials(&self, now: WallTime) -> rusqlite::Result<Vec<(PayloadId, Locator)>> {
        let sql = "SELECT payload, locator FROM partial WHERE updated < ? LIMIT ?";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map((days_before(now, PARTIAL_DAYS), FORGET_MAX), |row| {
            let locator: Vec<u8> = row.get(1)?;
            Ok((PayloadId::from_bytes(row.get(0)?), Locator::new(locator)))
        })?;
        rows.collect()
    }

    /// Room in the index counts when the disk is short of it.
    fn note_free_pages(&self) {
        let free = self.shared.config.disk.free(&self.shared.folder).unwrap_or(0);
        let is_short = self.shared.note_free(free);
        let pages = |name: &str| self.connection.query_row(name, [], |row| row.get::<_, i64>(0));
        let index_free = if is_short {
            let (count, size) = (pages("PRAGMA freelist_count"), pages("PRAGMA page_size"));
            count.unwrap_or(0).saturating_mul(size.unwrap_or(0)).cast_unsigned()
        } else {
            0
        };
        self.shared.index_free.store(index_free, Ordering::Relaxed);
    }
}

/// The committer thread's whole life.
pub(super) fn run(shared: &Shared, mut orders: mpsc::Receiver<Order>) {
    while let Some(first) = orders.blocking_recv() {
        let mut committer = shared.committer();
        let Some(committer) = committer.as_mut() else { return };
        let mut batch: Vec<Op> = first.op().into_iter().collect();
        while batch.len() < BATCH_MAX
            && let Ok(next) = orders.try_recv()
        {
            batch.extend(next.op());
        }
        if !batch.is_empty() {
            committer.process(batch);
        }
        if orders.is_empty() && !shared.is_poisoned() {
            committer.housekeeping();
        }
    }
    if let Some(mut committer) = shared.committer().take()
        && let Some(maker) = committer.slab_maker.take()
    {
        drop(maker.join());
    }
}

impl Order {
    fn op(self) -> Option<Op> {
        match self {
            Self::Do(op) => Some(op),
            Self::TidyUp => None,
        }
    }
}

fn refuse(batch: Vec<Op>, error: impl Fn() -> StoreError) {
    batch.into_iter().for_each(|op| op.answer(Err(error())));
}

const fn days_before(now: WallTime, days: u64) -> i64 {
    now.unix_micros().saturating_sub((days * 86_400_000_000).cast_signed())
}

/// Forgets unfinished payloads that are too old, all at once: at opening, before their space is counted as used.
pub(super) fn forget_old(connection: &Connection, now: WallTime) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM partial WHERE updated < ?",
        [days_before(now, PARTIAL_DAYS)],
    )?;
    Ok(())
}
