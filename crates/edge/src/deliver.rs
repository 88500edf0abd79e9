//! To the target PACS: one task and one association for each destination, so that a dead PACS holds up no other, and
//! instances leave in the order they came.

mod losses;
mod parcel;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use packhorse_association::driver::tls::{Certificate, PeerTls};
use packhorse_association::{AssociationError, InstanceContext, RequestorConfig, StorageScu, StoreError};
use packhorse_daemon::exit::chain;
use packhorse_ids::{DeliveryId, Digest};
use packhorse_ledger::fact::{DeliveryAttempted, Fact, Failed, OutcomeKnown};
use packhorse_spool::{self as spool, Entry, Index as _, Settlement, backoff, stopping};
use rustls::pki_types::UnixTime;

use crate::config::Destination;
use crate::pacs::DeliveryTurn;
use crate::shared::{Health, Shared, fact_bytes, queue_to};
use losses::{Blame, Losses};
use parcel::{OpenError, Parcel};
use verdict::Tries;
pub(crate) use verdict::{Trouble, Verdict};

/// Instances claimed at a time; more of them let one association carry more classes, fewer hold up less.
const BATCH: usize = 64;
/// How long claimed instances may be worked on before they could be claimed again.
const LEASE: Duration = Duration::from_secs(3600);
/// The queue is looked at so often when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// An association that is lost during one instance so often, while others are answered, is that instance's fault.
const LOST_MAX: u32 = 3;
/// After a disk that was full, before it is tried again.
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// One destination's task.
pub(crate) struct Deliverer {
    shared: Arc<Shared>,
    destination: Destination,
    scu: StorageScu,
    /// Held while the association is open: nothing else calls this PACS then.
    turn: Option<DeliveryTurn>,
    /// Associations of it that were told of.
    opened: u64,
    failures: u32,
    losses: Losses,
}

impl Deliverer {
    pub(crate) fn new(shared: Arc<Shared>, destination: Destination) -> Self {
        let config = requestor_config(&shared, &destination);
        let scu = StorageScu::new(destination.address.clone(), config);
        Self {
            scu: match &destination.tls {
                Some(tls) => scu.over_tls(tls.clone()),
                None => scu,
            },
            turn: None,
            opened: 0,
            shared,
            destination,
            failures: 0,
            losses: Losses::default(),
        }
    }

    /// Delivers until the edge stops.
    pub(crate) async fn run(mut self) {
        let queue = queue_to(&self.destination.ae_title);
        let mut wakeups = self.shared.spool.wakeups_of(&queue);
        while !self.shared.draining.is_cancelled() {
            wakeups.mark_unchanged();
            match self.shared.spool.claim(self.shared.epoch, &queue, BATCH, LEASE).await {
                Ok(entries) if !entries.is_empty() => {
                    if let (None, Some(pacs)) = (&self.turn, self.shared.pacs.get(&self.destination.ae_title)) {
                        self.turn = Some(pacs.delivery_turn().await);
                    }
                    self.deliver(entries).await;
                    continue;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = chain(&error), "instances cannot be claimed"),
            }
            let keep = self.shared.config.delivery.idle;
            if self.scu.idle().is_some_and(|idle| idle >= keep) {
                self.scu.release().await;
            }
            let wait = if self.scu.idle().is_some() {
                keep.min(POLL)
            } else {
                self.turn = None;
                POLL
            };
            tokio::select! {
                () = self.shared.changed(&mut wakeups, wait) => {}
                () = self.shared.draining.cancelled() => {}
            }
        }
        self.scu.release().await;
    }

    /// Works on claimed entries in the order in which they were received at their source. On trouble with the destination
    /// the rest goes back, uncounted.
    async fn deliver(&mut self, mut entries: Vec<Entry>) {
        entries.sort_by(|a, b| {
            let key = |entry: &Entry| {
                let routing = &entry.routing;
                let is_suspect = self.losses.is_suspect(routing.delivery);
                (is_suspect, routing.priority, routing.source.clone(), routing.sequence)
            };
            key(a).cmp(&key(b))
        });
        let mut waiting = self.open(entries).await.into_iter();
        let mut trouble = None;
        while let Some(parcel) = waiting.next() {
            if self.shared.draining.is_cancelled() {
                self.give_back(std::iter::once(parcel).chain(waiting)).await;
                return;
            }
            let ahead = waiting.as_slice().iter();
            let ahead: Vec<_> = ahead.map(|parcel| parcel.context().clone()).collect();
            let verdict = self.deliver_one(&parcel, &ahead).await;
            if let Verdict::Destination(why) = verdict {
                trouble = Some(why);
                self.give_back(std::iter::once(parcel).chain(waiting)).await;
                break;
            }
            self.settle(&parcel, verdict).await;
        }
        if let Some(why) = trouble {
            self.pause(why).await;
        }
    }

    async fn open(&mut self, entries: Vec<Entry>) -> Vec<Parcel> {
        let mut parcels = Vec::with_capacity(entries.len());
        for entry in entries {
            match Parcel::open(&self.shared, &entry).await {
                Ok(parcel) => parcels.push(parcel),
                Err(OpenError::Unreadable(why)) => {
                    let why = format!("its bytes cannot be read: {why}");
                    self.settle_later(&entry, why, None).await;
                }
                Err(OpenError::Malformed(why)) => {
                    let why = format!("its envelope cannot be opened: {why}");
                    self.settle_failed(&entry, why, None).await;
                }
            }
        }
        parcels
    }

    async fn deliver_one(&mut self, parcel: &Parcel, ahead: &[InstanceContext]) -> Verdict {
        let shared = Arc::clone(&self.shared);
        let data = || parcel.data(&shared);
        let stored = self.scu.store(parcel.context(), ahead, &parcel.command, data).await;
        if self.opened != self.scu.opened() {
            self.opened = self.scu.opened();
            self.scu
                .tls()
                .into_iter()
                .for_each(|tls| tell_tls(&self.destination, tls));
        }
        match stored {
            Ok(response) => {
                self.shared
                    .pacs
                    .get(&self.destination.ae_title)
                    .into_iter()
                    .for_each(|pacs| pacs.answered());
                self.losses.answered();
                let verdict = Verdict::of_status(response.status, response.error_comment.as_deref());
                // An answer that it takes nothing now is no sign of health.
                if !matches!(verdict, Verdict::Destination(_)) {
                    self.good();
                }
                verdict
            }
            Err(error @ StoreError::ContextRefused { .. }) => {
                self.losses.answered();
                self.good();
                Verdict::Failed(error.to_string())
            }
            Err(StoreError::NoAssociation { error, .. }) => {
                let calling = self.destination.calling_ae_title.as_str();
                Verdict::Destination(Trouble::of_request(&error, calling))
            }
            Err(error @ StoreError::NothingAccepted { .. }) => {
                Verdict::Destination(Trouble::Lasting(error.to_string()))
            }
            // The envelope is damaged, or the spool cannot be read: nothing of it has passed for the whole.
            Err(StoreError::Interrupted(AssociationError::Source(error))) => Verdict::of_source(&*error),
            Err(StoreError::Interrupted(error @ AssociationError::TimedOut { .. })) => {
                self.losses.suspect(parcel.entry.routing.delivery);
                Verdict::Destination(Trouble::Passing(chain(&error)))
            }
            Err(StoreError::Interrupted(error)) => self.lost(parcel, &error),
        }
    }

    /// The association was lost while an instance was under way: three times while others are answered is its own fault;
    /// with different ones in a row it is the destination's.
    fn lost(&mut self, parcel: &Parcel, error: &AssociationError) -> Verdict {
        let said = chain(error);
        match self.losses.lost(parcel.entry.routing.delivery) {
            Blame::Destination => {
                let why = format!("it drops one association after the other: {said}");
                Verdict::Destination(Trouble::Passing(why))
            }
            Blame::Instance(times) if times >= LOST_MAX => {
                Verdict::Failed(format!("the PACS drops the association on it ({times} times): {said}"))
            }
            Blame::Instance(_) => Verdict::Again(format!("the association was lost: {said}")),
        }
    }

    async fn settle(&mut self, parcel: &Parcel, verdict: Verdict) {
        let now = self.shared.clock.now();
        let delivery = parcel.entry.routing.delivery;
        match verdict {
            Verdict::Delivered(status) => {
                let outcome = OutcomeKnown {
                    delivery,
                    status: Some(status.0),
                    reason: None,
                    sha256: parcel.trailer.sha256,
                    at: now,
                };
                stopping::at("before_settle");
                self.commit(delivery, Settlement::Released, &[Fact::OutcomeKnown(outcome)])
                    .await;
                self.losses.forget(delivery);
                tracing::debug!(%delivery, %status, "delivered");
            }
            Verdict::Failed(why) => self.settle_failed(&parcel.entry, why, Some(parcel)).await,
            Verdict::Again(why) => self.settle_later(&parcel.entry, why, Some(parcel)).await,
            // The caller has given it back.
            Verdict::Destination(_) => {}
        }
    }

    /// Once more after a while; after the last try the failed list.
    async fn settle_later(&mut self, entry: &Entry, why: String, parcel: Option<&Parcel>) {
        let times = &self.shared.config.delivery;
        let tries = Tries {
            most: times.tries,
            pause: times.try_again,
        };
        let Some(pause) = tries.next(entry.attempts + 1) else {
            let why = format!("{why} (after {} tries)", entry.attempts + 1);
            return self.settle_failed(entry, why, parcel).await;
        };
        let (now, delivery) = (self.shared.clock.now(), entry.routing.delivery);
        let at = now.saturating_add(pause);
        let attempted = DeliveryAttempted {
            delivery,
            status: None,
            reason: why.clone(),
            retry_at: Some(at),
            at: now,
        };
        tracing::warn!(%delivery, why, "not delivered; it is tried again");
        let retry = Settlement::Retry { at, note: why };
        self.commit(delivery, retry, &[Fact::DeliveryAttempted(attempted)])
            .await;
    }

    async fn settle_failed(&mut self, entry: &Entry, why: String, parcel: Option<&Parcel>) {
        let delivery = entry.routing.delivery;
        tracing::error!(%delivery, why, "not delivered; it is on the failed list");
        self.losses.forget(delivery);
        let at = self.shared.clock.now();
        let sha256 = match parcel {
            Some(parcel) => Some(parcel.trailer.sha256),
            None => self.digest_in_ledger(delivery).await,
        };
        let reason = why.clone();
        // The outcome is known: the far ledger hears of it too.
        let fact = match sha256 {
            Some(sha256) => Fact::OutcomeKnown(OutcomeKnown {
                delivery,
                status: None,
                reason: Some(reason),
                sha256,
                at,
            }),
            None => Fact::Failed(Failed { delivery, reason, at }),
        };
        self.commit(delivery, Settlement::Failed { note: why }, &[fact]).await;
    }

    async fn digest_in_ledger(&self, delivery: DeliveryId) -> Option<Digest> {
        let view = self
            .shared
            .ledger(move |projection| projection.delivery(delivery))
            .await;
        view?.ok()??.sha256.parse().ok()
    }

    /// Writes down what became of a delivery. What is not written down is sent again, so a full disk is waited for.
    async fn commit(&self, delivery: DeliveryId, settlement: Settlement, facts: &[Fact]) {
        let facts: Vec<_> = facts.iter().filter_map(fact_bytes).collect();
        loop {
            let settlements = vec![(delivery, settlement.clone())];
            match self
                .shared
                .spool
                .settle(self.shared.epoch, settlements, facts.clone())
                .await
            {
                Ok(()) => return,
                Err(error) if matches!(error, spool::StoreError::Full { .. }) && !self.shared.stop.is_cancelled() => {
                    tokio::time::sleep(STORE_PAUSE).await;
                }
                Err(error) => {
                    return tracing::error!(%delivery, error = chain(&error), "an outcome is not written down; it may be sent again");
                }
            }
        }
    }

    async fn give_back(&self, parcels: impl Iterator<Item = Parcel>) {
        let deliveries = parcels.map(|parcel| parcel.entry.routing.delivery).collect();
        if let Err(error) = self.shared.spool.unclaim(self.shared.epoch, deliveries).await {
            tracing::warn!(error = chain(&error), "instances cannot be given back");
        }
    }

    fn good(&mut self) {
        self.failures = 0;
        let mut health = self
            .shared
            .health
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if !matches!(health.get(&self.destination.ae_title), Some(Health::Good { .. })) {
            health.insert(
                self.destination.ae_title.clone(),
                Health::Good {
                    since: self.shared.clock.now(),
                },
            );
        }
    }

    /// Leaves the destination alone for a while; its instances stay queued.
    async fn pause(&mut self, trouble: Trouble) {
        self.scu.release().await;
        self.turn = None;
        self.failures = self.failures.saturating_add(1);
        let times = &self.shared.config.delivery;
        let now = self.shared.clock.now();
        let (wait, why, is_lasting) = match trouble {
            Trouble::Passing(why) => (
                backoff(self.failures, times.retry_min, times.retry_max, rand::random()),
                why,
                false,
            ),
            Trouble::Lasting(why) => (times.paused_again, why, true),
        };
        let next = now.saturating_add(wait);
        {
            let mut health = self
                .shared
                .health
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let since = match health.get(&self.destination.ae_title) {
                Some(Health::Down { since, .. } | Health::Paused { since, .. }) => *since,
                _ => now,
            };
            let state = if is_lasting {
                tracing::error!(destination = %self.destination.ae_title, why, "destination paused");
                Health::Paused { since, why, next }
            } else {
                tracing::warn!(destination = %self.destination.ae_title, why, ?wait, "destination down");
                Health::Down { since, why, next }
            };
            health.insert(self.destination.ae_title.clone(), state);
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.shared.draining.cancelled() => {}
        }
    }
}

/// What was agreed on; and that a pinned certificate has expired, which is no reason to refuse it.
fn tell_tls(destination: &Destination, tls: &PeerTls) {
    let Some(certificate) = tls.certificate() else { return };
    let (title, fingerprint) = (&destination.ae_title, certificate.fingerprint);
    tracing::info!(destination = %title, %tls, certificate = %fingerprint, "association over TLS");
    if certificate.is_expired(UnixTime::now()) {
        let ended = Certificate::date(certificate.not_after);
        tracing::warn!(destination = %title, ended, "its certificate has expired; it is pinned, so it is taken");
    }
}

/// How a destination is called.
pub(crate) fn requestor_config(shared: &Shared, destination: &Destination) -> RequestorConfig {
    let (calling, called) = (destination.calling_ae_title.clone(), destination.ae_title.clone());
    let mut config = RequestorConfig::new(calling, called);
    config.dimse = shared.config.delivery.answer;
    config
}

#[cfg(test)]
mod tests;
