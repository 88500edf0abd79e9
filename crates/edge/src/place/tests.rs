use std::sync::Arc;

use packhorse_ledger::{Receipt, State};
use packhorse_spool::{Index as _, NewEntry, Payloads as _};

use super::*;
use crate::messages::Message;
use crate::messages::receipts::Receipts;
use crate::shared::LINK_QUEUE;
use crate::testing::{Edge, envelope, parcel, site};

fn place_of(edge: &Edge) -> EdgePlace {
    EdgePlace {
        shared: Arc::clone(&edge.shared),
    }
}

#[tokio::test]
async fn an_envelope_that_cannot_be_opened_is_in_custody_on_the_failed_list_and_its_site_is_told() {
    let edge = Edge::new("b", "");
    let (routing, body) = envelope(&site("a"), &edge.shared.site, Kind::Delivery, b"no command, no syntax");
    let placed = place_of(&edge)
        .place(&routing, &body, &*edge.shared.store())
        .await
        .unwrap();
    let delivery = routing.delivery;
    let entry = NewEntry {
        routing,
        queue: placed.queue,
        body,
        custody: placed.custody,
        state: placed.state,
    };
    edge.shared
        .spool
        .commit(edge.shared.epoch, vec![entry], placed.facts)
        .await
        .unwrap();
    let mut receipts = Receipts::default();
    receipts.keep_up(&edge.shared).await.unwrap();
    receipts.send(&edge.shared).await.unwrap();
    let sent = edge.sent().await;
    let [(_, Message::Receipts { batch, .. })] = sent.as_slice() else {
        panic!("one batch: {sent:?}")
    };
    let [Receipt::Custody(_), Receipt::Outcome(outcome)] = batch.receipts.as_slice() else {
        panic!("custody and outcome: {batch:?}")
    };
    assert!(
        outcome.status.is_none()
            && outcome
                .reason
                .as_ref()
                .is_some_and(|reason| reason.contains(STRAY_HELP))
    );
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let failed = edge
        .shared
        .ledger(|projection| projection.failed(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(failed.len(), 1);
    assert_eq!((failed[0].state, failed[0].source.as_str()), (State::Failed, "a"));
    assert_eq!(failed[0].delivery, delivery.to_string());
}

#[tokio::test]
async fn an_envelope_whose_bytes_cannot_be_read_now_is_to_come_again() {
    let edge = Edge::new("b", "");
    let (routing, body) = parcel(&site("a"), &edge.shared.site, "PACS_B");
    let Body::Inline(bytes) = body else { panic!("small") };
    let mut writer = edge.shared.spool.begin(routing.payload, None).await.unwrap();
    writer.append(bytes).await.unwrap();
    let body = Body::Stored(writer.finish().await.unwrap());
    // The slab's file is cut short under it.
    let slabs = std::fs::read_dir(edge.folder.path().join("spool")).unwrap();
    for slab in slabs.map(|file| file.unwrap().path()) {
        if slab.file_name().unwrap().to_string_lossy().starts_with("slab-") {
            std::fs::OpenOptions::new()
                .write(true)
                .open(slab)
                .unwrap()
                .set_len(0)
                .unwrap();
        }
    }
    let placed = place_of(&edge).place(&routing, &body, &*edge.shared.store()).await;
    assert!(matches!(placed, Err(CustodianError::Later(_))), "{placed:?}");
}

#[tokio::test]
async fn a_refused_message_is_remembered_as_a_site_that_the_relay_does_not_know() {
    let edge = Edge::new("a", "");
    let asked = edge
        .shared
        .send_message(&site("nowhere"), &Message::Ask)
        .await
        .unwrap()
        .unwrap();
    let mut entries = edge
        .shared
        .spool
        .claim(edge.shared.epoch, &queue(LINK_QUEUE), 1, REMEMBERED)
        .await
        .unwrap();
    let entry = entries.remove(0);
    assert_eq!(entry.routing.delivery, asked);
    let text = "no site nowhere has joined this relay".to_owned();
    let code = REFUSED_UNKNOWN_SITE;
    place_of(&edge).refused(
        &entry,
        &Refusal {
            code,
            text: text.clone(),
        },
    );
    assert_eq!(edge.shared.unknown_sites.said_of(&site("nowhere")), Some(text));
}
