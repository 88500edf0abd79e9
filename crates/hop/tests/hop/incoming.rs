//! What a link brings is in the spool, whole, or not at all.

use std::sync::atomic::Ordering;

use crate::common::{Side, carry, is_later, made, now, queue, refusal};
use packhorse_ids::{Kind, SiteName};
use packhorse_spool::{EntryState, Index as _};
use packhorse_transport::{Custodian as _, CustodianError, OfferAnswer};

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn what_is_acknowledged_is_in_the_spool_with_its_facts_and_settled_at_the_other_end() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (Side::open(folders.0.path()), Side::open(folders.1.path()));
    // In a row, in a slab, and in a file of its own.
    for (id, length) in [(1, 100), (2, 100_000), (3, 5 * MIB + 7)] {
        let (routing, bytes) = made(id, length);
        a.send(&routing, &bytes).await;
        assert_eq!(a.hop.next_offers(10).await, std::slice::from_ref(&routing));
        carry(&a, &b, &routing).await.unwrap();
        assert_eq!(b.bytes(&routing).await, bytes);
        assert_eq!(a.entry(&routing).await.unwrap().state, EntryState::Acked);
    }
    assert_eq!(a.facts().await, ["acked"; 3]);
    assert_eq!(b.facts().await, ["arrived"; 3]);
}

#[tokio::test]
async fn a_delivery_that_is_here_is_had_and_the_place_hears_of_it() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (Side::open(folders.0.path()), Side::open(folders.1.path()));
    let (routing, bytes) = made(1, 100);
    a.send(&routing, &bytes).await;
    a.hop.next_offers(10).await;
    carry(&a, &b, &routing).await.unwrap();
    let again = carry(&a, &b, &routing).await.unwrap();
    assert_eq!(again, OfferAnswer::Have(now(&b)));
    assert_eq!(b.place.repeated.load(Ordering::SeqCst), 1);
    assert_eq!(b.facts().await.len(), 1);
}

#[tokio::test]
async fn bytes_with_another_digest_are_forgotten_and_the_right_ones_can_come() {
    let folder = tempfile::tempdir().unwrap();
    let b = Side::open(folder.path());
    for (id, length) in [(1, 100), (2, 10 * MIB)] {
        let (routing, bytes) = made(id, length);
        let (_, wrong) = made(id + 100, length);
        let segments = || 0..u32::try_from(length.div_ceil(MIB)).unwrap();
        b.hop.offered(&routing).await;
        b.write(&routing, &wrong, segments()).await;
        assert!(is_later(&b.hop.finish(&routing).await));
        assert_eq!(b.entry(&routing).await, None);

        let answer = b.hop.offered(&routing).await;
        assert!(
            matches!(&answer, OfferAnswer::Want(have) if have.is_empty()),
            "{answer:?}"
        );
        b.write(&routing, &bytes, segments()).await;
        b.hop.finish(&routing).await.unwrap();
        assert_eq!(b.bytes(&routing).await, bytes);
    }
}

#[tokio::test]
async fn segments_in_any_order_are_whole_and_a_second_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let b = Side::open(folder.path());
    let ((routing, bytes), (_, wrong)) = (made(1, 20 * MIB + 5), made(2, 20 * MIB + 5));
    b.hop.offered(&routing).await;
    b.write(&routing, &bytes, [3, 2, 1]).await;
    b.write(&routing, &wrong, [3, 1]).await;
    b.write(&routing, &bytes, (0..21).rev()).await;
    b.hop.finish(&routing).await.unwrap();
    assert_eq!(b.bytes(&routing).await, bytes);
}

#[tokio::test]
async fn a_payload_goes_on_after_opening_again_and_on_another_link() {
    let folder = tempfile::tempdir().unwrap();
    let (routing, bytes) = made(1, 12 * MIB);
    {
        let b = Side::open(folder.path());
        b.hop.offered(&routing).await;
        b.write(&routing, &bytes, 2..11).await;
        // The link ended; the next one is told what is here, saved or not.
        let answer = b.hop.offered(&routing).await;
        assert!(
            matches!(&answer, OfferAnswer::Want(have) if have.len() == 9),
            "{answer:?}"
        );
    }
    let b = Side::open(folder.path());
    let OfferAnswer::Want(have) = b.hop.offered(&routing).await else {
        panic!("it is not here");
    };
    assert_eq!(have.missing(12).collect::<Vec<_>>(), [0, 1, 10, 11], "eight were saved");
    b.write(&routing, &bytes, have.missing(12)).await;
    b.hop.finish(&routing).await.unwrap();
    assert_eq!(b.bytes(&routing).await, bytes);
}

#[tokio::test]
async fn messages_and_deliveries_go_where_the_place_says() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (Side::open(folders.0.path()), Side::open(folders.1.path()));
    for (id, kind) in [(1, Kind::Delivery), (2, Kind::Message)] {
        let (mut routing, bytes) = made(id, 100);
        routing.kind = kind;
        a.send(&routing, &bytes).await;
        a.hop.next_offers(10).await;
        carry(&a, &b, &routing).await.unwrap();
    }
    let counts = b.spool.counts();
    let counts: Vec<_> = counts.iter().map(|count| (&count.queue, count.entries)).collect();
    assert_eq!(counts, [(&queue("deliveries"), 1), (&queue("messages"), 1)]);
}

#[tokio::test]
async fn what_the_place_refuses_is_not_in_the_spool() {
    let folder = tempfile::tempdir().unwrap();
    let b = Side::open(folder.path());
    let (mut routing, bytes) = made(1, 100_000);
    routing.destination = SiteName::try_from("elsewhere").unwrap();
    assert_eq!(b.hop.offered(&routing).await, OfferAnswer::Refuse(refusal("not here")));

    let (routing, _) = made(1, 100_000);
    *b.place.refuses.lock().unwrap() = Some(refusal("no such queue"));
    b.hop.offered(&routing).await;
    b.write(&routing, &bytes, [0]).await;
    let refused = b.hop.finish(&routing).await;
    assert_eq!(refused, Err(CustodianError::Refused(refusal("no such queue"))));
    assert_eq!(b.spool.counts(), []);
    assert_eq!(b.facts().await.len(), 0);
}

#[tokio::test]
async fn segments_and_ends_of_what_was_not_offered_are_put_off() {
    let folder = tempfile::tempdir().unwrap();
    let b = Side::open(folder.path());
    let (routing, bytes) = made(1, 100);
    assert!(is_later(&b.hop.write(&routing, 0, bytes).await));
    assert!(is_later(&b.hop.finish(&routing).await));
}

/// One thread: a hash that blocked it would be done at once.
#[tokio::test]
async fn hashing_what_came_before_its_turn_does_not_hold_up_the_runtime() {
    let folder = tempfile::tempdir().unwrap();
    let b = Side::open(folder.path());
    let ((routing, _), (_, wrong)) = (made(1, 7 * MIB), made(2, 7 * MIB));
    b.hop.offered(&routing).await;
    b.write(&routing, &wrong, (0..7).rev()).await;
    let mut finish = b.hop.finish(&routing);
    tokio::select! {
        biased;
        _ = &mut finish => panic!("it did all in one go"),
        () = std::future::ready(()) => {}
    }
    assert!(is_later(&finish.await));
}
