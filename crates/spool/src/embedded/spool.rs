//! The embedded store itself.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{Clock, DeliveryId, Epoch, PayloadId, SegmentSet, WallTime};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use tokio::sync::{mpsc, oneshot, watch};

use super::committer::{Committer, Op, forget_old};
use super::slab::{Place, Slabs};
use super::writer::Writer;
use super::{rows, schema};
use crate::disk::{Disk, RealDisk};
use crate::error::{OpenError, StoreError};
use crate::store::{
    Body, Committed, Entry, EntryState, Filter, Index, Locator, NewEntry, PayloadWriter, Payloads, QueueCount,
    QueueName, Seen, Settlement,
};

/// Operations that may wait for the committer; further callers wait for a place.
const OPS_MAX: usize = 1024;
/// Entries in one claim.
const CLAIM_MAX: usize = 256;

/// How a spool behaves.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Bytes of a slab. Default 64 MiB; 64 KiB at least.
    pub slab_len: u64,
    /// Bytes of the file system that are never used. Default 256 MiB.
    pub reserve: u64,
    /// The payload files' I/O.
    pub disk: Arc<dyn Disk>,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            slab_len: 64 << 20,
            reserve: 256 << 20,
            disk: Arc::new(RealDisk),
        }
    }
}

/// What a spool has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolStats {
    /// Commits of the index.
    pub commits: u64,
    /// Entries committed.
    pub entries: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) commits: AtomicU64,
    pub(super) entries: AtomicU64,
}

type Counts = HashMap<(QueueName, EntryState), (u64, u64)>;

/// What the committer, the writers and the callers share.
pub(super) struct Shared {
    pub(super) epoch: Epoch,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: SpoolConfig,
    folder: PathBuf,
    pub(super) slabs: Slabs,
    pub(super) poisoned: AtomicBool,
    pub(super) full: AtomicBool,
    pub(super) stats: Counters,
    pub(super) wake: watch::Sender<u64>,
    counts: Mutex<Counts>,
    leases: Mutex<HashMap<DeliveryId, WallTime>>,
    /// Payloads that have a writer now: one each.
    writing: Mutex<HashSet<PayloadId>>,
    /// `None` once the spool is closed: the committer ends when it has done what waits.
    ops: Mutex<Option<mpsc::Sender<Op>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("folder", &self.folder)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, HashMap<DeliveryId, WallTime>> {
        lock(&self.leases)
    }

    pub(super) fn writing(&self) -> MutexGuard<'_, HashSet<PayloadId>> {
        lock(&self.writing)
    }

    pub(super) fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
        // Those who watch learn of it without asking.
        self.wake.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What a failed write means: no room, or out of order.
    pub(super) fn write_error(&self, error: io::Error) -> StoreError {
        if error.kind() == io::ErrorKind::StorageFull {
            return StoreError::Full {
                free: 0,
                reserve: self.config.reserve,
            };
        }
        self.poison();
        StoreError::Write(error)
    }

    /// Whether something more may be taken.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::SeqCst) {
            return Err(StoreError::Poisoned);
        }
        let free = self.config.disk.free(&self.folder).map_err(StoreError::Read)?;
        let reserve = self.config.reserve;
        if free < reserve {
            Err(StoreError::Full { free, reserve })
        } else {
            Ok(())
        }
    }
}

/// Asks the committer and waits for its answer.
pub(super) async fn ask<T>(
    shared: &Shared,
    op: impl FnOnce(oneshot::Sender<Result<T, StoreError>>) -> Op,
) -> Result<T, StoreError> {
    let (reply, answer) = oneshot::channel();
    let ops = lock(&shared.ops).clone().ok_or(StoreError::Closed)?;
    ops.send(op(reply)).await.map_err(|_| StoreError::Closed)?;
    drop(ops);
    match answer.await {
        Ok(answer) => answer,
        Err(_) if shared.full.swap(false, Ordering::SeqCst) => Err(StoreError::Full {
            free: 0,
            reserve: shared.config.reserve,
        }),
        Err(_) => Err(StoreError::Poisoned),
    }
}

/// A spool in a folder: `index.sqlite` and `slab-*`, `payload-*`. One process at a time.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    readers: [Arc<Mutex<Connection>>; 2],
    committer: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

impl Spool {
    /// Opens the spool in `folder`, or makes one. A new epoch begins; leases of the last one are void.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(folder: &Path, config: SpoolConfig, clock: Arc<dyn Clock>) -> Result<(Arc<Self>, Epoch), OpenError> {
        let io_error = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        std::fs::create_dir_all(folder).map_err(io_error(folder))?;
        let lock_path = folder.join("lock");
        let held = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path);
        let held = held.map_err(io_error(&lock_path))?;
        held.try_lock().map_err(|_| OpenError::Locked(folder.to_owned()))?;

        let index_path = folder.join("index.sqlite");
        let index_error = |error| OpenError::Index {
            path: folder.to_owned(),
            error,
        };
        let connection = Connection::open(&index_path).map_err(index_error)?;
        if let schema::Found::Newer(found) = schema::prepare(&connection).map_err(index_error)? {
            return Err(OpenError::Newer {
                path: folder.to_owned(),
                found,
                known: schema::VERSION,
            });
        }
        forget_old(&connection, clock.now()).map_err(index_error)?;
        let epoch = Epoch(schema::next_epoch(&connection).map_err(index_error)?);
        let (used, counts) = (
            used(&connection).map_err(index_error)?,
            count(&connection).map_err(index_error)?,
        );
        let slabs = Slabs::open(folder, config.slab_len, Arc::clone(&config.disk), &used).map_err(io_error(folder))?;
        slabs.prepare().map_err(io_error(folder))?;
        let readers = [
            reader(&index_path).map_err(index_error)?,
            reader(&index_path).map_err(index_error)?,
        ];

        let (ops, waiting) = mpsc::channel(OPS_MAX);
        let shared = Arc::new(Shared {
            epoch,
            clock,
            config,
            folder: folder.to_owned(),
            slabs,
            poisoned: AtomicBool::new(false),
            full: AtomicBool::new(false),
            stats: Counters::default(),
            wake: watch::Sender::new(0),
            counts: Mutex::new(counts),
            leases: Mutex::default(),
            writing: Mutex::default(),
            ops: Mutex::new(Some(ops)),
        });
        let wal = folder.join("index.sqlite-wal");
        let committer = Committer {
            connection,
            shared: Arc::clone(&shared),
            ops: waiting,
            wal,
        };
        let thread = std::thread::Builder::new()
            .name("spool-committer".to_owned())
            .spawn(move || committer.run());
        let thread = thread.map_err(io_error(folder))?;
        let spool = Self {
            shared,
            readers,
            committer: Mutex::new(Some(thread)),
            _lock: held,
        };
        Ok((Arc::new(spool), epoch))
    }

    /// What has been done since it was opened.
    #[must_use]
    pub fn stats(&self) -> SpoolStats {
        let stats = &self.shared.stats;
        SpoolStats {
            commits: stats.commits.load(Ordering::Relaxed),
            entries: stats.entries.load(Ordering::Relaxed),
        }
    }

    /// Whether a write has failed; only opening it again helps.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::SeqCst)
    }

    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection, &Shared) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let [first, second] = &self.readers;
        let reader = if first.try_lock().is_ok() {
            Arc::clone(first)
        } else {
            Arc::clone(second)
        };
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || query(&lock(&reader), &shared)).await;
        done.map_err(|_| StoreError::Closed)?.map_err(StoreError::Index)
    }
}

impl Drop for Spool {
    /// Waits for the committer's last commit, so that the folder can be opened again at once.
    fn drop(&mut self) {
        drop(lock(&self.shared.ops).take());
        if let Some(thread) = lock(&self.committer).take() {
            drop(thread.join());
        }
    }
}

fn reader(path: &Path) -> rusqlite::Result<Arc<Mutex<Connection>>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags).map(|connection| Arc::new(Mutex::new(connection)))
}

/// The places that rows point to.
fn used(connection: &Connection) -> rusqlite::Result<Vec<Place>> {
    let sql = "SELECT locator FROM entry WHERE locator IS NOT NULL UNION ALL SELECT locator FROM partial";
    let mut statement = connection.prepare(sql)?;
    let locators = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    locators
        .map(|bytes| Ok(Place::from_locator(&Locator(bytes?.into()))))
        .filter_map(Result::transpose)
        .collect()
}

fn count(connection: &Connection) -> rusqlite::Result<Counts> {
    let sql = "SELECT queue, state, count(*), sum(length) FROM entry GROUP BY queue, state";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let (queue, code): (String, u8) = (row.get(0)?, row.get(1)?);
        let (entries, bytes): (i64, i64) = (row.get(2)?, row.get(3)?);
        let state = EntryState::ALL.into_iter().find(|state| state.code() == code);
        let key = QueueName::try_from(queue.as_str()).ok().zip(state);
        Ok(key.map(|key| (key, (entries.cast_unsigned(), bytes.cast_unsigned()))))
    })?;
    rows.filter_map(Result::transpose).collect()
}

/// Reads due entries in one state, passing over leased ones, and leases them.
fn claim_state(
    db: &Connection,
    queue: &QueueName,
    state: EntryState,
    now: WallTime,
    max: usize,
    leases: &HashMap<DeliveryId, WallTime>,
) -> rusqlite::Result<Vec<Entry>> {
    let sql = format!(
        "SELECT {} FROM entry WHERE queue = ? AND state = ? AND due <= ? ORDER BY priority, due, n",
        rows::COLUMNS
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut rows = statement.query(params![queue.as_str(), state.code(), now.unix_micros()])?;
    let mut claimed = Vec::new();
    while claimed.len() < max
        && let Some(row) = rows.next()?
    {
        let delivery = DeliveryId::from_bytes(row.get(0)?);
        if leases.get(&delivery).is_none_or(|until| *until <= now) {
            claimed.push(rows::entry(row)?.1);
        }
    }
    Ok(claimed)
}

#[async_trait]
impl Index for Spool {
    async fn commit(
        &self,
        epoch: Epoch,
        entries: Vec<NewEntry>,
        facts: Vec<Bytes>,
    ) -> Result<Vec<Committed>, StoreError> {
        if !entries.is_empty() {
            self.shared.check_room()?;
        }
        ask(&self.shared, |reply| Op::Commit {
            epoch,
            entries,
            facts,
            reply,
        })
        .await
    }

    async fn claim(
        &self,
        epoch: Epoch,
        queue: &QueueName,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Entry>, StoreError> {
        if epoch != self.shared.epoch {
            return Err(StoreError::Stale);
        }
        let (queue, max) = (queue.clone(), max.min(CLAIM_MAX));
        self.query(move |db, shared| {
            let now = shared.clock.now();
            let mut leases = shared.leases();
            let mut claimed = claim_state(db, &queue, EntryState::Ready, now, max, &leases)?;
            let again = claim_state(db, &queue, EntryState::Acked, now, max - claimed.len(), &leases)?;
            claimed.extend(again);
            let until = now.saturating_add(lease);
            leases.extend(claimed.iter().map(|entry| (entry.routing.delivery, until)));
            Ok(claimed)
        })
        .await
    }

    async fn settle(
        &self,
        epoch: Epoch,
        settlements: Vec<(DeliveryId, Settlement)>,
        facts: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        ask(&self.shared, |reply| Op::Settle {
            epoch,
            settlements,
            facts,
            reply,
        })
        .await
    }

    async fn unclaim(&self, epoch: Epoch, deliveries: Vec<DeliveryId>) -> Result<(), StoreError> {
        if epoch != self.shared.epoch {
            return Err(StoreError::Stale);
        }
        {
            let mut leases = self.shared.leases();
            leases.retain(|delivery, _| !deliveries.contains(delivery));
        }
        self.shared.wake.send_modify(|count| *count = count.wrapping_add(1));
        Ok(())
    }

    async fn reopen(&self, epoch: Epoch, deliveries: Vec<DeliveryId>) -> Result<u64, StoreError> {
        ask(&self.shared, |reply| Op::Reopen {
            epoch,
            deliveries,
            reply,
        })
        .await
    }

    async fn seen(&self, deliveries: &[DeliveryId]) -> Result<Vec<Option<Seen>>, StoreError> {
        let deliveries = deliveries.to_vec();
        self.query(move |db, _| {
            let mut present = db.prepare_cached("SELECT committed_at FROM entry WHERE delivery = ?")?;
            let mut gone = db.prepare_cached("SELECT at FROM seen WHERE delivery = ?")?;
            let look = |delivery: &DeliveryId| {
                let id = [delivery.as_bytes()];
                let time = |row: &rusqlite::Row<'_>| row.get(0).map(WallTime::from_unix_micros);
                Ok(match present.query_row(id, time).optional()? {
                    Some(at) => Some(Seen::Present(at)),
                    None => gone.query_row(id, time).optional()?.map(Seen::Gone),
                })
            };
            deliveries.iter().map(look).collect()
        })
        .await
    }

    async fn entry(&self, delivery: DeliveryId) -> Result<Option<Entry>, StoreError> {
        self.query(move |db, _| rows::find(db, delivery)).await
    }

    async fn page(&self, cursor: u64, filter: Filter, max: usize) -> Result<Vec<(u64, Entry)>, StoreError> {
        self.query(move |db, _| {
            let sql = format!(
                "SELECT {} FROM entry WHERE n > ?1 AND (?2 IS NULL OR queue = ?2) AND (?3 IS NULL OR state = ?3)
                 ORDER BY n LIMIT ?4",
                rows::COLUMNS
            );
            let queue = filter.queue.as_ref().map(QueueName::as_str);
            let state = filter.state.map(EntryState::code);
            let mut statement = db.prepare_cached(&sql)?;
            let limit = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = statement.query_map(params![cursor.cast_signed(), queue, state, limit], rows::entry)?;
            rows.collect()
        })
        .await
    }

    fn counts(&self) -> Vec<QueueCount> {
        let counts = self.shared.counts();
        let some = counts.iter().filter(|(_, (entries, _))| *entries > 0);
        let count = |((queue, state), (entries, bytes)): (&(QueueName, EntryState), &(u64, u64))| QueueCount {
            queue: queue.clone(),
            state: *state,
            entries: *entries,
            bytes: *bytes,
        };
        let mut all: Vec<_> = some.map(count).collect();
        all.sort_by(|a, b| (&a.queue, a.state).cmp(&(&b.queue, b.state)));
        all
    }

    async fn facts_after(&self, after: u64, max: usize) -> Result<Vec<(u64, Bytes)>, StoreError> {
        self.query(move |db, _| {
            let mut statement = db.prepare_cached("SELECT seq, bytes FROM fact WHERE seq > ? ORDER BY seq LIMIT ?")?;
            let limit = i64::try_from(max).unwrap_or(i64::MAX);
            let rows = statement.query_map([after.cast_signed(), limit], |row| {
                Ok((
                    row.get::<_, i64>(0)?.cast_unsigned(),
                    Bytes::from(row.get::<_, Vec<u8>>(1)?),
                ))
            })?;
            rows.collect()
        })
        .await
    }

    async fn trim_facts(&self, epoch: Epoch, through: u64) -> Result<(), StoreError> {
        ask(&self.shared, |reply| Op::Trim { epoch, through, reply }).await
    }

    fn wakeups(&self) -> watch::Receiver<u64> {
        self.shared.wake.subscribe()
    }
}

fn partial(db: &Connection, payload: PayloadId) -> rusqlite::Result<Option<(Place, SegmentSet)>> {
    let mut statement = db.prepare_cached("SELECT locator, segments FROM partial WHERE payload = ?")?;
    let row = statement.query_row([payload.as_bytes()], |row| {
        let (locator, segments): (Vec<u8>, Vec<u8>) = (row.get(0)?, row.get(1)?);
        Ok(Place::from_locator(&Locator(locator.into())).zip(SegmentSet::from_bytes(&segments).ok()))
    });
    row.optional().map(Option::flatten)
}

#[async_trait]
impl Payloads for Spool {
    async fn begin(&self, payload: PayloadId, length: Option<u64>) -> Result<Box<dyn PayloadWriter>, StoreError> {
        self.shared.check_room()?;
        if !self.shared.writing().insert(payload) {
            return Err(StoreError::NotFound("this payload is being written already"));
        }
        let begun = self.begin_alone(payload, length).await;
        if begun.is_err() {
            self.shared.writing().remove(&payload);
        }
        begun
    }

    async fn have(&self, payload: PayloadId) -> Result<SegmentSet, StoreError> {
        let found = self.query(move |db, _| partial(db, payload)).await?;
        Ok(found.map(|(_, segments)| segments).unwrap_or_default())
    }

    async fn read(&self, body: &Body, range: Range<u64>) -> Result<Bytes, StoreError> {
        const BEHIND: StoreError = StoreError::NotFound("a range behind the payload's end");
        let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(|_| BEHIND)?;
        match body {
            Body::Inline(bytes) => {
                let start = usize::try_from(range.start).map_err(|_| BEHIND)?;
                let end = start
                    .checked_add(length)
                    .filter(|end| *end <= bytes.len())
                    .ok_or(BEHIND)?;
                Ok(bytes.slice(start..end))
            }
            Body::Stored(locator) => {
                let place = Place::from_locator(locator).ok_or(StoreError::NotFound("an unknown locator"))?;
                if range.end > place.length() {
                    return Err(BEHIND);
                }
                let shared = Arc::clone(&self.shared);
                let read = tokio::task::spawn_blocking(move || shared.slabs.read(place, range.start, length)).await;
                read.map_err(|_| StoreError::Closed)?
                    .map(Bytes::from)
                    .map_err(StoreError::Read)
            }
        }
    }
}

impl Spool {
    async fn begin_alone(&self, payload: PayloadId, length: Option<u64>) -> Result<Box<dyn PayloadWriter>, StoreError> {
        if let Some(length) = length
            && let Some((place, segments)) = self.query(move |db, _| partial(db, payload)).await?
            && place.length() == length
        {
            return Ok(Box::new(Writer::resume(&self.shared, payload, place, segments)?));
        }
        Ok(Box::new(Writer::begin(&self.shared, payload, length)?))
    }
}
