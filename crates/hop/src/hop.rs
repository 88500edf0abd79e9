//! The custodian of a link, over a spool.

use std::error::Error;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{
    Clock, DeliveryId, Epoch, Kind, PayloadId, Priority, Routing, SEGMENT_LEN, WallTime, segment_count, segment_len,
};
use packhorse_spool::{Entry, NewEntry, QueueName, Seen, Settlement, Store, StoreError, backoff, stopping};
use packhorse_transport::{Acked, Custodian, CustodianError, OfferAnswer, Refusal};

use crate::incoming::{Incoming, Whole};
use crate::outgoing::{Outgoing, Reading};
use crate::place::Place;
use crate::slots::Slots;

/// A lease outlives any link that still answers; the link gives it back when it ends.
const LEASE: Duration = Duration::from_secs(600);
/// The index is asked at least so often, whether or not it woke us: a wake-up is a hint.
const POLL: Duration = Duration::from_secs(1);
/// After a store error that may pass, before it is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(200);
/// A delivery that cannot be read so often is given up; that takes nine minutes.
const READ_TRIES: u32 = 10;
/// The pause after the first of these tries; each is twice as long as the one before.
const READ_AGAIN_MIN: Duration = Duration::from_secs(1);
/// The longest of them.
const READ_AGAIN_MAX: Duration = Duration::from_secs(300);
/// Code of a refusal that is our own, for the place's facts: it never goes over the wire.
const UNREADABLE: u16 = 0;

/// How a hop behaves.
#[derive(Clone, Debug)]
pub struct HopConfig {
    /// The queue whose entries go out over this link.
    pub queue: QueueName,
    /// An entry that was acknowledged and not released is offered again after this time. Default 1 h: longer than the
    /// relay remembers what it has forwarded (30 min), so that a relay that lost its disk is healed.
    pub custody_again: Duration,
}

impl HopConfig {
    /// The defaults, for this queue.
    #[must_use]
    pub const fn new(queue: QueueName) -> Self {
        Self {
            queue,
            custody_again: Duration::from_secs(3600),
        }
    }
}

/// A spool behind a link. Lives across the link's reconnections, so that payloads go on where they were.
pub struct Hop {
    store: Arc<dyn Store>,
    epoch: Epoch,
    clock: Arc<dyn Clock>,
    place: Arc<dyn Place>,
    config: HopConfig,
    outgoing: Arc<Outgoing>,
    incoming: Slots,
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop")
            .field("queue", &self.config.queue)
            .finish_non_exhaustive()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a store error means for one delivery on a link.
fn custodian_error(error: StoreError) -> CustodianError {
    match error {
        StoreError::Full { .. } | StoreError::Busy(_) | StoreError::NotFound(_) | StoreError::Read(_) => {
            CustodianError::Later(error.to_string())
        }
        StoreError::Poisoned | StoreError::Stale | StoreError::Closed | StoreError::Write(_) | StoreError::Index(_) => {
            CustodianError::Failed(error.to_string())
        }
    }
}

/// An error and its causes.
fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (*cause).source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// What becomes of an entry that goes on no more. A message is for nobody to look after: whoever sent it makes a new one
/// when it still matters.
fn given_up(kind: Kind, note: String) -> Settlement {
    match kind {
        Kind::Delivery => Settlement::Failed { note },
        Kind::Message => Settlement::Discarded,
    }
}

/// Where a segment is in its payload.
fn segment_range(length: u64, segment: u32) -> std::ops::Range<u64> {
    let start = u64::from(segment) * u64::from(SEGMENT_LEN);
    start..start + segment_len(length, segment).map_or(0, u64::from)
}

impl Hop {
    /// A hop between `store`, opened with `epoch`, and the links it is given to.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        epoch: Epoch,
        clock: Arc<dyn Clock>,
        place: Arc<dyn Place>,
        config: HopConfig,
    ) -> Self {
        Self {
            store,
            epoch,
            clock,
            place,
            config,
            outgoing: Arc::default(),
            incoming: Slots::default(),
        }
    }

    /// Claims for the link, in a task of its own: dropped while it waits, a claim still lands there and is not lost.
    async fn claim(&self, max: usize, least: Priority) {
        let (store, outgoing) = (Arc::clone(&self.store), Arc::clone(&self.outgoing));
        let (epoch, queue) = (self.epoch, self.config.queue.clone());
        let task = tokio::spawn(async move {
            let claimed = match least {
                Priority::Stat => store.claim_urgent(epoch, &queue, max, LEASE).await,
                Priority::Routine | Priority::Bulk => store.claim(epoch, &queue, max, LEASE).await,
            };
            match claimed {
                Ok(entries) => outgoing.add(entries),
                Err(error) => tracing::warn!(%queue, error = &error as &dyn Error, "cannot claim"),
            }
        });
        if let Err(error) = task.await {
            tracing::error!(%error, "a claim did not end");
        }
    }

    /// Waits until there is something to offer that is no less urgent than `least`.
    async fn offers(&self, max: usize, least: Priority) -> Vec<Routing> {
        let mut wakeups = self.store.wakeups();
        loop {
            wakeups.mark_unchanged();
            let ready = self.outgoing.take(max, least);
            if !ready.is_empty() {
                return ready;
            }
            self.claim(max, least).await;
            let ready = self.outgoing.take(max, least);
            if !ready.is_empty() {
                return ready;
            }
            tokio::select! {
                changed = wakeups.changed() => if changed.is_err() { std::future::pending::<()>().await },
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn settle(&self, settlements: Vec<(DeliveryId, Settlement)>, facts: Vec<Bytes>) -> Result<(), StoreError> {
        stopping::at("before_settle");
        loop {
            match self.store.settle(self.epoch, settlements.clone(), facts.clone()).await {
                Err(StoreError::Full { .. }) => tokio::time::sleep(STORE_PAUSE).await,
                // A poisoned spool settles nothing; the entry is offered again after opening, and found out as a repeat.
                Err(error) => {
                    tracing::error!(error = &error as &dyn Error, "cannot settle");
                    return Err(error);
                }
                Ok(()) => return Ok(()),
            }
        }
    }

    /// A delivery's bytes cannot be read: it waits, and after [`READ_TRIES`] it is given up. Others go on.
    async fn unreadable(&self, delivery: DeliveryId, error: StoreError) -> CustodianError {
        let (is_busy, why) = (matches!(error, StoreError::Busy(_)), chain(&error));
        let later = match custodian_error(error) {
            CustodianError::Later(why) => CustodianError::Later(why),
            other => return other,
        };
        // Its other segments fail as well: the first of them counts.
        let Some(entry) = self.outgoing.remove(delivery) else {
            return later;
        };
        if self.is_gone(delivery).await {
            return later;
        }
        let tries = entry.attempts.saturating_add(1);
        if tries >= READ_TRIES && !is_busy {
            return self
                .give_up(&entry, format!("its bytes cannot be read here: {why}"))
                .await;
        }
        tracing::warn!(%delivery, tries, why, "a delivery cannot be read now");
        // Nobody else tries in step with us: no jitter.
        let wait = backoff(tries, READ_AGAIN_MIN, READ_AGAIN_MAX, 1.0);
        let at = self.clock.now().saturating_add(wait);
        let note = format!("its bytes cannot be read: {why}");
        match self
            .settle(vec![(delivery, Settlement::Retry { at, note })], Vec::new())
            .await
        {
            Ok(()) => later,
            Err(error) => custodian_error(error),
        }
    }

    /// A delivery's bytes are of no use: it does not go on from here.
    async fn give_up(&self, entry: &Entry, note: String) -> CustodianError {
        let delivery = entry.routing.delivery;
        tracing::error!(%delivery, why = note, "a delivery is given up here");
        let refusal = Refusal {
            code: UNREADABLE,
            text: note.clone(),
        };
        let facts = self.place.refused(entry, &refusal);
        let settlement = if self.place.is_only_a_stop() {
            Settlement::Discarded
        } else {
            given_up(entry.routing.kind, note.clone())
        };
        match self.settle(vec![(delivery, settlement)], facts).await {
            Ok(()) => CustodianError::Later(note),
            Err(error) => custodian_error(error),
        }
    }

    /// Whether the bytes are still those that were sealed: asked when the peer has put a delivery off, which it also does
    /// when they are not. One that cannot be read is another matter.
    async fn is_intact(&self, reading: &Reading) -> bool {
        let mut hasher = blake3::Hasher::new();
        for segment in 0..segment_count(reading.length).unwrap_or(0) {
            match self
                .store
                .read(&reading.body, segment_range(reading.length, segment))
                .await
            {
                Ok(bytes) => hasher.update(&bytes),
                Err(_) => return true,
            };
        }
        hasher.finalize().as_bytes() == reading.blake3.as_bytes()
    }

    /// Whether a delivery that is on the link was released or discarded meanwhile.
    async fn is_gone(&self, delivery: DeliveryId) -> bool {
        let seen = self.store.seen(&[delivery]).await;
        seen.is_ok_and(|seen| !matches!(seen.first(), Some(Some(Seen::Present(_)))))
    }

    async fn want(&self, routing: &Routing) -> OfferAnswer {
        let slot = self.incoming.of(routing.payload, now());
        let mut incoming = slot.lock().await;
        if incoming.is_none() {
            match Incoming::begin(routing, &*self.store, now()).await {
                Ok(begun) => *incoming = Some(begun),
                Err(error) => {
                    tracing::warn!(delivery = %routing.delivery, error = &error as &dyn Error, "cannot take now");
                    return OfferAnswer::Later;
                }
            }
        }
        OfferAnswer::Want(incoming.as_ref().map(Incoming::have).unwrap_or_default())
    }

    /// The time since when a delivery is here, if it is, or was not long ago.
    async fn has(&self, routing: &Routing) -> Result<Option<WallTime>, StoreError> {
        let seen = self.store.seen(&[routing.delivery]).await?;
        Ok(match seen.first().copied().flatten() {
            Some(Seen::Present(at)) => Some(at),
            Some(Seen::Gone(at)) if self.clock.now().saturating_since(at) < self.place.remembers() => Some(at),
            Some(Seen::Gone(_)) | None => None,
        })
    }
}

#[async_trait]
impl Custodian for Hop {
    async fn next_offers(&self, max: usize) -> Vec<Routing> {
        self.offers(max, Priority::Bulk).await
    }

    async fn next_urgent_offers(&self, max: usize) -> Vec<Routing> {
        self.offers(max, Priority::Stat).await
    }

    async fn read(&self, delivery: DeliveryId, _payload: PayloadId, segment: u32) -> Result<Bytes, CustodianError> {
        let later = |why: &str| CustodianError::Later(why.to_owned());
        let Some(reading) = self.outgoing.read(delivery, segment) else {
            return Err(later("the delivery is not on this link any more"));
        };
        if reading.is_repeated && self.is_gone(delivery).await {
            self.outgoing.remove(delivery);
            return Err(later("the delivery was released meanwhile"));
        }
        if reading.is_first_repeated
            && !self.is_intact(&reading).await
            && let Some(entry) = self.outgoing.remove(delivery)
        {
            let note = "its bytes here are not those that were sealed".to_owned();
            return Err(self.give_up(&entry, note).await);
        }
        match self
            .store
            .read(&reading.body, segment_range(reading.length, segment))
            .await
        {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(self.unreadable(delivery, error).await),
        }
    }

    async fn acked(&self, acks: Vec<Acked>) {
        let again = self.clock.now().saturating_add(self.config.custody_again);
        let (mut settlements, mut facts) = (Vec::new(), Vec::new());
        for ack in acks {
            if let Some(entry) = self.outgoing.remove(ack.delivery) {
                facts.extend(self.place.acked(&entry, ack.at));
            }
            settlements.push((ack.delivery, Settlement::Acked { again }));
        }
        // What cannot be settled is logged, and offered again.
        self.settle(settlements, facts).await.ok();
    }

    async fn refused(&self, delivery: DeliveryId, why: Refusal) {
        let entry = self.outgoing.remove(delivery);
        tracing::error!(%delivery, code = why.code, why = why.text, "the next hop refuses a delivery for good");
        let kind = entry.as_ref().map_or(Kind::Delivery, |entry| entry.routing.kind);
        let facts = entry.map(|entry| self.place.refused(&entry, &why)).unwrap_or_default();
        let settlement = given_up(kind, why.text);
        // As for what is acknowledged.
        self.settle(vec![(delivery, settlement)], facts).await.ok();
    }

    async fn lost(&self, unacked: Vec<DeliveryId>) {
        for delivery in &unacked {
            self.outgoing.remove(*delivery);
        }
        if let Err(error) = self.store.unclaim(self.epoch, unacked).await {
            tracing::warn!(error = &error as &dyn Error, "leases cannot be given back");
        }
    }

    async fn offered(&self, routing: &Routing) -> OfferAnswer {
        if let Err(why) = self.place.admit(routing) {
            return OfferAnswer::Refuse(why);
        }
        match self.has(routing).await {
            Ok(Some(at)) => {
                self.place.repeated(routing).await;
                OfferAnswer::Have(at)
            }
            Ok(None) => self.want(routing).await,
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "cannot look a delivery up");
                OfferAnswer::Later
            }
        }
    }

    async fn write(&self, routing: &Routing, segment: u32, bytes: Bytes) -> Result<(), CustodianError> {
        let slot = self.incoming.of(routing.payload, now());
        let mut incoming = slot.lock().await;
        let Some(receiving) = incoming.as_mut() else {
            return Err(CustodianError::Later("the payload was forgotten meanwhile".to_owned()));
        };
        receiving.write(segment, bytes, now()).await.map_err(custodian_error)
    }

    async fn finish(&self, routing: &Routing) -> Result<WallTime, CustodianError> {
        let slot = self.incoming.of(routing.payload, now());
        let incoming = slot.lock().await.take();
        self.incoming.done(routing.payload, slot);
        let Some(incoming) = incoming else {
            return Err(CustodianError::Later("the payload was forgotten meanwhile".to_owned()));
        };
        // Another link may have brought it while this one was ending.
        if let Some(at) = self.has(routing).await.map_err(custodian_error)? {
            return Ok(at);
        }
        let body = match incoming.finish(routing).await.map_err(custodian_error)? {
            Whole::Body(body) => body,
            Whole::WrongDigest => {
                tracing::warn!(delivery = %routing.delivery, "the bytes that came are not those that were sealed");
                return Err(CustodianError::Later(
                    "the bytes are not those that were sealed".to_owned(),
                ));
            }
        };
        let placement = self.place.place(routing, &body, &*self.store).await?;
        let entry = NewEntry {
            routing: routing.clone(),
            queue: placement.queue,
            body,
            custody: placement.custody,
            state: placement.state,
        };
        let committed = self.store.commit(self.epoch, vec![entry], placement.facts).await;
        committed.map_err(custodian_error)?;
        self.place.placed(routing);
        // The link acknowledges once this returns; the point is for tests that kill the process near that moment.
        stopping::at("after_ack_sent");
        Ok(self.clock.now())
    }
}
