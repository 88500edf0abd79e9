use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use packhorse_association::{AcceptorConfig, Request, accept};
use packhorse_dicom::negotiation::{Proposal, ProposedContext};
use packhorse_dicom::status::Status;
use packhorse_spool::{Custody, NewEntry, NewState};
use tokio::net::TcpListener;

use super::*;
use crate::testing::{Edge, eventually, parcel, site};

/// A PACS that answers every C-STORE with `status`, and counts them.
async fn pacs(listener: TcpListener, status: Status, stores: Arc<AtomicUsize>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let everything = |proposal: &Proposal| proposal.answer_each(ProposedContext::accept_first);
        let mut association = accept(stream, "", &AcceptorConfig::default(), &everything)
            .await
            .unwrap();
        while let Ok(Some(Request::Store(store))) = association.next().await {
            store.respond(status, None).await.unwrap();
            stores.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Since when the destination is down; `None`: it is not.
fn down_since(shared: &Shared) -> Option<packhorse_ids::WallTime> {
    let health = shared.health.lock().unwrap();
    health.values().find_map(|health| match health {
        Health::Down { since, .. } => Some(*since),
        _ => None,
    })
}

/// A700 is an answer, but no sign of health: the time since which it is down stays, and the pauses grow.
#[tokio::test]
async fn a_pacs_that_is_full_is_left_alone_longer_each_time() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let edge = Edge::new(
        "b",
        &format!(
            "[[destination]]\nae_title = \"PACS\"\naddress = \"{address}\"\ncalling_ae_title = \"US\"\n\
             accept_from = [\"a\"]\n[delivery]\nretry_min = \"20ms\"\nretry_max = \"10s\"\n"
        ),
    );
    let stores = Arc::new(AtomicUsize::new(0));
    let serving = tokio::spawn(pacs(listener, Status::OUT_OF_RESOURCES, Arc::clone(&stores)));
    let (routing, body) = parcel(&site("a"), &site("b"), "PACS");
    let destination = edge.shared.config.destinations[0].clone();
    let entry = NewEntry {
        routing,
        queue: queue_to(&destination.ae_title),
        body,
        custody: Custody::UntilReleased,
        state: NewState::Ready,
    };
    edge.shared
        .spool
        .commit(edge.shared.epoch, vec![entry], Vec::new())
        .await
        .unwrap();
    let delivering = tokio::spawn(Deliverer::new(Arc::clone(&edge.shared), destination).run());
    eventually("the first answer", async || down_since(&edge.shared).is_some()).await;
    let since = down_since(&edge.shared);
    let begun = tokio::time::Instant::now();
    eventually("more tries", async || stores.load(Ordering::Relaxed) >= 5).await;
    // At least half of 40, 80, 160 ms, as the pauses are drawn; four of 20 ms would be 80.
    assert!(begun.elapsed() >= Duration::from_millis(120), "{:?}", begun.elapsed());
    assert_eq!(down_since(&edge.shared), since);
    edge.shared.draining.cancel();
    delivering.await.unwrap();
    serving.abort();
}
