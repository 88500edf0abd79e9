//! The one writer: takes what waits, syncs each file touched once, commits once, answers all.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use packhorse_ids::{DeliveryId, Epoch, PayloadId, SegmentSet, WallTime};
use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::{mpsc, oneshot};

use super::rows;
use super::slab::Place;
use super::spool::Shared;
use crate::error::StoreError;
use crate::stopping;
use crate::store::{Body, Committed, Custody, EntryState, NewEntry, NewState, QueueName, Settlement};

/// Operations in one commit at most. A batch is what waits while the last one is being synced, so it seldom gets there.
const BATCH_MAX: usize = 256;
/// The write-ahead log is checkpointed from this size on, when nobody waits: 4,000 pages of 8 KiB.
const CHECKPOINT_LEN: u64 = 4_000 * 8192;
/// Ids that are gone are remembered for 30 days.
const SEEN_DAYS: u64 = 30;
/// A payload that does not go on is forgotten after 7 days.
const PARTIAL_DAYS: u64 = 7;
/// A note is cut here.
const NOTE_LEN_MAX: usize = 512;

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the committer is asked to do.
#[derive(Debug)]
pub(super) enum Op {
    Commit {
        epoch: Epoch,
        entries: Vec<NewEntry>,
        facts: Vec<Bytes>,
        reply: Reply<Vec<Committed>>,
    },
    Settle {
        epoch: Epoch,
        settlements: Vec<(DeliveryId, Settlement)>,
        facts: Vec<Bytes>,
        reply: Reply<()>,
    },
    Reopen {
        epoch: Epoch,
        deliveries: Vec<DeliveryId>,
        reply: Reply<u64>,
    },
    Trim {
        epoch: Epoch,
        through: u64,
        reply: Reply<()>,
    },
    Forget {
        payload: PayloadId,
        reply: Reply<()>,
    },
    Save {
        payload: PayloadId,
        place: Place,
        segments: SegmentSet,
        reply: Reply<()>,
    },
}

impl Op {
    const fn epoch(&self) -> Option<Epoch> {
        match self {
            Self::Commit { epoch, .. }
            | Self::Settle { epoch, .. }
            | Self::Reopen { epoch, .. }
            | Self::Trim { epoch, .. } => Some(*epoch),
            Self::Save { .. } | Self::Forget { .. } => None,
        }
    }

    fn refuse(self, error: StoreError) {
        match self {
            Self::Commit { reply, .. } => drop(reply.send(Err(error))),
            Self::Settle { reply, .. }
            | Self::Trim { reply, .. }
            | Self::Save { reply, .. }
            | Self::Forget { reply, .. } => {
                drop(reply.send(Err(error)));
            }
            Self::Reopen { reply, .. } => drop(reply.send(Err(error))),
        }
    }

    /// The places whose bytes must be durable before the row is.
    fn places(&self) -> Vec<Place> {
        match self {
            Self::Commit { entries, .. } => entries.iter().filter_map(|entry| place_of(&entry.body)).collect(),
            Self::Save { place, .. } => vec![*place],
            Self::Settle { .. } | Self::Reopen { .. } | Self::Trim { .. } | Self::Forget { .. } => Vec::new(),
        }
    }
}

fn place_of(body: &Body) -> Option<Place> {
    match body {
        Body::Inline(_) => None,
        Body::Stored(locator) => Place::from_locator(locator),
    }
}

/// What a commit changes outside the database, once it is durable.
#[derive(Debug, Default)]
struct Effects {
    counts: Vec<(QueueName, EntryState, i64, i64)>,
    freed: Vec<Place>,
    unleased: HashSet<DeliveryId>,
}

impl Effects {
    fn count(&mut self, queue: &QueueName, state: EntryState, entries: i64, length: u64) {
        self.counts
            .push((queue.clone(), state, entries, entries * length.cast_signed()));
    }
}

/// An answer that waits for the commit.
type Answer = Box<dyn FnOnce() + Send>;

/// The committer thread's whole life.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) connection: Connection,
    pub(super) shared: Arc<Shared>,
    pub(super) ops: mpsc::Receiver<Op>,
    pub(super) wal: PathBuf,
}

impl Committer {
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.ops.blocking_recv() {
            batch.push(first);
            while batch.len() < BATCH_MAX
                && let Ok(next) = self.ops.try_recv()
            {
                batch.push(next);
            }
            self.process(std::mem::take(&mut batch));
            if self.ops.is_empty() {
                self.housekeeping();
            }
        }
    }

    fn process(&mut self, batch: Vec<Op>) {
        if self.shared.poisoned.load(Ordering::SeqCst) {
            return batch.into_iter().for_each(|op| op.refuse(StoreError::Poisoned));
        }
        let (batch, stale): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|op| op.epoch().is_none_or(|epoch| epoch == self.shared.epoch));
        stale.into_iter().for_each(|op| op.refuse(StoreError::Stale));
        if let Err(error) = self.sync(&batch) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "a sync failed: the spool takes nothing more"
            );
            self.shared.poison();
            return batch.into_iter().for_each(|op| op.refuse(StoreError::Poisoned));
        }
        stopping::at("after_payload");
        self.commit(batch);
    }

    fn sync(&self, batch: &[Op]) -> io::Result<()> {
        let mut synced = HashSet::new();
        for place in batch.iter().flat_map(Op::places) {
            let file = match place {
                Place::Extent { slab, .. } => (Some(slab), None),
                Place::Own { payload, .. } => (None, Some(payload)),
            };
            if synced.insert(file) {
                self.shared.slabs.sync(place)?;
            }
        }
        Ok(())
    }

    fn commit(&mut self, batch: Vec<Op>) {
        let (mut effects, mut answers) = (Effects::default(), Vec::new());
        let done = self.apply(batch, &mut effects, &mut answers);
        match done {
            Ok(()) => {
                self.shared.stats.commits.fetch_add(1, Ordering::Relaxed);
                self.finish(effects);
                stopping::at("after_commit");
                answers.into_iter().for_each(|answer| answer());
                self.shared.wake.send_modify(|count| *count = count.wrapping_add(1));
            }
            // The replies were dropped with what was to be answered: their waiters see it as poisoned or full.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
                tracing::error!("the disk of the spool's index is full");
                self.shared.full.store(true, Ordering::SeqCst);
                drop(answers);
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a commit failed: the spool takes nothing more"
                );
                self.shared.poison();
                drop(answers);
            }
        }
    }

    fn apply(&mut self, batch: Vec<Op>, effects: &mut Effects, answers: &mut Vec<Answer>) -> rusqlite::Result<()> {
        let now = self.shared.clock.now();
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        for op in batch {
            let answer = apply_op(&transaction, op, now, effects, &self.shared)?;
            answers.push(answer);
        }
        transaction.commit()
    }

    fn finish(&self, effects: Effects) {
        {
            let mut leases = self.shared.leases();
            leases.retain(|delivery, _| !effects.unleased.contains(delivery));
        }
        effects
            .freed
            .into_iter()
            .for_each(|place| self.shared.slabs.free(place));
        let mut counts = self.shared.counts();
        for (queue, state, entries, length) in effects.counts {
            let count = counts.entry((queue, state)).or_default();
            count.0 = count.0.saturating_add_signed(entries);
            count.1 = count.1.saturating_add_signed(length);
        }
    }

    /// When nobody waits: a slab ahead of need, the checkpoint, what is too old.
    fn housekeeping(&mut self) {
        if let Err(error) = self.shared.slabs.prepare() {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "no slab can be made ahead of need"
            );
        }
        let wal_len = std::fs::metadata(&self.wal).map_or(0, |metadata| metadata.len());
        let is_due = wal_len > CHECKPOINT_LEN;
        if is_due
            && let Err(error) = self
                .connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the write-ahead log cannot be checkpointed"
            );
        }
    }
}

/// Forgets ids and unfinished payloads that are too old. Run at opening.
pub(super) fn forget_old(connection: &Connection, now: WallTime) -> rusqlite::Result<()> {
    let before = |days: u64| now.unix_micros() - (days * 86_400_000_000).cast_signed();
    connection.execute("DELETE FROM seen WHERE at < ?", [before(SEEN_DAYS)])?;
    connection.execute("DELETE FROM partial WHERE updated < ?", [before(PARTIAL_DAYS)])?;
    Ok(())
}

fn answer<T: Send + 'static>(reply: Reply<T>, value: T) -> Answer {
    // A waiter that has gone away needs no answer.
    Box::new(move || {
        let _gone = reply.send(Ok(value));
    })
}

fn apply_op(
    db: &Connection,
    op: Op,
    now: WallTime,
    effects: &mut Effects,
    shared: &Shared,
) -> rusqlite::Result<Answer> {
    match op {
        Op::Commit {
            entries, facts, reply, ..
        } => {
            let committed: rusqlite::Result<Vec<_>> = entries
                .iter()
                .map(|entry| commit_entry(db, entry, now, effects))
                .collect();
            insert_facts(db, &facts)?;
            shared
                .stats
                .entries
                .fetch_add(u64::try_from(entries.len()).unwrap_or(0), Ordering::Relaxed);
            Ok(answer(reply, committed?))
        }
        Op::Settle {
            settlements,
            facts,
            reply,
            ..
        } => {
            for (delivery, settlement) in settlements {
                settle(db, delivery, settlement, now, effects)?;
            }
            insert_facts(db, &facts)?;
            Ok(answer(reply, ()))
        }
        Op::Reopen { deliveries, reply, .. } => {
            let mut reopened = 0;
            for delivery in deliveries {
                reopened += u64::from(reopen(db, delivery, effects)?);
            }
            Ok(answer(reply, reopened))
        }
        Op::Trim { through, reply, .. } => {
            db.prepare_cached("DELETE FROM fact WHERE seq <= ?")?
                .execute([through.cast_signed()])?;
            Ok(answer(reply, ()))
        }
        Op::Forget { payload, reply } => {
            db.prepare_cached("DELETE FROM partial WHERE payload = ?")?
                .execute([payload.as_bytes()])?;
            Ok(answer(reply, ()))
        }
        Op::Save {
            payload,
            place,
            segments,
            reply,
        } => {
            let sql = "INSERT OR REPLACE INTO partial VALUES (?, ?, ?, ?)";
            let locator = place.to_locator();
            let row = params![payload.as_bytes(), &*locator.0, segments.to_bytes(), now.unix_micros()];
            db.prepare_cached(sql)?.execute(row)?;
            Ok(answer(reply, ()))
        }
    }
}

fn insert_facts(db: &Connection, facts: &[Bytes]) -> rusqlite::Result<()> {
    let mut statement = db.prepare_cached("INSERT INTO fact (bytes) VALUES (?)")?;
    facts.iter().try_for_each(|fact| statement.execute([&**fact]).map(drop))
}

fn commit_entry(
    db: &Connection,
    entry: &NewEntry,
    now: WallTime,
    effects: &mut Effects,
) -> rusqlite::Result<Committed> {
    let delivery = entry.routing.delivery;
    if let Some(present) = rows::find(db, delivery)? {
        if present.body != entry.body {
            effects.freed.extend(place_of(&entry.body));
        }
        return Ok(Committed {
            delivery,
            sequence: present.routing.sequence,
            is_duplicate: true,
        });
    }
    let sequence = match entry.routing.sequence.0 {
        0 => rows::next_sequence(db, &entry.routing)?,
        _ => entry.routing.sequence,
    };
    rows::insert(db, entry, sequence, now)?;
    db.prepare_cached("DELETE FROM partial WHERE payload = ?")?
        .execute([entry.routing.payload.as_bytes()])?;
    let state = match entry.state {
        NewState::Ready => EntryState::Ready,
        NewState::Held => EntryState::Held,
    };
    effects.count(&entry.queue, state, 1, entry.routing.length);
    Ok(Committed {
        delivery,
        sequence,
        is_duplicate: false,
    })
}

fn settle(
    db: &Connection,
    delivery: DeliveryId,
    settlement: Settlement,
    now: WallTime,
    effects: &mut Effects,
) -> rusqlite::Result<()> {
    let Some(brief) = rows::brief(db, delivery)? else {
        return Ok(());
    };
    effects.unleased.insert(delivery);
    let (state, due, tried, note) = match settlement {
        Settlement::Acked { again } if brief.custody == Custody::UntilReleased => {
            (EntryState::Acked, again, false, None)
        }
        Settlement::Acked { .. } | Settlement::Released | Settlement::Discarded => {
            return remove(db, delivery, brief, now, effects);
        }
        Settlement::Retry { at, note } => (EntryState::Ready, at, true, Some(note)),
        Settlement::Held { note } => (EntryState::Held, WallTime::default(), false, Some(note)),
        Settlement::Failed { note } => (EntryState::Failed, WallTime::default(), true, Some(note)),
    };
    let note = note.map(|note| note.chars().take(NOTE_LEN_MAX).collect::<String>());
    let sql = "UPDATE entry SET state = ?, due = ?, attempts = attempts + ?, note = coalesce(?, note)
               WHERE delivery = ?";
    let row = params![
        state.code(),
        due.unix_micros(),
        u8::from(tried),
        note,
        delivery.as_bytes()
    ];
    db.prepare_cached(sql)?.execute(row)?;
    effects.count(&brief.queue, brief.state, -1, brief.length);
    effects.count(&brief.queue, state, 1, brief.length);
    Ok(())
}

fn remove(
    db: &Connection,
    delivery: DeliveryId,
    brief: rows::Brief,
    now: WallTime,
    effects: &mut Effects,
) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM entry WHERE delivery = ?")?
        .execute([delivery.as_bytes()])?;
    let row = params![delivery.as_bytes(), now.unix_micros()];
    db.prepare_cached("INSERT OR REPLACE INTO seen VALUES (?, ?)")?
        .execute(row)?;
    effects
        .freed
        .extend(brief.locator.as_ref().and_then(Place::from_locator));
    effects.count(&brief.queue, brief.state, -1, brief.length);
    Ok(())
}

fn reopen(db: &Connection, delivery: DeliveryId, effects: &mut Effects) -> rusqlite::Result<bool> {
    let Some(brief) = rows::brief(db, delivery)? else {
        return Ok(false);
    };
    if brief.state == EntryState::Ready {
        return Ok(false);
    }
    let sql = "UPDATE entry SET state = 0, due = 0, attempts = 0 WHERE delivery = ?";
    db.prepare_cached(sql)?.execute([delivery.as_bytes()])?;
    effects.unleased.insert(delivery);
    effects.count(&brief.queue, brief.state, -1, brief.length);
    effects.count(&brief.queue, EntryState::Ready, 1, brief.length);
    Ok(true)
}
