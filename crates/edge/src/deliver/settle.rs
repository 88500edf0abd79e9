//! What becomes of an instance, written down.

use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_dicom::status::Status;
use packhorse_ids::{DeliveryId, Digest, WallTime};
use packhorse_ledger::fact::{DeliveryAttempted, Fact, Failed, OutcomeKnown};
use packhorse_spool::{self as spool, Entry, Index as _, Settlement, stopping};

use super::parcel::Parcel;
use super::verdict::{Reason, Tries};
use crate::shared::{Shared, fact_bytes};

/// After a disk that was full, before it is tried again.
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// The destination has answered success or a warning: our custody ends. It is kept for a while, to be sent again.
pub(super) async fn delivered(shared: &Shared, parcel: &Parcel, status: Status, comment: Option<&str>) {
    let delivery = parcel.delivery();
    let outcome = Fact::OutcomeKnown(OutcomeKnown {
        delivery,
        status: Some(status.0),
        reason: comment.filter(|_| status != Status::SUCCESS).map(str::to_owned),
        sha256: parcel.trailer.sha256,
        at: shared.clock.now(),
        converted: parcel.converted(),
    });
    stopping::at("before_settle");
    commit(shared, delivery, Settlement::Kept, &[outcome]).await;
    if status == Status::SUCCESS {
        tracing::debug!(%delivery, %status, "delivered");
    } else {
        tracing::info!(%delivery, %status, meaning = status.meaning(), "delivered with warning");
    }
}

/// Once more after a while; after the last try the failed list. Whether it is tried again.
pub(super) async fn later(shared: &Shared, entry: &Entry, reason: Reason, parcel: Option<&Parcel>) -> bool {
    let times = &shared.config.delivery;
    let tries = Tries {
        most: times.tries,
        pause: times.try_again,
    };
    let Some(pause) = tries.next(entry.attempts + 1) else {
        let why = format!("{} (after {} tries)", reason.why, entry.attempts + 1);
        failed(shared, entry, Reason { why, ..reason }, parcel).await;
        return false;
    };
    let Reason { why, status } = reason;
    let (now, delivery) = (shared.clock.now(), entry.routing.delivery);
    let at = now.saturating_add(pause);
    let attempted = Fact::DeliveryAttempted(DeliveryAttempted {
        delivery,
        status: status.map(|status| status.0),
        reason: why.clone(),
        retry_at: Some(at),
        at: now,
    });
    tracing::warn!(%delivery, why, "not delivered; it is tried again");
    commit(shared, delivery, Settlement::Retry { at, note: why }, &[attempted]).await;
    true
}

/// On the failed list, until somebody looks. Whoever is to be told hears of it by the look at the ledger, once it has
/// gathered and without what the PACS added.
pub(super) async fn failed(shared: &Shared, entry: &Entry, reason: Reason, parcel: Option<&Parcel>) {
    let delivery = entry.routing.delivery;
    let Reason { why, status } = reason;
    tracing::error!(%delivery, why, "not delivered; it is on the failed list");
    let at = shared.clock.now();
    let sha256 = match parcel {
        Some(parcel) => Some(parcel.trailer.sha256),
        None => digest_in_ledger(shared, delivery).await,
    };
    // The outcome is known: the far ledger hears of it too.
    let reason = why.clone();
    let fact = match sha256 {
        Some(sha256) => Fact::OutcomeKnown(OutcomeKnown {
            delivery,
            status: status.map(|status| status.0),
            reason: Some(reason),
            sha256,
            at,
            converted: parcel.and_then(Parcel::converted),
        }),
        None => Fact::Failed(Failed { delivery, reason, at }),
    };
    let note = why;
    commit(shared, delivery, Settlement::Failed { note }, &[fact]).await;
}

async fn digest_in_ledger(shared: &Shared, delivery: DeliveryId) -> Option<Digest> {
    let view = shared.ledger(move |projection| projection.delivery(delivery)).await;
    view?.ok()??.sha256.parse().ok()
}

/// Writes down what became of a delivery. What is not written down is sent again, so a full disk is waited for.
async fn commit(shared: &Shared, delivery: DeliveryId, settlement: Settlement, facts: &[Fact]) {
    let facts: Vec<_> = facts.iter().filter_map(fact_bytes).collect();
    loop {
        let settlements = vec![(delivery, settlement.clone())];
        match shared.spool.settle(shared.epoch, settlements, facts.clone()).await {
            Ok(()) => return,
            Err(error) if matches!(error, spool::StoreError::Full { .. }) && !shared.stop.is_cancelled() => {
                tokio::time::sleep(STORE_PAUSE).await;
            }
            Err(error) => {
                return tracing::error!(%delivery, error = chain(&error), "an outcome is not written down; it may be sent again");
            }
        }
    }
}

/// Puts entries off until `at`, without a try being counted; a time that has passed brings them forward.
pub(super) async fn postpone(shared: &Shared, deliveries: Vec<DeliveryId>, at: WallTime) {
    if deliveries.is_empty() {
        return;
    }
    let postponed = |delivery| (delivery, Settlement::Postponed { at });
    let settlements = deliveries.iter().copied().map(postponed).collect();
    if let Err(error) = shared.spool.settle(shared.epoch, settlements, Vec::new()).await {
        tracing::warn!(error = chain(&error), "instances cannot be put off");
        give_back(shared, deliveries).await;
    }
}

/// Gives entries back, without a try being counted.
pub(super) async fn give_back(shared: &Shared, deliveries: Vec<DeliveryId>) {
    if deliveries.is_empty() {
        return;
    }
    if let Err(error) = shared.spool.unclaim(shared.epoch, deliveries).await {
        tracing::warn!(error = chain(&error), "instances cannot be given back");
    }
}
