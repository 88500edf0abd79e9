//! The embedded store itself.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use packhorse_ids::{Clock, Epoch, Kind, WallTime};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, watch};

use super::committer::{self, Committer, forget_old};
use super::log;
use super::place::{FileError, Place};
use super::schema;
use super::shared::{Counts, Parts, Shared, ask, lock};
use super::slab::Slabs;
use super::work::Work;
use crate::disk::{Disk, RealDisk};
use crate::error::{OpenError, StoreError};
use crate::store::{EntryState, Locator, QueueName};

/// Operations that may wait for the committer; further callers wait for a place.
const OPS_MAX: usize = 1024;

/// How a spool behaves.
#[derive(Clone, Debug)]
pub struct SpoolConfig {
    /// Bytes of a slab. Default 64 MiB; 64 KiB at least.
    pub slab_len: u64,
    /// Bytes of the file system that payloads never use. Rows of what has its space already may use half of it, messages
    /// between edges three quarters: they free space. Default 256 MiB.
    pub reserve: u64,
    /// How long [`Settlement::Kept`](crate::Settlement::Kept) keeps an entry. Default 0: not at all.
    pub kept_for: Duration,
    /// Bytes that are kept at most: above it the oldest go. Default `None`: a tenth of what the disk has for the spool when
    /// it is opened.
    pub kept_len: Option<u64>,
    /// The payload files' I/O.
    pub disk: Arc<dyn Disk>,
}

impl Default for SpoolConfig {
    fn default() -> Self {
        Self {
            slab_len: 64 << 20,
            reserve: 256 << 20,
            kept_for: Duration::ZERO,
            kept_len: None,
            disk: Arc::new(RealDisk),
        }
    }
}

/// What a spool has done since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolStats {
    /// Commits of the index.
    pub commits: u64,
    /// Entries committed, repeated ones not counted.
    pub entries: u64,
    /// Checkpoints of the index's write-ahead log.
    pub checkpoints: u64,
    /// Payloads moved out of sparse slabs.
    pub moved: u64,
}

/// The room on a spool's disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Free, the reserve included.
    pub free: u64,
    /// Of the whole file system; `u64::MAX`: not known.
    pub total: u64,
    /// What payloads never use.
    pub reserve: u64,
}

/// A spool in a folder: `index.sqlite` and `slab-*`, `payload-*`. One process at a time.
#[derive(Debug)]
pub struct Spool {
    pub(super) shared: Arc<Shared>,
    readers: [Arc<Mutex<Connection>>; 2],
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl Spool {
    /// Opens the spool in `folder`, or makes one. A new epoch begins; leases of the last one are void.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        folder: &Path,
        mut config: SpoolConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<(Arc<Self>, Epoch), OpenError> {
        make_folder(folder, &*config.disk)?;
        if config.kept_len.is_none() {
            config.kept_len = Some(tenth(folder, &config).map_err(io_error(folder))?);
        }
        let lock = lock_folder(folder)?;
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
        match log::lay_out(&index_path, &config) {
            // It grows, as long as there is room.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            laid_out => laid_out.map_err(io_error(folder))?,
        }
        let used = used(&connection).map_err(index_error)?;
        let slabs = Slabs::open(folder, &config, &used).map_err(io_error(folder))?;
        match slabs.prepare().map_err(FileError::into_io) {
            // What is there can still go out.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            prepared => prepared.map_err(io_error(folder))?,
        }
        let (orders, waiting) = mpsc::channel(OPS_MAX);
        let readers = [
            reader(&index_path).map_err(index_error)?,
            reader(&index_path).map_err(index_error)?,
        ];
        let shared = Arc::new(Shared::new(Parts {
            epoch,
            clock,
            config,
            folder: folder.to_owned(),
            slabs,
            counts: count(&connection).map_err(index_error)?,
            orders,
            lock,
        }));
        *shared.committer() = Some(Committer::new(connection, Arc::clone(&shared)));
        let its = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("spool-committer".to_owned())
            .spawn(move || committer::run(&its, waiting));
        let committer = Mutex::new(Some(thread.map_err(io_error(folder))?));
        let spool = Self {
            shared,
            readers,
            committer,
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
            checkpoints: stats.checkpoints.load(Ordering::Relaxed),
            moved: stats.moved.load(Ordering::Relaxed),
        }
    }

    /// Whether it would take something new now: it is in order, and the reserve of the disk is untouched.
    #[must_use]
    pub fn takes(&self) -> bool {
        let is_there = |free: u64| free.saturating_add(self.shared.kept_len()) >= self.shared.config.reserve;
        match self.shared.check_room() {
            // What is kept would give way.
            Err(StoreError::Full { free, .. }) => is_there(free) && self.shared.kept_len() > 0,
            checked => checked.is_ok(),
        }
    }

    /// Lets go what has been kept long enough; what is above the quota, or in the way of something new, has gone before.
    /// How many entries it was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn give_up_kept(&self) -> Result<u64, StoreError> {
        let kept_for = self.shared.config.kept_for.as_micros();
        let kept_for = i64::try_from(kept_for).unwrap_or(i64::MAX);
        let mut all = 0;
        loop {
            let now = self.shared.clock.now().unix_micros();
            let until = Some(WallTime::from_unix_micros(now.saturating_sub(kept_for)));
            let done = ask(&self.shared, None, Work::GiveUpKept { until, bytes: 0 }).await?;
            if done.given_up == 0 {
                return Ok(all);
            }
            all += done.given_up;
        }
    }

    /// The room on its disk.
    ///
    /// # Errors
    /// What the system said.
    pub fn room(&self) -> io::Result<Room> {
        let config = &self.shared.config;
        Ok(Room {
            free: config.disk.free(&self.shared.folder)?,
            total: config.disk.total(&self.shared.folder)?,
            reserve: config.reserve,
        })
    }

    /// Bytes that can still be taken before the reserve is touched; 0 also when the disk does not tell.
    #[must_use]
    pub fn room_left(&self) -> u64 {
        let free = self.shared.config.disk.free(&self.shared.folder).unwrap_or(0);
        free.saturating_sub(self.shared.config.reserve)
    }

    /// Whether a write has failed; only opening it again helps.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.shared.is_poisoned()
    }

    /// Waits until a write has failed.
    pub async fn poisoned(&self) {
        // The sender lives as long as we do.
        drop(self.shared.poisoned().wait_for(|is_poisoned| *is_poisoned).await);
    }

    /// Changes when `queue` may have something new to claim, or something back. As [`wakeups`](crate::Index::wakeups), and
    /// whoever waits for one queue is not woken by what comes into others.
    #[must_use]
    pub fn wakeups_of(&self, queue: &QueueName) -> watch::Receiver<u64> {
        self.shared.wakeups_of(queue)
    }

    pub(super) async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection, &Arc<Shared>) -> rusqlite::Result<T> + Send + 'static,
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
        self.shared.close();
        if let Some(thread) = lock(&self.committer).take() {
            drop(thread.join());
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = PathBuf::from(path);
    move |error| OpenError::Io { path, error }
}

/// Makes the folder and those above it, durably: an entry is not safer than the name of the folder it is in.
fn make_folder(folder: &Path, disk: &dyn Disk) -> Result<(), OpenError> {
    if folder.is_dir() {
        return Ok(());
    }
    let parent = match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => return Ok(()),
    };
    make_folder(parent, disk)?;
    match std::fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(io_error(folder))?,
    }
    let synced = File::open(parent).and_then(|parent| disk.sync_folder(&parent));
    synced.map_err(io_error(parent))
}

/// A tenth of what the spool has and could have.
fn tenth(folder: &Path, config: &SpoolConfig) -> io::Result<u64> {
    let mut whole = config.disk.free(folder)?;
    for file in std::fs::read_dir(folder)? {
        // One that is removed meanwhile is free space.
        whole += file?.metadata().map_or(0, |file| file.len());
    }
    Ok(whole.saturating_sub(config.reserve) / 10)
}

fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let path = folder.join("lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

fn reader(path: &Path) -> rusqlite::Result<Arc<Mutex<Connection>>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // SQLite opens the write-ahead log at the first question: now, as long as there are descriptors.
    connection.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
    Ok(Arc::new(Mutex::new(connection)))
}

/// The places that rows point to.
fn used(connection: &Connection) -> rusqlite::Result<Vec<Place>> {
    let sql = "SELECT locator FROM entry WHERE locator IS NOT NULL UNION ALL SELECT locator FROM partial";
    let mut statement = connection.prepare(sql)?;
    let locators = statement.query_map([], |row| row.get::<_, Vec<u8>>(0))?;
    locators
        .map(|bytes| Ok(Place::from_locator(&Locator::new(bytes?))))
        .filter_map(Result::transpose)
        .collect()
}

fn count(connection: &Connection) -> rusqlite::Result<Counts> {
    let sql = "SELECT queue, kind, state, count(*), sum(length) FROM entry GROUP BY queue, kind, state";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        let (queue, kind, code): (String, u8, u8) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (entries, bytes): (i64, i64) = (row.get(3)?, row.get(4)?);
        let queue = QueueName::try_from(queue.as_str()).ok();
        let state = EntryState::ALL.into_iter().find(|state| state.code() == code);
        let counted = queue.zip(Kind::from_code(kind)).zip(state);
        let counts = (entries.cast_unsigned(), bytes.cast_unsigned());
        Ok(counted.map(|((queue, kind), state)| ((queue, kind, state), counts)))
    })?;
    rows.filter_map(Result::transpose).collect()
}
