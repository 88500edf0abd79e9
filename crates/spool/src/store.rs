//! What a store is: an index of entries and facts, and payloads. Fit for SQLite and slabs here, for a database server and
//! an object store elsewhere: asynchronous, in batches, without transactions or connections in sight. Ids come from the
//! caller, lease time from the store. Every mutation carries the owner's epoch, is refused when it is stale, and is
//! idempotent.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{DeliveryId, Epoch, Kind, PayloadId, Routing, SegmentSet, Sequence, WallTime};
use tokio::sync::watch;

use crate::embedded::{Hold, Pin};
use crate::error::StoreError;

/// Sealed bytes up to 32 KiB stand in the entry's row; more in a slab. At 128 KiB a row's p99 was 10 to 28 ms.
pub const INLINE_LEN_MAX: usize = 32 * 1024;

/// Name of a queue, chosen by its owner: 1 to 64 bytes of printable ASCII. Never a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueName(Box<str>);

/// A text that is no queue name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a queue name has 1 to 64 printable characters")]
pub struct InvalidQueueName;

impl QueueName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for QueueName {
    type Error = InvalidQueueName;

    fn try_from(text: &str) -> Result<Self, InvalidQueueName> {
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if matches!(text.len(), 1..=64) && printable {
            Ok(Self(text.into()))
        } else {
            Err(InvalidQueueName)
        }
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where stored bytes are: at most 64 bytes that only the store can read. A writer's locator is committed once; dropped
/// before, with all its copies, the bytes' space is free again. A claimed entry's locator keeps its bytes readable, also when
/// the entry is released meanwhile; its space is used again when the last copy is dropped.
#[derive(Clone, Debug)]
pub struct Locator {
    pub(crate) bytes: Box<[u8]>,
    /// `None` for a locator that was read from the index.
    pub(crate) hold: Option<Arc<Hold>>,
    /// Only for a locator of a claimed entry.
    pub(crate) pin: Option<Arc<Pin>>,
}

impl Locator {
    pub(crate) fn new(bytes: impl Into<Box<[u8]>>) -> Self {
        Self {
            bytes: bytes.into(),
            hold: None,
            pin: None,
        }
    }
}

impl PartialEq for Locator {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Locator {}

impl Hash for Locator {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

/// An entry's sealed bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// At most [`INLINE_LEN_MAX`] bytes, in the entry itself.
    Inline(Bytes),
    /// In the payload store.
    Stored(Locator),
}

/// Whose word ends our custody of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Custody {
    /// The next hop's acknowledgement.
    UntilAcked,
    /// A release that comes later ([`Settlement::Released`]): acknowledged entries stay, with their bytes.
    UntilReleased,
}

/// The state an entry begins in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NewState {
    /// To be claimed.
    Ready,
    /// Not before somebody reopens it.
    Held {
        /// Why: the entry's first note. At most 512 bytes.
        note: String,
    },
}

/// An entry to commit.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// What it is. Sequence 0: the next one of (source, destination, kind, priority) is given.
    pub routing: Routing,
    /// Where it waits.
    pub queue: QueueName,
    /// Its bytes.
    pub body: Body,
    /// Whose word ends our custody.
    pub custody: Custody,
    /// Its first state.
    pub state: NewState,
}

/// What a commit made of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Which.
    pub delivery: DeliveryId,
    /// Its place among (source, destination, kind, priority).
    pub sequence: Sequence,
    /// It was there already: nothing was changed, and the bytes offered with it are free.
    pub is_duplicate: bool,
}

/// The state of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryState {
    /// To be claimed when due; leased ones too.
    Ready,
    /// The next hop has it; release is awaited.
    Acked,
    /// Waits for somebody.
    Held,
    /// Given up; waits for somebody.
    Failed,
    /// Done with. Its bytes are still here, and may go at any time.
    Kept,
}

impl EntryState {
    pub(crate) const ALL: [Self; 5] = [Self::Ready, Self::Acked, Self::Held, Self::Failed, Self::Kept];

    /// The number in a spool's folder.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ready => 0,
            Self::Acked => 1,
            Self::Held => 2,
            Self::Failed => 3,
            Self::Kept => 4,
        }
    }
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub routing: Routing,
    /// Where it waits.
    pub queue: QueueName,
    /// Its bytes.
    pub body: Body,
    /// Whose word ends our custody.
    pub custody: Custody,
    /// Its state.
    pub state: EntryState,
    /// Tries that failed.
    pub attempts: u32,
    /// Not before this time.
    pub due: WallTime,
    /// When it was committed.
    pub committed_at: WallTime,
    /// Why it was retried, held or given up last. At most 512 bytes.
    pub note: String,
}

/// What became of a claimed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The next hop has it. `UntilAcked` entries are gone with their bytes; `UntilReleased` ones wait, and can be claimed
    /// again at `again` if nobody has released them until then.
    Acked {
        /// When to offer it once more.
        again: WallTime,
    },
    /// Our custody has ended: gone, with its bytes.
    Released,
    /// Once more, not before `at`; counts as a failed try.
    Retry {
        /// Not before.
        at: WallTime,
        /// Why.
        note: String,
    },
    /// Until somebody reopens it.
    Held {
        /// Why.
        note: String,
    },
    /// Given up, until somebody reopens it.
    Failed {
        /// Why.
        note: String,
    },
    /// Gone, by somebody's decision, which a fact records.
    Discarded,
    /// As [`Released`](Self::Released), but the bytes stay to be reopened, as long as
    /// [`SpoolConfig`](crate::SpoolConfig) keeps them and nothing new needs their room. A kept entry is never claimed, and
    /// of what is settled of it later only its end counts.
    Kept,
    /// Not before `at`, without a try being counted. A time that has passed brings it forward.
    Postponed {
        /// Not before.
        at: WallTime,
    },
}

/// What is remembered of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is here, committed at this time.
    Present(WallTime),
    /// It was here; it went at this time.
    Gone(WallTime),
}

/// How many entries of one kind in a queue are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueCount {
    /// The queue.
    pub queue: QueueName,
    /// Their kind.
    pub kind: Kind,
    /// The state.
    pub state: EntryState,
    /// Entries.
    pub entries: u64,
    /// Their sealed bytes.
    pub bytes: u64,
}

/// Which entries a page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this queue only.
    pub queue: Option<QueueName>,
    /// In this state only.
    pub state: Option<EntryState>,
}

/// The index: entries, facts, leases.
#[async_trait]
pub trait Index: Send + Sync {
    /// Entries and facts, all or nothing, durable when it returns. A stored body must come from a writer of this opening
    /// and be committed for the first time, or the entry be here already.
    async fn commit(
        &self,
        epoch: Epoch,
        entries: Vec<NewEntry>,
        facts: Vec<Bytes>,
    ) -> Result<Vec<Committed>, StoreError>;

    /// At most `max` (256) entries that are due and not leased, leased from now for `lease`: by priority, ready ones before
    /// those acknowledged long ago, time due, and order of commit. FIFO across studies is not promised.
    /// Their bytes can be read as long as the entries are kept, also when they are released meanwhile.
    async fn claim(
        &self,
        epoch: Epoch,
        queue: &QueueName,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Entry>, StoreError>;

    /// As [`claim`](Self::claim), but only what is [`Stat`](packhorse_ids::Priority::Stat).
    async fn claim_urgent(
        &self,
        epoch: Epoch,
        queue: &QueueName,
        max: usize,
        lease: Duration,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Settles entries and records facts, all or nothing. An id that is not here is passed over.
    async fn settle(
        &self,
        epoch: Epoch,
        settlements: Vec<(DeliveryId, Settlement)>,
        facts: Vec<Bytes>,
    ) -> Result<(), StoreError>;

    /// Gives leases back, without a try being counted.
    async fn unclaim(&self, epoch: Epoch, deliveries: Vec<DeliveryId>) -> Result<(), StoreError>;

    /// Leases these entries, whatever their state, so that nobody else works on them meanwhile; settling, reopening or
    /// [`unclaim`](Self::unclaim) gives the leases back. What is not here, or is somebody else's now, is left out.
    async fn lease(&self, epoch: Epoch, deliveries: Vec<DeliveryId>, lease: Duration)
    -> Result<Vec<Entry>, StoreError>;

    /// Makes entries ready again that are held, failed, acknowledged or kept, or that wait for their next try, with no tries
    /// counted, and records facts, all or nothing. Gives how many there were.
    async fn reopen(&self, epoch: Epoch, deliveries: Vec<DeliveryId>, facts: Vec<Bytes>) -> Result<u64, StoreError>;

    /// What is remembered of these ids, in their order.
    async fn seen(&self, deliveries: &[DeliveryId]) -> Result<Vec<Option<Seen>>, StoreError>;

    /// One entry.
    async fn entry(&self, delivery: DeliveryId) -> Result<Option<Entry>, StoreError>;

    /// Entries by order of commit behind `cursor` (0 at first), each with its cursor.
    async fn page(&self, cursor: u64, filter: Filter, max: usize) -> Result<Vec<(u64, Entry)>, StoreError>;

    /// Kept, not counted.
    fn counts(&self) -> Vec<QueueCount>;

    /// Facts numbered above `after`, in order, at most `max`.
    async fn facts_after(&self, after: u64, max: usize) -> Result<Vec<(u64, Bytes)>, StoreError>;

    /// Forgets facts up to and with `through`.
    async fn trim_facts(&self, epoch: Epoch, through: u64) -> Result<(), StoreError>;

    /// Changes whenever something was committed or settled: a hint, polling is the truth.
    fn wakeups(&self) -> watch::Receiver<u64>;
}

/// Payload bytes on their way into the store. Dropped without [`finish`](Self::finish), its space is free again, but for
/// segments of a resumable payload that are durable.
#[async_trait]
pub trait PayloadWriter: Send + fmt::Debug {
    /// The next bytes, for a payload that comes in order.
    async fn append(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// One segment of a payload of known length, in any order.
    async fn write_segment(&mut self, segment: u32, bytes: Bytes) -> Result<(), StoreError>;

    /// The segments that have been written.
    fn written(&self) -> SegmentSet;

    /// Makes durable what has been written of a payload of known length, and remembers it across restarts for 7 days.
    /// Gives the durable segments.
    async fn save(&mut self) -> Result<SegmentSet, StoreError>;

    /// Bytes that have been written.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// Forgets the payload, durable segments too: its bytes were not what they should be.
    async fn discard(self: Box<Self>) -> Result<(), StoreError>;

    /// The whole payload's locator, for the commit, which makes it durable.
    async fn finish(self: Box<Self>) -> Result<Locator, StoreError>;
}

/// Payload bytes.
#[async_trait]
pub trait Payloads: Send + Sync {
    /// Begins a payload, or goes on with one that has durable segments. `length` is `None` for a payload that comes in
    /// order and says its length at the end.
    async fn begin(&self, payload: PayloadId, length: Option<u64>) -> Result<Box<dyn PayloadWriter>, StoreError>;

    /// The durable segments of a payload that has begun and is not finished.
    async fn have(&self, payload: PayloadId) -> Result<SegmentSet, StoreError>;

    /// Bytes `range` of a body; the range must be within it.
    async fn read(&self, body: &Body, range: Range<u64>) -> Result<Bytes, StoreError>;
}

/// A whole store.
pub trait Store: Index + Payloads + fmt::Debug {}

impl<T: Index + Payloads + fmt::Debug> Store for T {}
