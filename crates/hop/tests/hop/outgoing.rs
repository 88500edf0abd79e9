//! What goes out over a link is given back or settled, whatever happens to it.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::common::{LINK, Side, carry, is_later, made, now, part, queue, refusal};
use packhorse_ids::{Kind, Priority};
use packhorse_spool::{EntryState, Index as _, Settlement};
use packhorse_transport::{Custodian as _, OfferAnswer};

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_a_lost_link_had_is_offered_again() {
    let folder = tempfile::tempdir().unwrap();
    let a = Side::open(folder.path());
    let (routing, bytes) = made(1, 100);
    a.send(&routing, &bytes).await;
    let offered = a.hop.next_offers(10).await;
    assert_eq!(a.spool.claim(a.epoch, &queue(LINK), 10, LEASE).await.unwrap(), []);
    a.hop.lost(vec![routing.delivery]).await;
    assert!(is_later(&a.hop.read(routing.delivery, routing.payload, 0).await));
    assert_eq!(a.hop.next_offers(10).await, offered);
    assert_eq!(a.hop.read(routing.delivery, routing.payload, 0).await, Ok(bytes));
}

#[tokio::test]
async fn what_the_peer_refuses_has_failed_and_the_place_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let a = Side::open(folder.path());
    let (routing, bytes) = made(1, 100);
    a.send(&routing, &bytes).await;
    a.hop.next_offers(10).await;
    a.hop.refused(routing.delivery, refusal("unknown site")).await;
    let entry = a.entry(&routing).await.unwrap();
    assert_eq!((entry.state, entry.note.as_str()), (EntryState::Failed, "unknown site"));
    assert_eq!(a.facts().await, ["unknown site"]);
}

#[tokio::test]
async fn a_message_that_the_peer_refuses_is_gone_and_the_place_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let a = Side::open(folder.path());
    let (mut routing, bytes) = made(1, 100);
    routing.kind = Kind::Message;
    a.send(&routing, &bytes).await;
    a.hop.next_offers(10).await;
    a.hop.refused(routing.delivery, refusal("unknown site")).await;
    assert_eq!(a.entry(&routing).await, None);
    assert_eq!(a.facts().await, ["unknown site"]);
}

#[tokio::test]
async fn an_acknowledged_delivery_is_offered_again_when_nobody_releases_it() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (Side::open(folders.0.path()), Side::open(folders.1.path()));
    let (routing, bytes) = made(1, 100);
    a.send(&routing, &bytes).await;
    a.hop.next_offers(10).await;
    carry(&a, &b, &routing).await.unwrap();
    a.clock.advance(Duration::from_secs(3599));
    assert_eq!(a.spool.claim(a.epoch, &queue(LINK), 10, LEASE).await.unwrap(), []);
    a.clock.advance(Duration::from_secs(1));
    assert_eq!(a.hop.next_offers(10).await, std::slice::from_ref(&routing));
    let answer = carry(&a, &b, &routing).await.unwrap();
    assert!(matches!(answer, OfferAnswer::Have(_)));
}

#[tokio::test]
async fn stat_is_offered_when_nothing_else_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let a = Side::open(folder.path());
    let ((routine, bytes), (mut stat, _)) = (made(1, 100), made(2, 100));
    stat.priority = Priority::Stat;
    a.send(&routine, &bytes).await;
    {
        // Dropped while it waits: there is nothing urgent.
        let urgent = a.hop.next_urgent_offers(10);
        assert!(tokio::time::timeout(Duration::ZERO, urgent).await.is_err());
    }
    a.send(&stat, &bytes).await;
    assert_eq!(a.hop.next_urgent_offers(10).await, [stat]);
    assert_eq!(a.hop.next_offers(10).await, [routine]);
}

fn remove_files(folder: &Path) {
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("payload-") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test]
async fn what_cannot_be_read_waits_longer_each_time_and_is_given_up_while_others_go_on() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, b) = (Side::open(folders.0.path()), Side::open(folders.1.path()));
    let ((damaged, bytes), (good, good_bytes)) = (made(1, 5 << 20), made(2, 100));
    a.send(&damaged, &bytes).await;
    a.send(&good, &good_bytes).await;
    remove_files(folders.0.path());
    let mut offered = a.hop.next_offers(10).await;
    assert_eq!(offered, [damaged.clone(), good.clone()]);
    for tries in 1..=10 {
        assert_eq!(offered.first(), Some(&damaged));
        // Two segments are read at once: that is one try.
        let read = |segment| a.hop.read(damaged.delivery, damaged.payload, segment);
        let (first, second) = tokio::join!(read(0), read(1));
        assert!(is_later(&first) && is_later(&second));
        a.hop.lost(vec![damaged.delivery]).await;
        let entry = a.entry(&damaged).await.unwrap();
        assert_eq!(entry.attempts, tries);
        assert_eq!(
            a.spool.claim(a.epoch, &queue(LINK), 10, LEASE).await.unwrap(),
            [],
            "it is not claimed again at once"
        );
        if tries < 10 {
            assert_eq!((entry.state, a.facts().await.len()), (EntryState::Ready, 0));
            let wait = entry.due.saturating_since(now(&a));
            assert_eq!(wait, Duration::from_secs(1 << (tries - 1)));
            a.clock.advance(wait);
            offered = a.hop.next_offers(10).await;
        }
    }
    let entry = a.entry(&damaged).await.unwrap();
    assert_eq!(entry.state, EntryState::Failed);
    assert!(
        entry.note.starts_with("its bytes cannot be read here: "),
        "{}",
        entry.note
    );
    assert_eq!(a.facts().await, [entry.note]);
    carry(&a, &b, &good).await.unwrap();
    assert_eq!(b.bytes(&good).await, good_bytes);
}

#[tokio::test]
async fn what_is_released_on_the_link_stays_readable_once_and_is_not_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    let a = Side::open(folder.path());
    let ((routing, bytes), (other, other_bytes)) = (made(1, 900_000), made(2, 900_000));
    a.send(&routing, &bytes).await;
    a.hop.next_offers(10).await;
    let released = vec![(routing.delivery, Settlement::Released)];
    a.spool.settle(a.epoch, released, vec![]).await.unwrap();
    a.send(&other, &other_bytes).await;
    // On its way: the space is not somebody else's yet.
    let read = || a.hop.read(routing.delivery, routing.payload, 0);
    assert_eq!(read().await, Ok(part(&bytes, 0)));
    // The peer has put it off and wants it again.
    assert!(is_later(&read().await));
    a.hop.lost(vec![routing.delivery]).await;
    assert_eq!(a.hop.next_offers(10).await, [other]);
}

/// Other bytes in every payload file.
fn rot(folder: &Path) {
    for file in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if file.file_name().to_str().unwrap().starts_with("payload-") {
            let length = file.metadata().unwrap().len();
            std::fs::write(file.path(), vec![0xAA; usize::try_from(length).unwrap()]).unwrap();
        }
    }
}

#[tokio::test]
async fn bytes_that_have_changed_are_found_out_when_they_are_asked_for_again() {
    for (is_only_a_stop, kept) in [(false, Some(EntryState::Failed)), (true, None)] {
        let folder = tempfile::tempdir().unwrap();
        let a = Side::open(folder.path());
        a.place.is_only_a_stop.store(is_only_a_stop, Ordering::SeqCst);
        let (routing, bytes) = made(1, 5 << 20);
        a.send(&routing, &bytes).await;
        rot(folder.path());
        a.hop.next_offers(10).await;
        let read = |segment| a.hop.read(routing.delivery, routing.payload, segment);
        // The peer finds them wrong, and asks again: once only, not for ever.
        assert!(read(0).await.is_ok());
        assert!(is_later(&read(0).await));
        a.hop.lost(vec![routing.delivery]).await;
        assert_eq!(a.entry(&routing).await.map(|entry| entry.state), kept);
        assert_eq!(a.facts().await, ["its bytes here are not those that were sealed"]);
    }
}

#[tokio::test]
async fn good_bytes_are_sent_as_often_as_the_peer_asks() {
    let folder = tempfile::tempdir().unwrap();
    let a = Side::open(folder.path());
    let (routing, bytes) = made(1, 5 << 20);
    a.send(&routing, &bytes).await;
    a.hop.next_offers(10).await;
    for _ in 0..3 {
        let read = a.hop.read(routing.delivery, routing.payload, 1).await;
        assert_eq!(read, Ok(part(&bytes, 1)));
    }
}
