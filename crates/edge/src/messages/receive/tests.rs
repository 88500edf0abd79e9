use packhorse_ids::{DeliveryId, Digest, WallTime};
use packhorse_ledger::view::DeliveryView;
use packhorse_ledger::{CustodyReceipt, OutcomeReceipt, Receipt, State};
use packhorse_spool::Index as _;

use crate::testing::{Edge, Far, site};

const TO_B: &str = "[[route]]\ncalled_ae_title = \"ROUTE\"\nto = \"b/PACS\"\n\
                    [[route]]\ncalled_ae_title = \"OTHER\"\nto = \"c/PACS\"\n";

fn custody(delivery: DeliveryId) -> Receipt {
    let (sha256, at) = (Digest::from_bytes([1; 32]), WallTime::from_unix_micros(5));
    Receipt::Custody(CustodyReceipt { delivery, sha256, at })
}

fn delivered(delivery: DeliveryId) -> Receipt {
    let (sha256, at) = (Digest::from_bytes([1; 32]), WallTime::from_unix_micros(6));
    Receipt::Outcome(OutcomeReceipt {
        delivery,
        status: Some(0),
        reason: None,
        sha256,
        at,
        converted: None,
    })
}

async fn view(edge: &Edge, delivery: DeliveryId) -> DeliveryView {
    crate::ledger::catch_up(&edge.shared).await.unwrap();
    let asked = edge
        .shared
        .ledger(move |projection| projection.delivery(delivery))
        .await;
    asked.unwrap().unwrap().unwrap()
}

async fn edge_and_delivery_to_b(receipts_of: &Far, name: &str) -> (Edge, DeliveryId) {
    let edge = Edge::new("a", TO_B);
    let delivery = edge.spool_outgoing("b").await;
    edge.shared.directory.learn(&site(name), receipts_of.entry()).unwrap();
    (edge, delivery)
}

#[tokio::test]
async fn receipts_of_another_site_free_no_copy_and_close_no_account() {
    let c = Far::new("c");
    let (edge, delivery) = edge_and_delivery_to_b(&c, "c").await;
    let batch = c.receipts(vec![custody(delivery), delivered(delivery)]);
    edge.spool_message("c", &batch).await;
    edge.receive().await;
    assert!(edge.shared.spool.entry(delivery).await.unwrap().is_some());
    let view = view(&edge, delivery).await;
    assert_eq!((view.state, view.custody_by), (State::InFlight, None));
}

#[tokio::test]
async fn an_outcome_of_another_site_changes_nothing_when_the_copy_is_free() {
    let (b, c) = (Far::new("b"), Far::new("c"));
    let (edge, delivery) = edge_and_delivery_to_b(&c, "c").await;
    edge.shared.directory.learn(&site("b"), b.entry()).unwrap();
    edge.spool_message("b", &b.receipts(vec![custody(delivery)])).await;
    edge.spool_message("c", &c.receipts(vec![delivered(delivery)])).await;
    edge.receive().await;
    assert!(edge.shared.spool.entry(delivery).await.unwrap().is_none());
    assert_eq!(view(&edge, delivery).await.state, State::InFlight);
}

#[tokio::test]
async fn the_destinations_receipts_free_the_copy_and_close_the_account() {
    let b = Far::new("b");
    let (edge, delivery) = edge_and_delivery_to_b(&b, "b").await;
    edge.spool_message("b", &b.receipts(vec![custody(delivery)])).await;
    edge.spool_message("b", &b.receipts(vec![delivered(delivery)])).await;
    edge.receive().await;
    assert!(edge.shared.spool.entry(delivery).await.unwrap().is_none());
    let view = view(&edge, delivery).await;
    assert_eq!((view.state, view.custody_by.as_deref()), (State::Delivered, Some("b")));
}

#[tokio::test]
async fn only_sites_that_routes_lead_to_get_into_the_directory() {
    let edge = Edge::new("a", TO_B);
    for name in ["b", "stranger"] {
        edge.spool_message(name, &Far::new(name).announcement()).await;
    }
    edge.receive().await;
    assert!(edge.shared.directory.site(&site("b")).is_some());
    assert!(edge.shared.directory.site(&site("stranger")).is_none());
}
