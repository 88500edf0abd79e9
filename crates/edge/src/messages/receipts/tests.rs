use std::sync::Arc;

use packhorse_ids::{DeliveryId, Kind};
use packhorse_ledger::fact::{Arrived, Failed, OutcomeKnown};
use packhorse_ledger::{Identity, Projection};
use packhorse_spool::{Body, Custody, NewEntry, NewState};

use super::*;
use crate::shared::{draw, fact_bytes, queue};
use crate::testing::{Edge, eventually, parcel, site, title};

fn arrived(delivery: DeliveryId, sha256: Digest) -> Fact {
    Fact::Arrived(Box::new(Arrived {
        delivery,
        from_site: site("a"),
        to_ae_title: title("PACS_B"),
        sop_class: "1.2.840.10008.5.1.4.1.1.2".try_into().unwrap(),
        sop_instance: "1.2.3".try_into().unwrap(),
        study: None,
        series: None,
        modality: None,
        transfer_syntax: "1.2.840.10008.1.2".try_into().unwrap(),
        length: 1,
        sha256,
        declared: None,
        identity: Identity::default(),
        at: WallTime::from_unix_micros(1),
        priority: None,
    }))
}

/// Receipts in the messages that wait for the link.
async fn receipts(edge: &Edge) -> Vec<Vec<Receipt>> {
    let batches = edge.sent().await.into_iter();
    batches
        .filter_map(|(_, message)| match message {
            Message::Receipts { batch, .. } => Some(batch.receipts),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn receipts_that_are_owed_one_after_the_other_go_in_few_messages() {
    let edge = Edge::new("b", "");
    let keeping = tokio::spawn(crate::ledger::keep(Arc::clone(&edge.shared)));
    let begun = Instant::now();
    for _ in 0..150 {
        let fact = fact_bytes(&arrived(draw::delivery(), UNKNOWN_HASH))
            .into_iter()
            .collect();
        edge.shared
            .spool
            .commit(edge.shared.epoch, Vec::new(), fact)
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    eventually("all receipts", async || {
        receipts(&edge).await.iter().map(Vec::len).sum::<usize>() == 150
    })
    .await;
    let took = begun.elapsed();
    let messages = receipts(&edge).await.len();
    // 64 or 200 ms.
    let most = 2 + 150 / SEND_AT + usize::try_from(took.as_millis() / SEND_AFTER.as_millis()).unwrap();
    assert!(messages <= most, "{messages} messages in {took:?}");
    edge.shared.stop.cancel();
    keeping.await.unwrap();
}

#[tokio::test]
async fn a_receipt_waits_no_longer_than_its_time_and_the_last_go_when_the_edge_stops() {
    let edge = Edge::new("b", "");
    let keeping = tokio::spawn(crate::ledger::keep(Arc::clone(&edge.shared)));
    let fact = fact_bytes(&arrived(draw::delivery(), UNKNOWN_HASH))
        .into_iter()
        .collect();
    edge.shared
        .spool
        .commit(edge.shared.epoch, Vec::new(), fact)
        .await
        .unwrap();
    edge.shared.stop.cancel();
    keeping.await.unwrap();
    assert_eq!(receipts(&edge).await.len(), 1);
}

async fn spool(edge: &Edge, state: NewState) -> (DeliveryId, Digest) {
    let (routing, body) = parcel(&site("a"), &edge.shared.site, "PACS_B");
    let Body::Inline(bytes) = &body else { panic!("small") };
    let reader = Reader::open(bytes.clone(), routing.length).await.unwrap();
    let (delivery, sha256) = (routing.delivery, reader.trailer().sha256);
    assert_eq!(routing.kind, Kind::Delivery);
    let entry = NewEntry {
        routing,
        queue: queue("to/PACS_B"),
        body,
        custody: Custody::UntilAcked,
        state,
    };
    edge.shared
        .spool
        .commit(edge.shared.epoch, vec![entry], Vec::new())
        .await
        .unwrap();
    (delivery, sha256)
}

#[tokio::test]
async fn a_custody_receipt_is_given_again_without_the_ledger() {
    let edge = Edge::new("b", "");
    let (delivery, sha256) = spool(&edge, NewState::Ready).await;
    again(&edge.shared, &site("a"), delivery).await;
    let receipts = receipts(&edge).await.concat();
    assert!(
        matches!(&receipts[..], [Receipt::Custody(custody)] if custody.delivery == delivery && custody.sha256 == sha256)
    );
}

#[tokio::test]
async fn another_site_than_the_deliverys_is_given_no_receipts() {
    let edge = Edge::new("b", "");
    let (delivery, _) = spool(&edge, NewState::Ready).await;
    again(&edge.shared, &site("x"), delivery).await;
    assert!(receipts(&edge).await.is_empty());
}

#[tokio::test]
async fn an_outcome_is_owed_by_the_entry_when_the_ledger_is_gone() {
    let edge = Edge::new("b", "");
    let (delivery, sha256) = spool(&edge, NewState::Ready).await;
    edge.shared
        .ledger(|projection: &mut Projection| projection.rebuild())
        .await
        .unwrap()
        .unwrap();
    let failed = Fact::OutcomeKnown(OutcomeKnown {
        delivery,
        status: Some(0xA900),
        reason: None,
        sha256,
        at: WallTime::from_unix_micros(1),
        converted: None,
    });
    let facts = fact_bytes(&failed).into_iter().collect();
    edge.shared
        .spool
        .commit(edge.shared.epoch, Vec::new(), facts)
        .await
        .unwrap();
    let mut owed = Receipts::default();
    owed.keep_up(&edge.shared).await.unwrap();
    owed.send(&edge.shared).await.unwrap();
    let receipts = receipts(&edge).await.concat();
    assert!(matches!(&receipts[..], [Receipt::Outcome(outcome)] if outcome.status == Some(0xA900)));
}

#[tokio::test]
async fn a_delivery_that_is_given_up_unsent_has_an_outcome_and_one_that_came_from_a_pacs_here_has_none() {
    let edge = Edge::new("b", "");
    let (incoming, _) = spool(&edge, NewState::Ready).await;
    let outgoing = edge.spool_outgoing("c").await;
    let failed = |delivery| {
        fact_bytes(&Fact::Failed(Failed {
            delivery,
            reason: "its envelope cannot be opened".to_owned(),
            at: WallTime::from_unix_micros(1),
        }))
    };
    let facts = [incoming, outgoing].into_iter().filter_map(failed).collect();
    edge.shared
        .spool
        .commit(edge.shared.epoch, Vec::new(), facts)
        .await
        .unwrap();
    let mut owed = Receipts::default();
    owed.keep_up(&edge.shared).await.unwrap();
    owed.send(&edge.shared).await.unwrap();
    let receipts = receipts(&edge).await.concat();
    assert!(matches!(&receipts[..], [Receipt::Outcome(outcome)] if outcome.delivery == incoming));
}
