//! Who gets what, in which order.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod common;

use std::path::Path;
use std::sync::Arc;

use common::{LEASE, commit, entry, open, queue, runtime, stored};
use packhorse_ids::{FakeClock, Kind, Priority, WallTime};
use packhorse_spool::{Body, Custody, Entry, Index as _, NewEntry, Payloads as _, Settlement, Spool};

fn of(id: u16, priority: Priority) -> NewEntry {
    let mut new = entry(id, Body::Inline(vec![1].into()));
    new.routing.priority = priority;
    new.custody = Custody::UntilReleased;
    new
}

fn ids(entries: &[Entry]) -> Vec<u16> {
    let id = |entry: &Entry| u16::from_be_bytes(*entry.routing.delivery.as_bytes().first_chunk().unwrap());
    entries.iter().map(id).collect()
}

fn files(folder: &Path, prefix: &str) -> usize {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .filter(|file| file.file_name().to_str().unwrap().starts_with(prefix))
        .count()
}

#[test]
fn claims_go_by_priority_then_time_due_then_order_of_commit() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::at(WallTime::from_unix_micros(1_000)));
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), common::config(), clock).unwrap();
        let (stat, routine, bulk) = (Priority::Stat, Priority::Routine, Priority::Bulk);
        for (id, priority) in [
            (1, bulk),
            (2, routine),
            (3, stat),
            (4, routine),
            (5, stat),
            (6, routine),
        ] {
            commit(&spool, epoch, of(id, priority)).await;
        }
        // Tried before, and due again now: behind those that were not. Not due yet: not at all.
        for (id, at) in [(2, 900), (4, 800), (5, 1_001)] {
            let (at, note) = (WallTime::from_unix_micros(at), String::new());
            let retry = (of(id, stat).routing.delivery, Settlement::Retry { at, note });
            spool.settle(epoch, vec![retry], vec![]).await.unwrap();
        }
        let first = spool.claim(epoch, &queue(), 2, LEASE).await.unwrap();
        let rest = spool.claim(epoch, &queue(), 256, LEASE).await.unwrap();
        assert_eq!((ids(&first), ids(&rest)), (vec![3, 6], vec![4, 2, 1]));
    });
}

#[test]
fn what_is_postponed_is_claimed_later_or_when_it_is_brought_forward_and_no_try_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::at(WallTime::from_unix_micros(1_000)));
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), common::config(), clock).unwrap();
        let delivery = |id| of(id, Priority::Routine).routing.delivery;
        for id in 1..=3 {
            commit(&spool, epoch, of(id, Priority::Routine)).await;
        }
        let postpone = |id, at| {
            let at = WallTime::from_unix_micros(at);
            (delivery(id), Settlement::Postponed { at })
        };
        let held = (
            delivery(3),
            Settlement::Held {
                note: "by hand".to_owned(),
            },
        );
        let settlements = vec![postpone(1, 2_000), postpone(2, 2_000), held, postpone(3, 0)];
        spool.settle(epoch, settlements, vec![]).await.unwrap();
        assert_eq!(spool.claim(epoch, &queue(), 256, LEASE).await.unwrap(), []);
        spool.settle(epoch, vec![postpone(2, 1_000)], vec![]).await.unwrap();
        let claimed = spool.claim(epoch, &queue(), 256, LEASE).await.unwrap();
        assert_eq!((ids(&claimed), claimed[0].attempts), (vec![2], 0));
    });
}

#[test]
fn each_kind_and_each_priority_is_numbered_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let mut numbers = Vec::new();
        for (id, priority, kind) in [
            (1, Priority::Routine, Kind::Delivery),
            (2, Priority::Stat, Kind::Message),
            (3, Priority::Routine, Kind::Delivery),
            (4, Priority::Stat, Kind::Delivery),
            (5, Priority::Routine, Kind::Delivery),
        ] {
            let mut new = of(id, priority);
            new.routing.kind = kind;
            numbers.push(commit(&spool, epoch, new).await.sequence.0);
        }
        assert_eq!(numbers, [1, 1, 2, 1, 3]);
    });
}

#[test]
fn an_urgent_claim_takes_stat_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        for (id, priority) in [(1, Priority::Routine), (2, Priority::Stat), (3, Priority::Bulk)] {
            commit(&spool, epoch, of(id, priority)).await;
        }
        let urgent = spool.claim_urgent(epoch, &queue(), 256, LEASE).await.unwrap();
        assert_eq!(ids(&urgent), [2]);
        assert_eq!(spool.claim_urgent(epoch, &queue(), 256, LEASE).await.unwrap(), []);
        assert_eq!(ids(&spool.claim(epoch, &queue(), 256, LEASE).await.unwrap()), [1, 3]);
    });
}

#[test]
fn two_who_claim_at_once_share_and_never_get_the_same() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        let all = (0..1_000).map(|id| of(id, Priority::Routine)).collect();
        spool.commit(epoch, all, vec![]).await.unwrap();
        let claim_all = |spool: Arc<Spool>| async move {
            let mut mine = Vec::new();
            loop {
                let claimed = spool.claim(epoch, &queue(), 7, LEASE).await.unwrap();
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(ids(&claimed));
            }
        };
        let tasks: Vec<_> = (0..4).map(|_| tokio::spawn(claim_all(Arc::clone(&spool)))).collect();
        let mut claimed = Vec::new();
        for task in tasks {
            claimed.extend(task.await.unwrap());
        }
        claimed.sort_unstable();
        assert_eq!(claimed, (0..1_000).collect::<Vec<_>>());
    });
}

#[test]
fn the_bytes_of_a_claimed_entry_stay_until_it_is_dropped_also_when_it_is_released() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = open(folder.path());
        // In slabs, and in files of their own.
        for id in 1..=20 {
            let length = if id % 2 == 0 { 900_000 } else { 5_000_000 };
            let bytes = |fill: u8| vec![fill; length];
            let body = stored(&spool, id, &bytes(1)).await.unwrap();
            commit(&spool, epoch, entry(id, body)).await;
            let claimed = spool.claim(epoch, &queue(), 10, LEASE).await.unwrap().remove(0);
            let (copy, delivery) = (claimed.body.clone(), claimed.routing.delivery);
            let released = vec![(delivery, Settlement::Released)];
            spool.settle(epoch, released, vec![]).await.unwrap();
            spool.unclaim(epoch, vec![delivery]).await.unwrap();
            drop(claimed);
            // Whoever comes now would be given the same space.
            let next = stored(&spool, id + 100, &bytes(2)).await.unwrap();
            assert_eq!(spool.read(&copy, 0..length as u64).await.unwrap(), bytes(1));
            drop((copy, next));
        }
        assert_eq!(files(folder.path(), "payload-"), 0);
        assert!(files(folder.path(), "slab-") <= 5, "the space is used again");
    });
}
