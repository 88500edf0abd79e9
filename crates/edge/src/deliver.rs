//! To the target PACS: one task and one association for each destination, so that a dead PACS holds up no other, and
//! instances leave in the order they came.

mod losses;
mod parcel;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use packhorse_association::{AssociationError, RequestedAssociation, RequestorConfig};
use packhorse_daemon::exit::chain;
use packhorse_dicom::negotiation::{ContextAnswer, PresentationContextId, ProposedContext};
use packhorse_dicom::sop_class::{self, VERIFICATION};
use packhorse_dicom::transfer_syntax;
use packhorse_dicom::uid::{AbstractSyntaxUid, TransferSyntaxUid};
use packhorse_ids::{DeliveryId, Digest};
use packhorse_ledger::fact::{DeliveryAttempted, Fact, Failed, OutcomeKnown};
use packhorse_spool::{Entry, Index as _, Settlement, StoreError, backoff, stopping};

use crate::config::Destination;
use crate::shared::{Health, Shared, fact_bytes, queue_to};
use losses::{Blame, Losses};
use parcel::{OpenError, Parcel};
use verdict::{Tries, Trouble, Verdict};

/// Instances claimed at a time; more of them let one association carry more classes, fewer hold up less.
const BATCH: usize = 64;
/// How long claimed instances may be worked on before they could be claimed again.
const LEASE: Duration = Duration::from_secs(3600);
/// The queue is looked at so often when nothing wakes us.
const POLL: Duration = Duration::from_secs(1);
/// Contexts of one association, Verification among them.
const CONTEXTS_MAX: usize = 128;
/// An association that is lost during one instance so often, while others are answered, is that instance's fault.
const LOST_MAX: u32 = 3;
/// An association that was idle for so long may have been closed by the PACS meanwhile.
const IDLE_FOR: Duration = Duration::from_millis(100);

/// After a disk that was full, before it is tried again.
const STORE_PAUSE: Duration = Duration::from_millis(200);

type Pair = (AbstractSyntaxUid, TransferSyntaxUid);

/// An association that is kept for the next instance.
struct Warm {
    association: RequestedAssociation,
    proposed: Vec<Pair>,
    used: tokio::time::Instant,
}

/// One destination's task.
pub(crate) struct Deliverer {
    shared: Arc<Shared>,
    destination: Destination,
    warm: Option<Warm>,
    failures: u32,
    losses: Losses,
}

impl Deliverer {
    pub(crate) fn new(shared: Arc<Shared>, destination: Destination) -> Self {
        Self {
            shared,
            destination,
            warm: None,
            failures: 0,
            losses: Losses::default(),
        }
    }

    /// Delivers until the edge stops.
    pub(crate) async fn run(mut self) {
        let queue = queue_to(&self.destination.ae_title);
        let mut wakeups = self.shared.spool.wakeups();
        let mut idle_since = tokio::time::Instant::now();
        while !self.shared.draining.is_cancelled() {
            wakeups.mark_unchanged();
            match self.shared.spool.claim(self.shared.epoch, &queue, BATCH, LEASE).await {
                Ok(entries) if !entries.is_empty() => {
                    self.deliver(entries).await;
                    idle_since = tokio::time::Instant::now();
                    continue;
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = chain(&error), "instances cannot be claimed"),
            }
            if self.warm.is_some() && idle_since.elapsed() >= self.shared.config.delivery.idle {
                self.release().await;
            }
            let wait = if self.warm.is_some() {
                self.shared.config.delivery.idle.min(POLL)
            } else {
                POLL
            };
            tokio::select! {
                () = self.shared.changed(&mut wakeups, wait) => {}
                () = self.shared.draining.cancelled() => {}
            }
        }
        self.release().await;
    }

    async fn release(&mut self) {
        if let Some(warm) = self.warm.take()
            && let Err(error) = warm.association.release().await
        {
            tracing::debug!(destination = %self.destination.ae_title, error = chain(&error), "not released in order");
        }
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
            let needed: Vec<Pair> = std::iter::once(parcel.pair())
                .chain(waiting.as_slice().iter().map(Parcel::pair))
                .collect();
            let verdict = self.deliver_one(&parcel, &needed).await;
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

    async fn deliver_one(&mut self, parcel: &Parcel, needed: &[Pair]) -> Verdict {
        let was_idle = self.warm.as_ref().is_some_and(|warm| warm.used.elapsed() >= IDLE_FOR);
        match self.try_one(parcel, needed).await {
            // Closed by the PACS while nobody used it: nothing to do with this instance.
            Attempt::Lost(_) if was_idle => match self.try_one(parcel, needed).await {
                Attempt::Came(verdict) => verdict,
                Attempt::Lost(error) => self.lost(parcel, &error),
            },
            Attempt::Lost(error) => self.lost(parcel, &error),
            Attempt::Came(verdict) => verdict,
        }
    }

    async fn try_one(&mut self, parcel: &Parcel, needed: &[Pair]) -> Attempt {
        let mut warm = match self.association(&parcel.pair(), needed).await {
            Ok(warm) => warm,
            Err(why) => return Attempt::Came(Verdict::Destination(why)),
        };
        let (class, syntax) = parcel.pair();
        let context = match context_for(&warm, &class, &syntax) {
            Ok(context) => context,
            Err(verdict) => {
                // The association is good for others.
                self.warm = Some(warm);
                self.answered();
                return Attempt::Came(verdict);
            }
        };
        let sent = warm
            .association
            .store(context, &parcel.command, parcel.data(&self.shared))
            .await;
        match sent {
            Ok(response) => {
                warm.used = tokio::time::Instant::now();
                self.warm = Some(warm);
                self.answered();
                let comment = response.error_comment.as_deref();
                Attempt::Came(Verdict::of_status(response.status, comment))
            }
            // The envelope is damaged, or the spool cannot be read: nothing of it has passed for the whole.
            Err(AssociationError::Source(error)) => Attempt::Came(Verdict::of_source(&*error)),
            Err(error @ AssociationError::TimedOut { .. }) => {
                self.losses.suspect(parcel.entry.routing.delivery);
                Attempt::Came(Verdict::Destination(Trouble::Passing(chain(&error))))
            }
            Err(error) => Attempt::Lost(error),
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

    fn answered(&mut self) {
        self.losses.answered();
        self.good();
    }

    /// The warm association if it can carry `pair`, else a new one for what is needed now.
    async fn association(&mut self, pair: &Pair, needed: &[Pair]) -> Result<Warm, Trouble> {
        match self.warm.take() {
            Some(warm) if warm.proposed.contains(pair) => return Ok(warm),
            Some(warm) => {
                if let Err(error) = warm.association.release().await {
                    tracing::debug!(error = chain(&error), "not released in order");
                }
            }
            None => {}
        }
        let mut proposed: Vec<Pair> = Vec::new();
        for pair in needed {
            if !proposed.contains(pair) && proposed.len() + 1 < CONTEXTS_MAX {
                proposed.push(pair.clone());
            }
        }
        let (calling, called) = (
            self.destination.calling_ae_title.clone(),
            self.destination.ae_title.clone(),
        );
        let mut config = RequestorConfig::new(calling, called);
        config.dimse = self.shared.config.delivery.answer;
        let asked = RequestedAssociation::request(&self.destination.address, &config, contexts(&proposed)).await;
        let association =
            asked.map_err(|error| Trouble::of_request(&error, self.destination.calling_ae_title.as_str()))?;
        let takes_some = association
            .contexts()
            .iter()
            .any(|context| matches!(context.answer, ContextAnswer::Accepted(_)));
        if !takes_some {
            let results: Vec<_> = association
                .contexts()
                .iter()
                .map(|context| format!("{:?}", context.answer))
                .collect();
            let first = results.first().cloned().unwrap_or_default();
            if let Err(error) = association.release().await {
                tracing::debug!(error = chain(&error), "not released in order");
            }
            let why = format!(
                "called with our title \"{}\", it accepts no presentation context, not even Verification: {first}",
                self.destination.calling_ae_title
            );
            return Err(Trouble::Lasting(why));
        }
        let used = tokio::time::Instant::now();
        Ok(Warm {
            association,
            proposed,
            used,
        })
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
                Err(error) if matches!(error, StoreError::Full { .. }) && !self.shared.stop.is_cancelled() => {
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
        self.warm = None;
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

/// What became of one attempt.
enum Attempt {
    Came(Verdict),
    /// The association was lost before an answer came.
    Lost(AssociationError),
}

/// The accepted context for an instance, or what its refusal means.
fn context_for(
    warm: &Warm,
    class: &AbstractSyntaxUid,
    syntax: &TransferSyntaxUid,
) -> Result<PresentationContextId, Verdict> {
    if let Some(context) = warm.association.accepted(class, syntax) {
        return Ok(context);
    }
    let refused = warm.association.contexts().iter().find(|context| {
        context.proposed.abstract_syntax == *class && context.proposed.transfer_syntaxes.contains(syntax)
    });
    let (class, syntax) = (
        sop_class::name_of(class.as_str()),
        transfer_syntax::name_of(syntax.as_str()),
    );
    match refused.map(|context| &context.answer) {
        Some(ContextAnswer::Rejected(result)) => Err(Verdict::of_refused_context(class, syntax, *result)),
        _ => Err(Verdict::Again(format!("{class} with {syntax} was not proposed"))),
    }
}

/// One context for each pair, behind one for Verification: it tells a PACS that refuses everything from one that refuses
/// these classes.
fn contexts(pairs: &[Pair]) -> Vec<ProposedContext> {
    let uid = |text: &str| AbstractSyntaxUid::try_from(text).expect("a UID of the standard");
    let native = TransferSyntaxUid::try_from(transfer_syntax::IMPLICIT_VR_LE).expect("a UID of the standard");
    let verification = (uid(VERIFICATION), native);
    let all = std::iter::once(&verification).chain(pairs).enumerate();
    all.filter_map(|(index, (class, syntax))| {
        let id = PresentationContextId::nth(index)?;
        Some(ProposedContext {
            id,
            abstract_syntax: class.clone(),
            transfer_syntaxes: vec![syntax.clone()],
        })
    })
    .collect()
}
