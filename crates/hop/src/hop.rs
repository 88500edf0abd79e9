//! The custodian of a link, over a spool.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use packhorse_ids::{Clock, DeliveryId, Epoch, PayloadId, Routing, SEGMENT_LEN, WallTime, segment_len};
use packhorse_spool::{Entry, NewEntry, QueueName, Seen, Settlement, Store, StoreError, stopping};
use packhorse_transport::{Acked, Custodian, CustodianError, OfferAnswer, Refusal};

use crate::incoming::{Incoming, Whole};
use crate::place::Place;

/// A lease outlives any link that still answers; the link gives it back when it ends.
const LEASE: Duration = Duration::from_secs(600);
/// The index is asked at least so often, whether or not it woke us: a wake-up is a hint.
const POLL: Duration = Duration::from_secs(1);
/// A payload whose link went away is kept in memory so long, in case it goes on.
const INCOMING_KEPT: Duration = Duration::from_secs(600);
/// After a store error that may pass, before it is asked again.
const STORE_PAUSE: Duration = Duration::from_millis(200);

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
    /// What the link has now.
    outgoing: Mutex<HashMap<DeliveryId, Entry>>,
    /// Claimed, and not yet given to the link.
    claimed: Arc<Mutex<VecDeque<Entry>>>,
    incoming: Mutex<HashMap<PayloadId, Arc<tokio::sync::Mutex<Option<Incoming>>>>>,
}

impl fmt::Debug for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hop")
            .field("queue", &self.config.queue)
            .finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn now() -> Instant {
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
        let (outgoing, claimed, incoming) = (Mutex::default(), Arc::default(), Mutex::default());
        Self {
            store,
            epoch,
            clock,
            place,
            config,
            outgoing,
            claimed,
            incoming,
        }
    }

    /// Claims into `claimed`, in a task of its own: dropped while it waits, a claim still lands there and is not lost.
    async fn claim(&self, max: usize) {
        let (store, claimed) = (Arc::clone(&self.store), Arc::clone(&self.claimed));
        let (epoch, queue) = (self.epoch, self.config.queue.clone());
        let task = tokio::spawn(async move {
            match store.claim(epoch, &queue, max, LEASE).await {
                Ok(entries) => lock(&claimed).extend(entries),
                Err(error) => tracing::warn!(%queue, error = &error as &dyn std::error::Error, "cannot claim"),
            }
        });
        if let Err(error) = task.await {
            tracing::error!(%error, "a claim did not end");
        }
    }

    /// What is claimed and not on the link yet. An entry whose lease ran out while the link still has it is passed over.
    fn take_claimed(&self, max: usize) -> Vec<Routing> {
        let (mut claimed, mut outgoing) = (lock(&self.claimed), lock(&self.outgoing));
        let mut routings = Vec::new();
        while routings.len() < max
            && let Some(entry) = claimed.pop_front()
        {
            let routing = entry.routing.clone();
            if outgoing.insert(routing.delivery, entry).is_none() {
                routings.push(routing);
            }
        }
        routings
    }

    async fn settle(&self, settlements: Vec<(DeliveryId, Settlement)>, facts: Vec<Bytes>) {
        stopping::at("before_settle");
        loop {
            match self.store.settle(self.epoch, settlements.clone(), facts.clone()).await {
                Ok(()) => return,
                Err(StoreError::Full { .. }) => tokio::time::sleep(STORE_PAUSE).await,
                // A poisoned spool settles nothing; the entry is offered again after opening, and found out as a repeat.
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "cannot settle");
                    return;
                }
            }
        }
    }

    fn incoming_of(&self, payload: PayloadId) -> Arc<tokio::sync::Mutex<Option<Incoming>>> {
        Arc::clone(lock(&self.incoming).entry(payload).or_default())
    }

    /// Forgets payloads whose link went away long ago; what was saved of them is still in the spool.
    fn forget_old_incoming(&self) {
        let now = now();
        lock(&self.incoming).retain(|_, slot| {
            slot.try_lock().map_or(true, |incoming| {
                incoming
                    .as_ref()
                    .is_some_and(|incoming| now.duration_since(incoming.touched) < INCOMING_KEPT)
            })
        });
    }

    async fn want(&self, routing: &Routing) -> OfferAnswer {
        self.forget_old_incoming();
        let slot = self.incoming_of(routing.payload);
        let mut incoming = slot.lock().await;
        if incoming.is_none() {
            match Incoming::begin(routing, &*self.store, now()).await {
                Ok(begun) => *incoming = Some(begun),
                Err(error) => {
                    tracing::warn!(delivery = %routing.delivery, error = &error as &dyn std::error::Error, "cannot take now");
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
        let mut wakeups = self.store.wakeups();
        loop {
            wakeups.mark_unchanged();
            let ready = self.take_claimed(max);
            if !ready.is_empty() {
                return ready;
            }
            self.claim(max).await;
            let ready = self.take_claimed(max);
            if !ready.is_empty() {
                return ready;
            }
            tokio::select! {
                changed = wakeups.changed() => if changed.is_err() { std::future::pending::<()>().await },
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    async fn read(&self, delivery: DeliveryId, _payload: PayloadId, segment: u32) -> Result<Bytes, CustodianError> {
        let found = lock(&self.outgoing)
            .get(&delivery)
            .map(|entry| (entry.body.clone(), entry.routing.length));
        let Some((body, length)) = found else {
            return Err(CustodianError::Later(
                "the delivery is not on this link any more".to_owned(),
            ));
        };
        let start = u64::from(segment) * u64::from(SEGMENT_LEN);
        let length = segment_len(length, segment).map_or(0, u64::from);
        self.store
            .read(&body, start..start + length)
            .await
            .map_err(custodian_error)
    }

    async fn acked(&self, acks: Vec<Acked>) {
        let again = self.clock.now().saturating_add(self.config.custody_again);
        let (mut settlements, mut facts) = (Vec::new(), Vec::new());
        {
            let mut outgoing = lock(&self.outgoing);
            for ack in acks {
                if let Some(entry) = outgoing.remove(&ack.delivery) {
                    facts.extend(self.place.acked(&entry, ack.at));
                }
                settlements.push((ack.delivery, Settlement::Acked { again }));
            }
        }
        self.settle(settlements, facts).await;
    }

    async fn refused(&self, delivery: DeliveryId, why: Refusal) {
        let entry = lock(&self.outgoing).remove(&delivery);
        tracing::error!(%delivery, code = why.code, why = why.text, "the next hop refuses a delivery for good");
        let facts = entry.map(|entry| self.place.refused(&entry, &why)).unwrap_or_default();
        self.settle(vec![(delivery, Settlement::Failed { note: why.text })], facts)
            .await;
    }

    async fn lost(&self, unacked: Vec<DeliveryId>) {
        lock(&self.outgoing).retain(|delivery, _| !unacked.contains(delivery));
        if let Err(error) = self.store.unclaim(self.epoch, unacked).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "leases cannot be given back");
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
                tracing::warn!(error = &error as &dyn std::error::Error, "cannot look a delivery up");
                OfferAnswer::Later
            }
        }
    }

    async fn write(&self, routing: &Routing, segment: u32, bytes: Bytes) -> Result<(), CustodianError> {
        let slot = self.incoming_of(routing.payload);
        let mut incoming = slot.lock().await;
        let Some(receiving) = incoming.as_mut() else {
            return Err(CustodianError::Later("the payload was forgotten meanwhile".to_owned()));
        };
        receiving.write(segment, bytes, now()).await.map_err(custodian_error)
    }

    async fn finish(&self, routing: &Routing) -> Result<WallTime, CustodianError> {
        let slot = self.incoming_of(routing.payload);
        let incoming = slot.lock().await.take();
        lock(&self.incoming).remove(&routing.payload);
        let Some(incoming) = incoming else {
            return Err(CustodianError::Later("the payload was forgotten meanwhile".to_owned()));
        };
        let body = match incoming.finish(routing).await.map_err(custodian_error)? {
            Whole::Body(body) => body,
            Whole::WrongDigest => {
                tracing::warn!(delivery = %routing.delivery, "the bytes that came are not those that were sealed");
                return Err(CustodianError::Later(
                    "the bytes are not those that were sealed".to_owned(),
                ));
            }
        };
        let placement = self
            .place
            .place(routing, &body, &*self.store)
            .await
            .map_err(CustodianError::Refused)?;
        let entry = NewEntry {
            routing: routing.clone(),
            queue: placement.queue,
            body,
            custody: placement.custody,
            state: placement.state,
        };
        let committed = self.store.commit(self.epoch, vec![entry], placement.facts).await;
        committed.map_err(custodian_error)?;
        // The link acknowledges once this returns; the point is for tests that kill the process near that moment.
        stopping::at("after_ack_sent");
        Ok(self.clock.now())
    }
}
