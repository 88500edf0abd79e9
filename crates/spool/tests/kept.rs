//! What is done with and kept: to be had again, and in nobody's way.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
mod common;
#[path = "common/small_disk.rs"]
mod small_disk;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use common::{LEASE, commit, entry, open, queue, runtime, stored};
use packhorse_ids::{DeliveryId, Epoch, FakeClock, PayloadId, SystemClock, WallTime};
use packhorse_spool::{Body, EntryState, Index as _, Payloads as _, Settlement, Spool, SpoolConfig, StoreError};
use small_disk::SmallDisk;

const MIB: usize = 1 << 20;
const HOUR: Duration = Duration::from_secs(3600);

fn keeping(kept_len: u64) -> SpoolConfig {
    SpoolConfig {
        kept_for: HOUR,
        kept_len: Some(kept_len),
        ..common::config()
    }
}

fn id(id: u16) -> DeliveryId {
    entry(id, Body::Inline(Bytes::new())).routing.delivery
}

fn inline(byte: u8, length: usize) -> Body {
    Body::Inline(vec![byte; length].into())
}

async fn keep(spool: &Spool, epoch: Epoch, deliveries: impl IntoIterator<Item = u16>) {
    let kept = deliveries.into_iter().map(|number| (id(number), Settlement::Kept));
    spool.settle(epoch, kept.collect(), vec![]).await.unwrap();
}

async fn state(spool: &Spool, number: u16) -> Option<EntryState> {
    spool.entry(id(number)).await.unwrap().map(|entry| entry.state)
}

#[test]
fn a_kept_entry_is_claimed_only_once_it_is_reopened_and_has_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), keeping(u64::MAX), Arc::new(SystemClock)).unwrap();
        let body = stored(&spool, 1, &[7; 50_000]).await.unwrap();
        commit(&spool, epoch, entry(1, body)).await;
        spool.claim(epoch, &queue(), 9, LEASE).await.unwrap();
        keep(&spool, epoch, [1]).await;
        assert_eq!(spool.claim(epoch, &queue(), 9, LEASE).await.unwrap(), []);
        assert_eq!(spool.counts()[0].state, EntryState::Kept);
        // Somebody who had claimed it before, and comes late.
        let late = Settlement::Failed {
            note: "late".to_owned(),
        };
        spool.settle(epoch, vec![(id(1), late)], vec![]).await.unwrap();
        assert_eq!(state(&spool, 1).await, Some(EntryState::Kept));
        assert_eq!(spool.reopen(epoch, vec![id(1)], vec![]).await.unwrap(), 1);
        let again = spool.claim(epoch, &queue(), 9, LEASE).await.unwrap();
        assert_eq!(spool.read(&again[0].body, 0..50_000).await.unwrap(), vec![7; 50_000]);
        spool
            .settle(epoch, vec![(id(1), Settlement::Released)], vec![])
            .await
            .unwrap();
        assert_eq!(spool.counts(), []);
    });
}

#[test]
fn what_is_kept_goes_when_its_time_is_over_and_nothing_is_kept_by_default() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(FakeClock::at(WallTime::from_unix_micros(1)));
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), keeping(u64::MAX), Arc::clone(&clock) as _).unwrap();
        for number in 1..=3 {
            commit(&spool, epoch, entry(number, inline(1, 10))).await;
        }
        keep(&spool, epoch, [1, 2]).await;
        clock.advance(HOUR / 2);
        keep(&spool, epoch, [3]).await;
        assert_eq!(spool.give_up_kept().await.unwrap(), 0);
        clock.advance(HOUR / 2 + Duration::from_secs(1));
        assert_eq!(spool.give_up_kept().await.unwrap(), 2);
        assert_eq!(
            (state(&spool, 1).await, state(&spool, 3).await),
            (None, Some(EntryState::Kept))
        );
        drop(spool);
        let (spool, epoch) = open(folder.path());
        commit(&spool, epoch, entry(4, inline(1, 10))).await;
        keep(&spool, epoch, [4]).await;
        assert_eq!(state(&spool, 4).await, None);
    });
}

#[test]
fn above_the_quota_the_oldest_go_at_once() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), keeping(250), Arc::new(SystemClock)).unwrap();
        for number in 1..=4 {
            commit(&spool, epoch, entry(number, inline(1, 100))).await;
            keep(&spool, epoch, [number]).await;
        }
        let mut states = Vec::new();
        for number in 1..=4 {
            states.push(state(&spool, number).await);
        }
        assert_eq!(states, [None, None, Some(EntryState::Kept), Some(EntryState::Kept)]);
        commit(&spool, epoch, entry(5, inline(1, 300))).await;
        keep(&spool, epoch, [5]).await;
        assert_eq!(state(&spool, 5).await, None, "more than all that may be kept");
        assert_eq!(state(&spool, 4).await, Some(EntryState::Kept));
    });
}

/// Three of 1 MiB, of 5 MiB (a file of its own) and of 1000 bytes, or as many as the spool takes of each.
async fn fill(spool: &Spool, epoch: Epoch, first: u16) -> [u16; 3] {
    let mut number = first;
    let mut counts = [0; 3];
    for (kind, length) in [MIB, 5 * MIB, 1000].into_iter().enumerate() {
        loop {
            let taken = match kind {
                0 => stored(spool, number, &vec![1; length]).await,
                1 => own(spool, number, length).await,
                _ => Ok(inline(1, length)),
            };
            let committed = match taken {
                Ok(body) => spool.commit(epoch, vec![entry(number, body)], vec![]).await.map(drop),
                Err(error) => Err(error),
            };
            match committed {
                Ok(()) if counts[kind] < 3 => (counts[kind], number) = (counts[kind] + 1, number + 1),
                Ok(()) => break,
                Err(StoreError::Full { .. }) => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    counts
}

async fn own(spool: &Spool, number: u16, length: usize) -> Result<Body, StoreError> {
    let mut payload = [9; 16];
    payload[..2].copy_from_slice(&number.to_be_bytes());
    let mut writer = spool.begin(PayloadId::from_bytes(payload), Some(length as u64)).await?;
    for segment in 0..5 {
        writer.write_segment(segment, vec![1; MIB].into()).await?;
    }
    writer.finish().await.map(Body::Stored)
}

#[test]
fn what_is_kept_makes_nothing_be_refused_that_would_have_been_taken() {
    let taken = |reserve: usize, is_kept: bool| {
        let folder = tempfile::tempdir().unwrap();
        let disk = SmallDisk {
            length: AtomicU64::new(24 * MIB as u64),
        };
        let config = SpoolConfig {
            reserve: reserve as u64,
            disk: Arc::new(disk),
            ..keeping(u64::MAX)
        };
        runtime().block_on(async {
            let (spool, epoch) = Spool::open(folder.path(), config, Arc::new(SystemClock)).unwrap();
            let mut all = Vec::new();
            for round in 0..3 {
                let first = 100 * round;
                all.push(fill(&spool, epoch, first).await);
                let entries = spool.page(0, packhorse_spool::Filter::default(), 100).await.unwrap();
                let done = entries.iter().map(|(_, entry)| entry.routing.delivery);
                let settlement = if is_kept {
                    Settlement::Kept
                } else {
                    Settlement::Released
                };
                let settled = done.map(|delivery| (delivery, settlement.clone()));
                spool.settle(epoch, settled.collect(), vec![]).await.unwrap();
                let is_any_kept = spool.counts().iter().any(|count| count.state == EntryState::Kept);
                assert_eq!(is_any_kept, is_kept);
                assert!(spool.takes());
            }
            all
        })
    };
    // Without a reserve nothing is short before it is full.
    for reserve in [0, 2 * MIB] {
        assert_eq!(taken(reserve, false), [[3, 3, 3]; 3], "it fits");
        assert_eq!(taken(reserve, true), [[3, 3, 3]; 3]);
    }
}

#[test]
fn a_lease_is_had_on_what_nobody_works_on_whatever_its_state() {
    let folder = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let (spool, epoch) = Spool::open(folder.path(), keeping(u64::MAX), Arc::new(SystemClock)).unwrap();
        for number in 1..=4 {
            commit(&spool, epoch, entry(number, inline(1, 10))).await;
        }
        spool.claim(epoch, &queue(), 1, LEASE).await.unwrap();
        let later = Settlement::Retry {
            at: WallTime::from_unix_micros(i64::MAX),
            note: "later".to_owned(),
        };
        keep(&spool, epoch, [3]).await;
        spool.settle(epoch, vec![(id(2), later)], vec![]).await.unwrap();
        let leased = spool.lease(epoch, (1..=5).map(id).collect(), LEASE).await.unwrap();
        let leased: Vec<_> = leased.iter().map(|entry| entry.routing.delivery).collect();
        assert_eq!(leased, [2, 3, 4].map(id), "1 is being worked on, 5 is not here");
        assert_eq!(spool.claim(epoch, &queue(), 9, LEASE).await.unwrap(), []);
        // One that waits for its time is ready again, and its lease is over.
        assert_eq!(spool.reopen(epoch, vec![id(2)], vec![]).await.unwrap(), 1);
        assert_eq!(
            spool.reopen(epoch, vec![id(4)], vec![]).await.unwrap(),
            0,
            "it is ready"
        );
        let claimed = spool.claim(epoch, &queue(), 9, LEASE).await.unwrap();
        assert_eq!(claimed.iter().map(|entry| entry.attempts).collect::<Vec<_>>(), [0]);
        spool.unclaim(epoch, vec![id(4)]).await.unwrap();
        assert_eq!(spool.claim(epoch, &queue(), 9, LEASE).await.unwrap().len(), 1);
    });
}
