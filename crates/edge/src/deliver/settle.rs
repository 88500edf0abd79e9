//! What becomes of an instance, written down.

use std::time::Duration;

use packhorse_daemon::exit::chain;
use packhorse_dicom::status::Status;
use packhorse_ids::{DeliveryId, Digest, WallTime};
use packhorse_ledger::fact::{DeliveryAttempted, Fact, Failed, OutcomeKnown};
use packhorse_spool::{self as spool, Entry, Index as _, Settlement, stopping};
use serde_json::{Map, Value};

use super::parcel::Parcel;
use super::verdict::{Reason, Tries};
use crate::config::Destination;
use crate::notices::{Notice, NoticeKind};
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
pub(super) async fn later(
    shared: &Shared,
    to: &Destination,
    entry: &Entry,
    reason: Reason,
    parcel: Option<&Parcel>,
) -> bool {
    let times = &shared.config.delivery;
    let tries = Tries {
        most: times.tries,
        pause: times.try_again,
    };
    let Some(pause) = tries.next(entry.attempts + 1) else {
        let why = format!("{} (after {} tries)", reason.why, entry.attempts + 1);
        failed(shared, to, entry, Reason { why, ..reason }, parcel).await;
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

/// On the failed list, until somebody looks.
pub(super) async fn failed(shared: &Shared, to: &Destination, entry: &Entry, reason: Reason, parcel: Option<&Parcel>) {
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
    let note = why.clone();
    commit(shared, delivery, Settlement::Failed { note }, &[fact]).await;
    let study = match parcel {
        Some(parcel) => parcel.study_for_people(shared).await,
        None => None,
    };
    let reason = Reason { why, status };
    shared.notify(notice(to, entry, &reason, study.as_deref())).await;
}

/// One for each study, destination and reason, however many instances fail so.
fn notice(to: &Destination, entry: &Entry, reason: &Reason, study: Option<&str>) -> Notice {
    let why = reason.why.as_str();
    // Without what the PACS adds, which may differ for each.
    let alike = match reason.status {
        Some(status) => status.to_string(),
        None => why.split(':').next().unwrap_or(why).to_owned(),
    };
    let (title, source) = (&to.ae_title, &entry.routing.source);
    let of = study.map_or_else(|| "without a study".to_owned(), |study| format!("of study {study}"));
    let mut fields = Map::new();
    for (key, value) in [
        ("destination", Value::from(title.as_str())),
        ("from_site", Value::from(source.as_str())),
        ("study", study.map_or(Value::Null, Value::from)),
        ("delivery", Value::from(entry.routing.delivery.to_string())),
        ("reason", Value::from(why)),
    ] {
        fields.insert(key.to_owned(), value);
    }
    Notice {
        kind: NoticeKind::Failed,
        key: format!("{title} {source} {} {alike}", study.unwrap_or_default()),
        what: format!("{title} does not get an instance {of} from {source}: {why}"),
        remedy: "`edge-gateway failed` lists it with others that fared so; put it right, then `edge-gateway retry`"
            .to_owned(),
        fields,
    }
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

#[cfg(test)]
mod tests {
    use super::super::verdict::Verdict;
    use super::*;
    use crate::testing::{Edge, parcel, site};

    #[tokio::test]
    async fn instances_of_one_study_that_fail_alike_are_one_notice() {
        let edge = Edge::new(
            "b",
            "[[destination]]\nae_title = \"P\"\naddress = \"h:1\"\ncalling_ae_title = \"U\"\n",
        );
        let to = edge.shared.config.destinations[0].clone();
        let entry = || {
            let (routing, body) = parcel(&site("a"), &site("b"), "P");
            Entry {
                routing,
                queue: crate::shared::queue_to(&to.ae_title),
                body,
                custody: packhorse_spool::Custody::UntilAcked,
                state: packhorse_spool::EntryState::Ready,
                attempts: 0,
                due: WallTime::default(),
                committed_at: WallTime::default(),
                note: String::new(),
            }
        };
        let key = |status, study, comment| {
            let status = Verdict::of_status(Status(status), Some(comment));
            let Verdict::Failed(reason) = status else {
                panic!("{status:?}")
            };
            notice(&to, &entry(), &reason, Some(study)).key
        };
        let unanswered = |why: &str| notice(&to, &entry(), &Reason::from(why.to_owned()), None).key;
        assert_eq!(key(0xA900, "1.2", "slice 1"), key(0xA900, "1.2", "slice 2"));
        assert_ne!(key(0xA900, "1.2", ""), key(0x0122, "1.2", ""));
        assert_ne!(key(0xA900, "1.2", ""), key(0xA900, "1.3", ""));
        assert_eq!(unanswered("it drops: one"), unanswered("it drops: another"));
    }
}
